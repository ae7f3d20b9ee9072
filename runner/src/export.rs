//! Writing a candidate as a checkpoint that other engines load.

mod card;
mod folder;
mod layout;
mod masked;
mod transformers;

pub use card::{Card, Parameters, Provenance, hub_name};
pub use masked::{export_masked_dense, mask};
pub use transformers::{ExportSettings, export_transformers};

use std::path::PathBuf;

use crate::weights::WeightsError;

/// Why a checkpoint could not be written.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The operating system refused.
    #[error("failed to write {path}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The weights could not be written.
    #[error(transparent)]
    Weights(#[from] WeightsError),
}
