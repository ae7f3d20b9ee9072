//! How the modules of a model are pruned: the ladder and the unit.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::immutable::immutable;

/// How modules are pruned. All but `workers` names the level database and never changes.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Pruning {
    /// Levels above dense; the last removes the module. A level is one base-36 character.
    #[x_kube(validation = immutable("pruning.levels"))]
    #[serde(default = "levels")]
    #[schemars(range(min = 1, max = 35))]
    pub levels: i32,
    /// What the steps of a ladder are equal in: `Parameters`, or `Latency` from a measured table.
    #[x_kube(validation = immutable("pruning.spacing"))]
    #[serde(default)]
    pub spacing: Spacing,
    /// Columns of an MLP are removed in multiples of this.
    #[x_kube(validation = immutable("pruning.mlpGranularity"))]
    #[serde(default = "mlp_granularity")]
    #[schemars(range(min = 1, max = 65_536))]
    pub mlp_granularity: i32,
    /// The unit of attention: `QueryHead` as in the paper, or `KeyValueGroup`, which keeps the
    /// shapes of grouped-query attention.
    #[x_kube(validation = immutable("pruning.attentionUnit"))]
    #[serde(default)]
    pub attention_unit: AttentionUnit,
    /// Thousandths of the Hessian's mean diagonal that are added to its diagonal.
    #[x_kube(validation = immutable("pruning.dampingPermille"))]
    #[serde(default = "damping_permille")]
    #[schemars(range(min = 1, max = 1000))]
    pub damping_permille: i32,
    /// Workers that build the level database. May change at any time.
    #[serde(default = "workers")]
    #[schemars(range(min = 1, max = 1024))]
    pub workers: i32,
}

/// What the steps of a ladder are equal in.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Spacing {
    /// Parameters.
    #[default]
    Parameters,
    /// Measured latency on the run's device class.
    Latency,
}

/// The smallest removable piece of an attention module.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AttentionUnit {
    /// One query head; keys and values stay whole under grouped-query attention.
    #[default]
    QueryHead,
    /// A key-value head with all its query heads.
    KeyValueGroup,
}

impl Default for Pruning {
    fn default() -> Self {
        Self {
            levels: levels(),
            spacing: Spacing::default(),
            mlp_granularity: mlp_granularity(),
            attention_unit: AttentionUnit::default(),
            damping_permille: damping_permille(),
            workers: workers(),
        }
    }
}

fn levels() -> i32 {
    10
}

fn mlp_granularity() -> i32 {
    32
}

fn damping_permille() -> i32 {
    10
}

fn workers() -> i32 {
    1
}
