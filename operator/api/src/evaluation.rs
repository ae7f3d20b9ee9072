//! What is measured on the finished model.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// Compares dense, uniform and pruned model on the validation tokens, and measures what is named
/// here. Absent: no evaluation.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Evaluation {
    /// Tasks of lm-evaluation-harness, by its names.
    #[x_kube(merge_strategy = ListMerge::Set)]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 64),
        inner(
            length(min = 1, max = 128),
            regex(pattern = r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")
        )
    )]
    pub tasks: Vec<String>,
    /// Measures the latency of the dense and of the pruned model. Absent: not measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency: Option<LatencyWorkload>,
}

/// The workload that latency is measured on.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct LatencyWorkload {
    /// Sequences at once.
    #[serde(default = "batch")]
    #[schemars(range(min = 1, max = 65_536))]
    pub batch: i32,
    /// Tokens of the prompt.
    #[serde(default = "prompt_tokens")]
    #[schemars(range(min = 1, max = 1_048_576))]
    pub prompt_tokens: i32,
    /// Tokens to generate.
    #[serde(default = "new_tokens")]
    #[schemars(range(min = 0, max = 1_048_576))]
    pub new_tokens: i32,
}

impl Default for LatencyWorkload {
    fn default() -> Self {
        Self {
            batch: batch(),
            prompt_tokens: prompt_tokens(),
            new_tokens: new_tokens(),
        }
    }
}

fn batch() -> i32 {
    1
}

fn prompt_tokens() -> i32 {
    512
}

fn new_tokens() -> i32 {
    128
}
