//! Safetensors on disk: a mapped file, a checkpoint of one or many such files, and the writer.

mod checkpoint;
mod mapped;
mod write;

pub use checkpoint::Checkpoint;
pub use mapped::MappedTensors;
pub use write::{StreamWriter, write_tensors};

use std::path::PathBuf;

/// Why weights could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum WeightsError {
    /// The operating system refused.
    #[error("failed to access {path}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The file is no whole safetensors file.
    #[error("{path} is not a whole safetensors file")]
    Format {
        /// The file.
        path: PathBuf,
        /// What its header breaks.
        #[source]
        source: safetensors::SafeTensorError,
    },
    /// The folder holds no weights.
    #[error(
        "{folder} holds neither model.safetensors nor model.safetensors.index.json; \
         weights in other formats are not read"
    )]
    NoCheckpoint {
        /// The folder.
        folder: PathBuf,
    },
    /// The index of a sharded checkpoint cannot be used.
    #[error("{path}: {reason}")]
    Index {
        /// The index file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A tensor that the model needs is not there.
    #[error("{path} has no tensor \"{name}\"")]
    Missing {
        /// The tensor.
        name: String,
        /// The file or folder that was searched.
        path: PathBuf,
    },
    /// A tensor has another shape than the configuration says.
    #[error(
        "tensor \"{name}\" in {path} has shape {found:?}; the configuration makes it {expected:?}"
    )]
    Shape {
        /// The tensor.
        name: String,
        /// Its file.
        path: PathBuf,
        /// The shape in the file.
        found: Vec<i64>,
        /// The shape that would be accepted.
        expected: Vec<i64>,
    },
    /// A tensor has an element type that is not read here.
    #[error("tensor \"{name}\" in {path} is {found}; accepted: {accepted}")]
    Dtype {
        /// The tensor.
        name: String,
        /// Its file.
        path: PathBuf,
        /// The type in the file.
        found: String,
        /// The types that are read.
        accepted: &'static str,
    },
    /// A tensor that the model does not have.
    #[error(
        "tensor \"{name}\" in {path} is none of the model that config.json describes; \
         accepted: no such tensor"
    )]
    LeftOver {
        /// The tensor.
        name: String,
        /// Its file.
        path: PathBuf,
    },
    /// An output matrix that is not the embeddings, though it is said to be.
    #[error(
        "tensor \"{name}\" in {path} is not the embeddings, though tie_word_embeddings is true; \
         accepted: the same values, no such tensor, or tie_word_embeddings false"
    )]
    Untied {
        /// The tensor.
        name: String,
        /// Its file.
        path: PathBuf,
    },
    /// A weight is NaN or infinite.
    #[error("tensor \"{name}\" in {path} holds NaN or infinite values")]
    NonFinite {
        /// The tensor.
        name: String,
        /// Its file.
        path: PathBuf,
    },
    /// libtorch refused, for want of memory for instance.
    #[error("failed to bring tensor \"{name}\" into memory")]
    Torch {
        /// The tensor.
        name: String,
        /// What libtorch said.
        #[source]
        source: tch::TchError,
    },
}
