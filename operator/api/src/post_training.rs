//! The training of the survivor after the search.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use crate::search::DECIMAL;

/// Trains the survivor with AdamW on the training tokens. Absent: the survivor is not trained.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[x_kube(validation = Rule::new("self.workers <= self.batchSequences")
    .message("workers must be at most batchSequences: each worker trains a part of every batch")
    .field_path(".workers"))]
#[serde(rename_all = "camelCase")]
pub struct PostTraining {
    /// Tokens to train on. The training slice is repeated, in another order each time, at most 100
    /// times: the default, the paper's, needs data.training.tokens of at least 100 million.
    #[serde(default = "tokens")]
    #[schemars(range(min = 1, max = 1_000_000_000_000_000_i64))]
    pub tokens: i64,
    /// AdamW's peak learning rate, as a decimal number in quotes.
    #[serde(default = "learning_rate")]
    #[schemars(length(min = 1, max = 24), regex(pattern = DECIMAL))]
    pub learning_rate: String,
    /// Percent of all steps over which the learning rate rises to its peak.
    #[serde(default = "warmup_percent")]
    #[schemars(range(min = 0, max = 100))]
    pub warmup_percent: i32,
    /// Percent of the peak that the learning rate falls to, along a cosine, until the last step.
    #[serde(default = "final_learning_rate_percent")]
    #[schemars(range(min = 0, max = 100))]
    pub final_learning_rate_percent: i32,
    /// Decoupled weight decay, as a decimal number in quotes.
    #[serde(default = "weight_decay")]
    #[schemars(length(min = 1, max = 24), regex(pattern = DECIMAL))]
    pub weight_decay: String,
    /// Gradients of a step whose norm is greater are shortened to it: a decimal number in quotes.
    #[serde(default = "gradient_norm")]
    #[schemars(length(min = 1, max = 24), regex(pattern = DECIMAL))]
    pub gradient_norm: String,
    /// Percent of the loss that are KL(dense ‖ survivor); the rest is the cross-entropy of the next
    /// token. Above 0 the dense model is in the device's memory beside what is trained.
    #[serde(default)]
    #[schemars(range(min = 0, max = 100))]
    pub distillation_percent: i32,
    /// Sequences per optimizer step, over all workers.
    #[serde(default = "batch_sequences")]
    #[schemars(range(min = 1, max = 1_048_576))]
    pub batch_sequences: i32,
    /// Tokens per sequence, at most data.calibration.sequenceLength. Absent: as many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 3, max = 1_048_576))]
    pub sequence_length: Option<i32>,
    /// Workers, all of which train at once; more than 1 is not yet supported.
    #[serde(default = "workers")]
    #[schemars(range(min = 1, max = 1024))]
    pub workers: i32,
    /// A checkpoint is written after every so many tokens: what a killed worker loses at most.
    /// Absent: a twentieth of `tokens`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000_000_000_000_i64))]
    pub checkpoint_every_tokens: Option<i64>,
}

/// As much as DarwinLM trains (arXiv 2502.07780).
fn tokens() -> i64 {
    10_000_000_000
}

fn learning_rate() -> String {
    "1e-4".to_owned()
}

fn batch_sequences() -> i32 {
    1024
}

fn warmup_percent() -> i32 {
    3
}

fn final_learning_rate_percent() -> i32 {
    10
}

fn weight_decay() -> String {
    "0.01".to_owned()
}

fn gradient_norm() -> String {
    "1.0".to_owned()
}

fn workers() -> i32 {
    1
}
