//! The training of the survivor after the search.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use crate::search::DECIMAL;

/// Trains the survivor, data-parallel. Absent: the survivor is not trained.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[x_kube(validation = Rule::new("self.workers <= self.batchSequences")
    .message("workers must be at most batchSequences: each worker trains a part of every batch")
    .field_path(".workers"))]
#[serde(rename_all = "camelCase")]
pub struct PostTraining {
    /// Tokens to train on.
    #[serde(default = "tokens")]
    #[schemars(range(min = 1, max = 1_000_000_000_000_000_i64))]
    pub tokens: i64,
    /// AdamW's peak learning rate, as a decimal number in quotes.
    #[serde(default = "learning_rate")]
    #[schemars(length(min = 1, max = 24), regex(pattern = DECIMAL))]
    pub learning_rate: String,
    /// Sequences per optimizer step, over all workers.
    #[serde(default = "batch_sequences")]
    #[schemars(range(min = 1, max = 1_048_576))]
    pub batch_sequences: i32,
    /// Tokens per sequence.
    #[serde(default = "sequence_length")]
    #[schemars(range(min = 3, max = 1_048_576))]
    pub sequence_length: i32,
    /// Workers, all of which train at once.
    #[serde(default = "workers")]
    #[schemars(range(min = 1, max = 1024))]
    pub workers: i32,
    /// A checkpoint is written after every so many tokens.
    #[serde(default = "checkpoint_every_tokens")]
    #[schemars(range(min = 1, max = 1_000_000_000_000_000_i64))]
    pub checkpoint_every_tokens: i64,
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

fn sequence_length() -> i32 {
    4096
}

fn workers() -> i32 {
    1
}

fn checkpoint_every_tokens() -> i64 {
    100_000_000
}
