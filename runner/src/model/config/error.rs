//! Why a `config.json` is refused.

use std::path::PathBuf;

/// Why a `config.json` is not accepted.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("failed to read {path}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The file is no JSON object.
    #[error("failed to parse {path}")]
    Json {
        /// The file.
        path: PathBuf,
        /// Where it breaks.
        #[source]
        source: serde_json::Error,
    },
    /// A field asks for what this runner does not compute.
    #[error("config.json: {field} is {found}; accepted: {accepted}")]
    Unsupported {
        /// The field, with its path.
        field: String,
        /// Its value.
        found: String,
        /// What would be accepted.
        accepted: String,
    },
}

impl ConfigError {
    pub(super) fn unsupported(
        field: impl Into<String>,
        found: impl std::fmt::Display,
        accepted: impl Into<String>,
    ) -> Self {
        Self::Unsupported {
            field: field.into(),
            found: found.to_string(),
            accepted: accepted.into(),
        }
    }
}
