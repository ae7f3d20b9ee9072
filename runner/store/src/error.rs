//! What can go wrong with the store itself, each with the exit code a worker ends with.

use std::path::PathBuf;

use darwinlm_task::ExitCode;

/// What the operation on the store was, for messages.
pub type Operation = &'static str;

/// The addresses of stores, for messages.
const ACCEPTED: &str = "accepted are s3://bucket/prefix, gs://bucket/prefix, \
                        az://container/prefix, file:///path and memory:///";

/// The store, or something in it, cannot be used. Every message names the key or the URL.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The URL cannot be read.
    #[error("failed to open the store {url:?}: {reason}; {ACCEPTED}")]
    Url {
        /// The URL as given.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A scheme that this build cannot open.
    #[error("failed to open the store {url:?}: scheme {scheme:?} is not supported; {ACCEPTED}")]
    Scheme {
        /// The URL as given.
        url: String,
        /// Its scheme.
        scheme: String,
    },
    /// A key that no store can hold.
    #[error("failed to name {key:?} in the store {url}: {reason}")]
    Key {
        /// The key.
        key: String,
        /// The store.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Nothing lies under the key.
    #[error("failed to {operation} {key} in the store {url}: there is no such file")]
    Missing {
        /// What was tried.
        operation: Operation,
        /// The key.
        key: String,
        /// The store.
        url: String,
    },
    /// A file is another one by now.
    #[error(
        "failed to {operation} {key} in the store {url}: it has changed since it was listed; what \
         is read must stay as it is, and trying again reads what is there now"
    )]
    Changed {
        /// What was tried.
        operation: Operation,
        /// The key.
        key: String,
        /// The store.
        url: String,
    },
    /// There is no store to write to.
    #[error("failed to {operation} {key} in the store {url}: there is no such bucket or container")]
    NoBucket {
        /// What was tried.
        operation: Operation,
        /// The key.
        key: String,
        /// The store.
        url: String,
    },
    /// The store refused.
    #[error("failed to {operation} {key} in the store {url}: permission denied")]
    Denied {
        /// What was tried.
        operation: Operation,
        /// The key.
        key: String,
        /// The store.
        url: String,
        /// What it answered.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The store did not do it.
    #[error("failed to {operation} {key} in the store {url}: {}", brief(source.as_ref()))]
    Unavailable {
        /// What was tried.
        operation: Operation,
        /// The key.
        key: String,
        /// The store.
        url: String,
        /// What it answered.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The store forgets what it acknowledged.
    #[error(
        "failed to write {key} in the store {url}: after {attempts} attempts nothing can be read \
         back"
    )]
    Vanished {
        /// The key.
        key: String,
        /// The store.
        url: String,
        /// How often it was tried.
        attempts: u32,
    },
    /// A second create of one key succeeded, so no claim and no result would be safe.
    #[error(
        "failed to share work through the store {url} ({system}): {detail}; needed is a store where \
         creating a file that exists fails"
    )]
    NotExclusive {
        /// The store.
        url: String,
        /// The kind of file system or store.
        system: String,
        /// What the probe saw.
        detail: String,
    },
    /// The bytes are not those that were written.
    #[error(
        "failed to trust {key} in the store {url}: its sha256 is {found}, recorded is {expected}"
    )]
    Digest {
        /// The key.
        key: String,
        /// The store.
        url: String,
        /// The sha256 of what lies there, as hex.
        found: String,
        /// The sha256 it should have, as hex.
        expected: String,
    },
    /// The bytes mean nothing.
    #[error("failed to read {key} in the store {url}: {reason}")]
    Malformed {
        /// The key.
        key: String,
        /// The store.
        url: String,
        /// What is wrong with them.
        reason: String,
    },
    /// Two writers of a write-once file disagree on what they were told to write.
    #[error("failed to write {key} in the store {url}: it holds {stored}, this worker has {ours}")]
    Conflict {
        /// The key.
        key: String,
        /// The store.
        url: String,
        /// What lies there.
        stored: String,
        /// What this worker has.
        ours: String,
    },
    /// A write-once folder lacks a file.
    #[error(
        "failed to find {name:?} in the folder {folder} of the store {url}: its manifest names {known}"
    )]
    NotInFolder {
        /// The file asked for.
        name: String,
        /// The folder's key.
        folder: String,
        /// The store.
        url: String,
        /// What there is.
        known: String,
    },
    /// This prefix belongs to another search.
    #[error(
        "failed to use {key} in the store {url}: it was made for {stored}, this run is {ours}; give \
         the run another name or store, or restore its model, data, pruning, target and search"
    )]
    InUse {
        /// The key of `run.json`.
        key: String,
        /// The store.
        url: String,
        /// The digest found.
        stored: String,
        /// The digest of this run.
        ours: String,
    },
    /// A file on this machine cannot be used.
    #[error("failed to {operation} {}: {source}", path.display())]
    Local {
        /// What was tried.
        operation: Operation,
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
}

impl StoreError {
    /// A word for metric labels and event reasons.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Url { .. } => "Url",
            Self::Scheme { .. } => "Scheme",
            Self::Key { .. } => "Key",
            Self::Missing { .. } => "Missing",
            Self::Changed { .. } => "Changed",
            Self::NoBucket { .. } => "NoBucket",
            Self::Denied { .. } => "Denied",
            Self::Unavailable { .. } => "Unavailable",
            Self::Vanished { .. } => "Vanished",
            Self::NotExclusive { .. } => "NotExclusive",
            Self::Digest { .. } => "Digest",
            Self::Malformed { .. } => "Malformed",
            Self::Conflict { .. } => "Conflict",
            Self::NotInFolder { .. } => "NotInFolder",
            Self::InUse { .. } => "StoreInUse",
            Self::Local { .. } => "Local",
        }
    }

    /// How a worker that meets this error ends.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::Url { .. } | Self::Scheme { .. } | Self::InUse { .. } => ExitCode::BadSpec,
            Self::Key { .. } => ExitCode::Bug,
            Self::Missing { .. } | Self::NoBucket { .. } | Self::NotInFolder { .. } => {
                ExitCode::InputMissing
            }
            Self::Denied { .. } => ExitCode::PermissionDenied,
            Self::Changed { .. }
            | Self::Unavailable { .. }
            | Self::Vanished { .. }
            | Self::NotExclusive { .. } => ExitCode::StoreUnavailable,
            Self::Digest { .. } | Self::Malformed { .. } | Self::Conflict { .. } => {
                ExitCode::BadData
            }
            Self::Local { source, .. } => match source.kind() {
                std::io::ErrorKind::PermissionDenied => ExitCode::PermissionDenied,
                std::io::ErrorKind::NotFound => ExitCode::InputMissing,
                _ => ExitCode::StoreUnavailable,
            },
        }
    }

    /// Puts an answer of the store in our words.
    pub(crate) fn answered(
        operation: Operation,
        key: &str,
        url: &str,
        source: object_store::Error,
    ) -> Self {
        let (key, url) = (key.to_owned(), url.to_owned());
        let is_missing = matches!(source, object_store::Error::NotFound { .. });
        let is_missing = is_missing || status(&source) == Some(404);
        match source {
            _ if is_missing && matches!(operation, "create" | "write" | "list") => Self::NoBucket {
                operation,
                key,
                url,
            },
            _ if is_missing => Self::Missing {
                operation,
                key,
                url,
            },
            object_store::Error::Precondition { .. } => Self::Changed {
                operation,
                key,
                url,
            },
            source if is_denied(&source) => Self::Denied {
                operation,
                key,
                url,
                source: Box::new(source),
            },
            source => Self::Unavailable {
                operation,
                key,
                url,
                source: Box::new(source),
            },
        }
    }
}

/// The HTTP status of an answer that object_store does not put in words of its own, as of a listing;
/// the type that holds it is private, its text is not.
fn status(error: &object_store::Error) -> Option<u16> {
    let text = error.to_string();
    let (_, status) = text.split_once("status code: ")?;
    status.get(..3)?.parse().ok()
}

/// What the store answered, without the page or document that came with it.
fn brief(error: &(dyn std::error::Error + Send + Sync)) -> String {
    let text = error.to_string();
    let line = text.lines().next().unwrap_or_default();
    let end = line.find(": <").unwrap_or(line.len());
    line[..end].to_owned()
}

/// Whether the store or the file system below it said "permission denied".
fn is_denied(error: &object_store::Error) -> bool {
    use object_store::Error::{PermissionDenied, Unauthenticated};
    if matches!(error, PermissionDenied { .. } | Unauthenticated { .. })
        || matches!(status(error), Some(401 | 403))
    {
        return true;
    }
    // A folder's refusal comes as a generic error around the one of the operating system.
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(this) = cause {
        if let Some(io) = this.downcast_ref::<std::io::Error>() {
            use std::io::ErrorKind::{PermissionDenied, ReadOnlyFilesystem};
            return matches!(io.kind(), PermissionDenied | ReadOnlyFilesystem);
        }
        cause = this.source();
    }
    false
}
