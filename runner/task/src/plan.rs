//! `plan.json`: what `prepare` found and fixed, read by every later task of the run.

use serde::{Deserialize, Serialize};

use crate::NumericsPlan;

/// Version of the recipe that turns text into token files. 2: every slice is drawn from the whole
/// of what is read of its source; 1 cut neighbouring pieces, which in long documents are different
/// texts.
pub const TOKENS_VERSION: u32 = 2;

/// One of the four disjoint parts of the data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum TokenSlice {
    /// Feeds the Hessians.
    Calibration,
    /// Trains candidates, and the survivor if post-training is asked for.
    Training,
    /// Scores candidates.
    Fitness,
    /// Held out: reported, never selected on.
    Validation,
}

impl TokenSlice {
    /// Every slice, in the order they are cut from a common source.
    pub const ALL: [Self; 4] = [
        Self::Calibration,
        Self::Training,
        Self::Fitness,
        Self::Validation,
    ];

    /// The word used in file names and messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Calibration => "calibration",
            Self::Training => "training",
            Self::Fitness => "fitness",
            Self::Validation => "validation",
        }
    }
}

/// A tokenised slice: where it lies and how it is shaped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PlannedTokens {
    /// sha256 of the safetensors file with `input_ids` [sequences, sequenceLength], as hex.
    pub sha256: String,
    /// Number of sequences.
    pub sequences: u32,
    /// Tokens per sequence.
    pub sequence_length: u32,
}

/// A source that was fetched from another machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Fetched {
    /// The field that names it, such as `spec.model.source`.
    pub field: String,
    /// The address, pinned: a revision is a commit. No credential is in it.
    pub from: String,
}

/// The four slices of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Plan {
    /// Version of this format.
    pub version: u32,
    /// Digest of the model's files: the folder `models/<digest>/`.
    pub model: String,
    /// The sources that were fetched from other machines, in the order of the spec.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fetched: Vec<Fetched>,
    /// Digest of the four token files and what made them: the folder `tokens/<digest>/`.
    pub tokens: String,
    /// The calibration slice.
    pub calibration: PlannedTokens,
    /// The training slice.
    pub training: PlannedTokens,
    /// The fitness slice.
    pub fitness: PlannedTokens,
    /// The validation slice.
    pub validation: PlannedTokens,
    /// Parameters of the dense model.
    pub dense_parameters: u64,
    /// The numerics that every trial keeps to.
    pub numerics: NumericsPlan,
}

impl Plan {
    /// The plan of one slice.
    pub const fn slice(&self, slice: TokenSlice) -> &PlannedTokens {
        match slice {
            TokenSlice::Calibration => &self.calibration,
            TokenSlice::Training => &self.training,
            TokenSlice::Fitness => &self.fitness,
            TokenSlice::Validation => &self.validation,
        }
    }
}
