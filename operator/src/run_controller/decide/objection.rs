//! What stands against a valid spec as things are. It passes: each look finds it anew, or gone.

use darwinlm_api::PruningRunStatus;
use darwinlm_api::conditions::Reason;

use super::step::Step;
use super::{changed, claims};
use crate::run_controller::observed::Observed;
use crate::run_controller::validate::ValidatedRun;

/// Why a valid spec is not accepted as things are. Nothing is deleted and nothing fails for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Objection {
    /// The reason of `Accepted=False`.
    pub(super) reason: Reason,
    /// The field, what was found, and what would be accepted.
    pub(super) message: String,
    /// Whether the next Job waits until it is gone.
    pub(super) holds_back: bool,
}

impl Objection {
    /// Whether a live Job stays as small as it is.
    pub(super) fn bars_growth(&self) -> bool {
        matches!(
            self.reason,
            Reason::VolumeNotShared | Reason::ReferenceNotFound
        )
    }
}

/// Finds the objection that weighs most.
pub(super) fn find(
    run: &ValidatedRun,
    observed: &Observed,
    step: &Step<'_>,
    status: &PruningRunStatus,
) -> Option<Objection> {
    let of_claims = match step {
        Step::Start(_) | Step::Rest(_) | Step::Watch(_) | Step::Hold(..) | Step::Await(..) => {
            claims::objection(run, observed, status)
        }
        // Nobody needs them any more.
        Step::Finish | Step::Fail(..) => None,
    };
    of_claims.or_else(|| changed::objection(run, observed, step))
}
