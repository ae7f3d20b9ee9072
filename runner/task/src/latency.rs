//! `latency/<digest>.json`: the times of a model's modules, and how a run says which table is its
//! own.

use darwinlm_search::{AttentionUnit, LatencyTable};
use serde::{Deserialize, Serialize};

use crate::NumericsPlan;

/// Version of [`StoredLatency`] and of how it is measured.
pub const LATENCY_VERSION: u32 = 2;

/// A measured table and everything it was measured on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StoredLatency {
    /// [`LATENCY_VERSION`].
    pub version: u32,
    /// Digest of the dense model.
    pub model: String,
    /// Type, threads and device class.
    pub numerics: NumericsPlan,
    /// The device's own name, as its driver or the kernel gives it.
    pub device: String,
    /// What is computed.
    pub workload: ForwardPass,
    /// What a unit of attention is.
    pub attention_unit: AttentionUnit,
    /// Rounds over all sizes; a time is the median over them.
    pub rounds: u32,
    /// Nanoseconds of a whole forward pass of the dense model, measured in the same rounds: what the
    /// table's sum is to be held against.
    pub whole_nanoseconds: u64,
    /// The times.
    pub table: LatencyTable,
}

/// One forward pass over a batch, to the logits of each sequence's last token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ForwardPass {
    /// Sequences at once.
    pub sequences: u32,
    /// Tokens of each.
    pub sequence_length: u32,
}

/// `runs/<run>/latency.json`: the table that everything in a run is made from. Create-only: the
/// first table stays, also where a worker on another device measured one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LatencyRecord {
    /// The `latency/<digest>.json` it lies under.
    pub digest: String,
    /// sha256 of that file, as hex.
    pub sha256: String,
}
