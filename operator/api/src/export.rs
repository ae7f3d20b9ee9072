//! Where the finished model goes and in which formats.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::sources;

/// Writes the model as checkpoints that engines load. Absent: no export.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Export {
    /// Folder to write to; each format gets a folder of its own. This version writes to
    /// `pvc://claim/path` and `file:///path` (one machine only) alone; a bucket (`s3://`, `gs://`,
    /// `az://`) is refused as not yet supported.
    #[x_kube(validation = sources::store_rule())]
    #[schemars(length(min = 1, max = 1024))]
    pub destination: String,
    /// The formats: `Transformers` (shrunk safetensors, loaded with a modelling file of its own),
    /// `MaskedDense` (dense shapes, what is pruned set to zero: any engine loads it, nothing is
    /// saved), `Gguf` (not yet supported).
    #[x_kube(merge_strategy = ListMerge::Set)]
    #[serde(default = "formats")]
    #[schemars(length(min = 1, max = 3))]
    pub formats: Vec<ExportFormat>,
    /// How pruned query heads find their keys and values under grouped-query attention: `Gather`
    /// keeps K and V whole and stores an index per query head, `Expand` copies K and V so that
    /// each query head has its own.
    #[serde(default)]
    pub query_head_layout: QueryHeadLayout,
}

/// A checkpoint format.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExportFormat {
    /// Shrunk safetensors in Hugging Face's layout.
    Transformers,
    /// One GGUF file.
    Gguf,
    /// The dense shapes with zeros where units were removed.
    MaskedDense,
}

/// How pruned query heads find their keys and values.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum QueryHeadLayout {
    /// K and V whole, an index per kept query head.
    #[default]
    Gather,
    /// K and V copied, so that each query head has its own.
    Expand,
}

fn formats() -> Vec<ExportFormat> {
    vec![ExportFormat::Transformers]
}
