//! Why a source could not be fetched, each with the exit code that `prepare` ends with.

use std::path::PathBuf;

use darwinlm_store::StoreError;
use darwinlm_task::ExitCode;

/// A source cannot be used. Every message names the address; none holds a credential.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// An address that is not read here.
    #[error("{url:?} is no source that is read here; accepted: {accepted}")]
    Address {
        /// The address as given.
        url: String,
        /// What would be accepted.
        accepted: &'static str,
    },
    /// A pattern that cannot be read.
    #[error(
        "{pattern:?} is no pattern of files: {reason}; accepted: * within a name, ** for folders"
    )]
    Pattern {
        /// The pattern.
        pattern: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Nothing is there.
    #[error("{what} does not exist")]
    Missing {
        /// What was asked for, and where.
        what: String,
    },
    /// No file of a listing can be read.
    #[error("{from} holds {found} files and none of them is {accepted}")]
    NoText {
        /// The address.
        from: String,
        /// How many files match.
        found: usize,
        /// What would be accepted.
        accepted: &'static str,
    },
    /// The server refuses.
    #[error("{what} was refused with {answer}; accepted: {accepted}")]
    Denied {
        /// What was asked for, and where.
        what: String,
        /// What the server answered.
        answer: String,
        /// What would be accepted.
        accepted: &'static str,
    },
    /// The server does not do it, though it was asked several times.
    #[error("{what} could not be fetched: {reason}")]
    Unavailable {
        /// What was asked for, and where.
        what: String,
        /// The last answer.
        reason: String,
    },
    /// What came is not what was announced.
    #[error("{what} came with {found}; announced was {expected}")]
    Damaged {
        /// What was asked for, and where.
        what: String,
        /// What came.
        found: String,
        /// What was announced.
        expected: String,
    },
    /// The server's answer cannot be read.
    #[error("{what} was answered with what cannot be read: {reason}")]
    Answer {
        /// What was asked for, and where.
        what: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A file of this machine.
    #[error("failed to {operation} {}: {source}", path.display())]
    Local {
        /// What was tried.
        operation: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system answered.
        #[source]
        source: std::io::Error,
    },
    /// No connection can be made at all.
    #[error("failed to set up HTTP: {0}")]
    Client(String),
    /// A bucket.
    #[error(transparent)]
    Bucket(#[from] StoreError),
}

impl SourceError {
    /// How `prepare` ends.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::Address { .. } => ExitCode::Usage,
            Self::Pattern { .. } => ExitCode::BadSpec,
            Self::Missing { .. } | Self::NoText { .. } => ExitCode::InputMissing,
            Self::Denied { .. } => ExitCode::PermissionDenied,
            Self::Unavailable { .. } | Self::Client(_) => ExitCode::StoreUnavailable,
            Self::Damaged { .. } | Self::Answer { .. } => ExitCode::BadData,
            Self::Local { source, .. } => match source.kind() {
                std::io::ErrorKind::NotFound => ExitCode::InputMissing,
                std::io::ErrorKind::PermissionDenied => ExitCode::PermissionDenied,
                _ => ExitCode::StoreUnavailable,
            },
            Self::Bucket(error) => error.exit_code(),
        }
    }
}
