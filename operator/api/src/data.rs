//! The tokens of a run: what calibrates, trains, scores and validates.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use crate::sources;

/// The data of a run. Each slice without a source of its own is cut from calibration's source,
/// disjoint from all others.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Data {
    /// Tokens that the second-order statistics are taken on.
    pub calibration: Calibration,
    /// Pool that trials train on, and post-training if asked.
    #[serde(default)]
    pub training: TrainingPool,
    /// Pool that the minibatches scoring the candidates are drawn from.
    #[serde(default)]
    pub fitness: FitnessPool,
    /// Held out: reported, never selected on.
    #[serde(default)]
    pub validation: ValidationPool,
}

/// The calibration tokens.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[x_kube(validation = Rule::new("self.tokens >= self.sequenceLength")
    .message("tokens must be at least sequenceLength: one whole sequence").field_path(".tokens"))]
#[serde(rename_all = "camelCase")]
pub struct Calibration {
    /// Where the text lies. One of `hf-dataset://organisation/name[@revision]/path`,
    /// `s3://bucket/path`, `gs://bucket/path`, `az://container/path`, `http(s)://host/path`,
    /// `pvc://claim/path` or `file:///path` (one machine only). The path may be a folder, or hold
    /// `*` (within a name) and `**` (folders, too), except with `http(s)://`. Read are `.txt`,
    /// `.jsonl`, `.jsonl.gz`, `.jsonl.zst`, `.parquet` and one file of tokens, `.safetensors`. One
    /// `.txt` or `.jsonl` file is read whole; of anything else, in order of names, no more than the
    /// slices need.
    #[x_kube(validation = sources::data_rule())]
    #[schemars(length(min = 1, max = 1024))]
    pub source: String,
    /// The field or column that holds the text.
    #[serde(default = "text_field")]
    #[schemars(length(min = 1, max = 128))]
    pub text_field: String,
    /// Tokens to calibrate on.
    #[serde(default = "calibration_tokens")]
    #[schemars(range(min = 1, max = 1_000_000_000_000_i64))]
    pub tokens: i64,
    /// Tokens per sequence, of calibration and of every pool.
    #[serde(default = "sequence_length")]
    #[schemars(range(min = 3, max = 1_048_576))]
    pub sequence_length: i32,
}

/// The pool that candidates train on.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct TrainingPool {
    /// Its own source, as in `data.calibration.source`; absent: a disjoint slice of that one.
    #[x_kube(validation = sources::data_rule())]
    #[schemars(length(min = 1, max = 1024))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// The field or column that holds the text; absent: calibration's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    pub text_field: Option<String>,
    /// Size of the pool.
    #[serde(default = "training_tokens")]
    #[schemars(range(min = 1, max = 1_000_000_000_000_i64))]
    pub tokens: i64,
}

/// The pool that candidates are scored on.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct FitnessPool {
    /// Its own source, as in `data.calibration.source`; absent: a disjoint slice of that one.
    #[x_kube(validation = sources::data_rule())]
    #[schemars(length(min = 1, max = 1024))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// The field or column that holds the text; absent: calibration's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    pub text_field: Option<String>,
    /// Size of the pool.
    #[serde(default = "fitness_tokens")]
    #[schemars(range(min = 1, max = 1_000_000_000_000_i64))]
    pub tokens: i64,
}

/// The held-out pool.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ValidationPool {
    /// Its own source, as in `data.calibration.source`; absent: a disjoint slice of that one.
    #[x_kube(validation = sources::data_rule())]
    #[schemars(length(min = 1, max = 1024))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// The field or column that holds the text; absent: calibration's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    pub text_field: Option<String>,
    /// Size of the pool.
    #[serde(default = "validation_tokens")]
    #[schemars(range(min = 1, max = 1_000_000_000_000_i64))]
    pub tokens: i64,
}

impl Default for TrainingPool {
    fn default() -> Self {
        Self {
            source: None,
            text_field: None,
            tokens: training_tokens(),
        }
    }
}

impl Default for FitnessPool {
    fn default() -> Self {
        Self {
            source: None,
            text_field: None,
            tokens: fitness_tokens(),
        }
    }
}

impl Default for ValidationPool {
    fn default() -> Self {
        Self {
            source: None,
            text_field: None,
            tokens: validation_tokens(),
        }
    }
}

fn text_field() -> String {
    "text".to_owned()
}

/// 2048 sequences of 4096, as DarwinLM takes for Llama-2-7B (arXiv 2502.07780).
fn calibration_tokens() -> i64 {
    8_388_608
}

fn sequence_length() -> i32 {
    4096
}

fn training_tokens() -> i64 {
    500_000
}

fn fitness_tokens() -> i64 {
    100_000
}

fn validation_tokens() -> i64 {
    100_000
}
