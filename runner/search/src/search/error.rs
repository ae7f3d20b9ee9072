//! Why a search cannot go on, or does not accept an outcome.

use crate::fitness::Outcome;
use crate::problem::ProblemError;
use crate::replay::ReplayError;
use crate::trial::TrialId;

/// Why a search cannot go on, or does not accept an outcome.
#[derive(Debug, thiserror::Error)]
pub enum SearchError {
    /// The problem cannot be searched.
    #[error("the search's problem is not valid")]
    Problem(#[from] ProblemError),
    /// The ledger is not this search's.
    #[error("the ledger does not replay")]
    Ledger(#[from] ReplayError),
    /// The trial is of a generation that is over, or not begun.
    #[error("{id} is told while generation {open:?} is open; it is no open trial")]
    OtherGeneration {
        /// The trial.
        id: TrialId,
        /// The open generation; none once the search is finished.
        open: Option<u32>,
    },
    /// The open generation has no such trial, or not yet.
    #[error("{id} is no trial of its generation so far")]
    UnknownTrial {
        /// The trial.
        id: TrialId,
    },
    /// The trial has another outcome already.
    #[error("{id} is told as {told}, but was told before as {known}")]
    OtherOutcome {
        /// The trial.
        id: TrialId,
        /// The outcome known.
        known: Outcome,
        /// The outcome told now.
        told: Outcome,
    },
    /// Too many candidates of a step failed.
    #[error(
        "generation {generation}, selection step {step} (from 0): {found} candidates have a finite \
         fitness and {needed} must survive"
    )]
    TooFewFinite {
        /// The generation.
        generation: u32,
        /// The selection step.
        step: u32,
        /// Candidates with a fitness.
        found: usize,
        /// Survivors of the step.
        needed: usize,
    },
}
