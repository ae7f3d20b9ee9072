//! How a worker ends.

use darwinlm_search::SearchError;
use darwinlm_task::{ExitCode, SearchReport};

use crate::ledger::chain;
use crate::{LedgerError, StoreError};

/// Why a worker ended well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WorkEnd {
    /// The ledger holds what was asked for, whoever computed it.
    Done,
    /// The run had spent its budget when the newest generation ended.
    BudgetSpent,
    /// The worker was told to stop; it gave its claim back.
    Stopped,
}

/// What a worker leaves.
#[derive(Clone, Debug)]
pub struct Worked {
    /// Why it ended.
    pub end: WorkEnd,
    /// Where the search stands, the same for all workers that end at this generation.
    pub report: SearchReport,
}

/// Why a worker cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum WorkError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The ledger.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The search does not accept an outcome, or cannot go on.
    #[error("failed to go on with the search: {}", chain(.0))]
    Search(#[from] SearchError),
    /// An entry of the ledger does not close its generation.
    #[error("failed to follow ledger entry {index}: its trials do not complete the generation")]
    Incomplete {
        /// The entry.
        index: u32,
    },
    /// Every attempt at a trial ended in an exception.
    #[error(
        "failed to compute {subject}: {attempts} attempts ended in an exception, the last one: {last}"
    )]
    Exceptions {
        /// The trial.
        subject: String,
        /// How many.
        attempts: usize,
        /// What the last one said.
        last: String,
    },
    /// A trial does not fit in memory.
    #[error("failed to fit {subject} in memory: {message}")]
    OutOfMemory {
        /// The trial or survivor.
        subject: String,
        /// What would fit.
        message: String,
    },
}

impl WorkError {
    pub(super) fn trial(subject: String, messages: Vec<String>) -> Self {
        let attempts = messages.len();
        let last = messages.into_iter().next_back().unwrap_or_default();
        Self::Exceptions {
            subject,
            attempts,
            last,
        }
    }

    /// A word for metric labels and event reasons.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Store(error) => error.kind(),
            Self::Ledger(error) => error.kind(),
            Self::Search(_) => "Search",
            Self::Incomplete { .. } => "LedgerReplay",
            Self::Exceptions { .. } => "Exceptions",
            Self::OutOfMemory { .. } => "OutOfMemory",
        }
    }

    /// How the worker's process ends.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::Store(error) => error.exit_code(),
            Self::Ledger(error) => error.exit_code(),
            // The same outcomes lead to the same step again: no retry can help.
            Self::Search(_) | Self::Incomplete { .. } => ExitCode::BadData,
            Self::Exceptions { .. } => ExitCode::Bug,
            Self::OutOfMemory { .. } => ExitCode::OutOfMemory,
        }
    }
}
