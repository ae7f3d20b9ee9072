//! What to do about each reason.

use super::{Reason, Stall};

/// Where the remedy of a reason stands.
enum Remedy {
    /// Nothing is wrong.
    NothingToDo,
    /// With each cause that has the reason.
    OfItsCauses,
    /// Here.
    Of(&'static str),
}

impl Reason {
    /// What to do about it, once for each cause that has it; nothing where nothing is wrong.
    pub fn remedies(self) -> Vec<&'static str> {
        match self.remedy() {
            Remedy::NothingToDo => Vec::new(),
            Remedy::Of(remedy) => vec![remedy],
            Remedy::OfItsCauses => Stall::ALL
                .iter()
                .filter(|stall| stall.reason() == self)
                .map(|stall| stall.remedy())
                .collect(),
        }
    }

    const fn remedy(self) -> Remedy {
        match self {
            Self::Valid
            | Self::NotStarted
            | Self::InProgress
            | Self::Complete
            | Self::Preparing
            | Self::Measuring
            | Self::BuildingDatabase
            | Self::Searching
            | Self::PostTraining
            | Self::Evaluating
            | Self::Exporting
            | Self::CleaningUp
            | Self::Starting
            | Self::Suspending
            | Self::NotSuspended
            | Self::Finished
            | Self::Succeeded => Remedy::NothingToDo,
            Self::NotYetSupported => {
                Remedy::Of("leave out what is named, or use what the message says is there")
            }
            Self::StoreInUse => Remedy::Of(
                "give the run another name, or another prefix in spec.artifacts.store; if what lies \
                 there is of no use any more, remove it",
            ),
            Self::TargetUnreachable => {
                Remedy::Of("delete the run and apply it anew with a target that the message names")
            }
            Self::Suspended => {
                Remedy::Of("set spec.suspend to false: it goes on with what is stored")
            }
            Self::BudgetSpent => Remedy::Of(
                "nothing, if the result is good enough; to search longer, raise spec.budget.gpuHours",
            ),
            Self::NonFinite => Remedy::Of(
                "delete the run and apply it anew with a lower spec.search.optimizer.learningRate, which is \
                 another search; for a lower spec.postTraining.learningRate set spec.retain to All first, \
                 or deletion takes the search with it",
            ),
            Self::LedgerConflict => Remedy::Of(
                "delete the run and apply it anew, with workers of one image and one kind of device; if \
                 they were, report it with the workers' logs",
            ),
            Self::Failed => Remedy::Of(
                "see the Job's words (kubectl describe job) and the workers' (kubectl logs), and set \
                 spec.retain to All, or deletion takes the search with it; then delete the run and apply it \
                 anew",
            ),
            Self::InternalError => {
                Remedy::Of("report it with the worker's log: it is a bug of ours")
            }
            Self::InvalidSpec
            | Self::ChangedTooLate
            | Self::ReferenceNotFound
            | Self::VolumeNotShared
            | Self::NameTaken
            | Self::OperatorForbidden
            | Self::QuotaExceeded
            | Self::LimitExceeded
            | Self::PodSecurity
            | Self::AdmissionRefused
            | Self::AdmissionUnavailable
            | Self::JobRefused
            | Self::PodRefused
            | Self::NodeLost
            | Self::ImagePull
            | Self::ContainerNotStarted
            | Self::VolumeNotBound
            | Self::VolumeNotMounted
            | Self::Queued
            | Self::Unschedulable
            | Self::JobDeleted
            | Self::JobSuspended
            | Self::WorkersStay
            | Self::PodsNotCreated
            | Self::Interrupted
            | Self::WorkerFailing
            | Self::NoProgress
            | Self::OutOfMemory
            | Self::BadData
            | Self::InputMissing
            | Self::PermissionDenied
            | Self::StoreUnavailable
            | Self::DeviceUnusable => Remedy::OfItsCauses,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_has_the_remedies_of_its_causes_if_it_has_causes() {
        for reason in Reason::ALL {
            let has_causes = Stall::ALL.iter().any(|stall| stall.reason() == *reason);
            let of_causes = matches!(reason.remedy(), Remedy::OfItsCauses);
            assert_eq!(of_causes, has_causes, "{reason}");
        }
        assert_eq!(Reason::ReferenceNotFound.remedies().len(), 5);
        assert!(Reason::Searching.remedies().is_empty());
    }
}
