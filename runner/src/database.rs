//! The level database: every module at every level, in a folder that is written once.
//!
//! One safetensors file per module holds `removal_order` (i32 [units]) and, for every level between
//! dense and removed, `level.<l>.weight`: the refitted `o_proj` or `down_proj` with kept columns
//! only, columns ascending, in the dense checkpoint's type as the model was loaded. Level 0 is the
//! dense matrix and the last level has no columns, so neither is stored; the rows of q, k, v, gate
//! and up that go with the columns are slices of the dense model. `manifest.json` is written last,
//! and nothing that it does not name is read.

mod manifest;
mod module_file;
mod open;

pub use manifest::{FORMAT_VERSION, Manifest, ModuleEntry};
pub use module_file::{file_name, write_module};
pub use open::{Database, StoredLevel};

use std::path::PathBuf;

use darwinlm_search::{Level, Module};

use crate::weights::WeightsError;

/// Why a level database could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// The manifest cannot be used.
    #[error("{path}: {reason}")]
    Manifest {
        /// `manifest.json`.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A level that is not stored was asked for.
    #[error("{module} has no stored level {level}; stored are 1 to {last}")]
    NoLevel {
        /// The module.
        module: Module,
        /// The level.
        level: Level,
        /// The deepest stored level.
        last: usize,
    },
    /// A module's file could not be read or written.
    #[error(transparent)]
    Weights(#[from] WeightsError),
}
