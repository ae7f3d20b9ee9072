//! The words of the API: types of conditions, and reasons.

/// Declares words of the API once: the enum, its spelling and the list of all.
macro_rules! words {
    ($(#[$about:meta])* $name:ident { $($(#[doc = $doc:literal])+ $word:ident,)+ }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name {
            $($(#[doc = $doc])+ $word,)+
        }

        impl $name {
            /// Every word, in the order of the documentation.
            pub const ALL: &'static [Self] = &[$(Self::$word),+];

            /// The word as it stands in the status.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$word => stringify!($word),)+
                }
            }

            /// What it means.
            pub const fn meaning(self) -> &'static str {
                match self {
                    $(Self::$word => concat!($($doc),+),)+
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl std::str::FromStr for $name {
            type Err = UnknownWord;

            fn from_str(text: &str) -> Result<Self, UnknownWord> {
                Self::ALL
                    .iter()
                    .copied()
                    .find(|word| word.as_str() == text)
                    .ok_or_else(|| UnknownWord { kind: stringify!($name), found: text.to_owned() })
            }
        }
    };
}

/// A word that this version of the API does not know.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{found:?} is no {kind} that this version knows")]
pub struct UnknownWord {
    kind: &'static str,
    found: String,
}

words! {
    /// What a condition speaks of.
    ConditionType {
        /// The spec is valid and this operator can carry it out.
        Accepted,
        /// Model and data are fetched and checked, the numerics plan is fixed.
        Prepared,
        /// The table of latencies is there; said of runs that need one.
        Measured,
        /// The level database is complete.
        DatabaseReady,
        /// Every generation is in the ledger, or the budget is spent.
        SearchComplete,
        /// Post-training is done.
        Trained,
        /// The models are measured.
        Evaluated,
        /// Every checkpoint is written.
        Exported,
        /// Work is going on; False says what it waits for.
        Progressing,
        /// The run holds no device because the user asked so.
        Suspended,
        /// The run has ended: True with its result, False without one.
        Succeeded,
    }
}

words! {
    /// Why a condition has its status.
    Reason {
        /// Accepted: the spec is valid.
        Valid,
        /// Accepted: a field holds what is not accepted; the message names it.
        InvalidSpec,
        /// Accepted: the spec asks for what this version does not do yet.
        NotYetSupported,
        /// Accepted: the store's prefix belongs to another search.
        StoreInUse,
        /// Accepted: no model with the ladders of this one meets the target; the message says what
        /// would.
        TargetUnreachable,
        /// Accepted, Progressing: a field was changed after the first Job of its task had been made;
        /// Jobs go on with the old value, and put back it is accepted again.
        ChangedTooLate,
        /// Accepted, Progressing: a claim that the spec names does not exist; nothing is started
        /// until it does. Progressing: a pod names a Secret, a service account or a class that does
        /// not exist.
        ReferenceNotFound,
        /// Accepted, Progressing: a claim that several workers share is not ReadWriteMany; nothing
        /// is started until it is, or the run asks for one worker.
        VolumeNotShared,
        /// A task has not started yet.
        NotStarted,
        /// A task is at work.
        InProgress,
        /// A task is done.
        Complete,
        /// Progressing: fetching, checking and tokenising.
        Preparing,
        /// Progressing: measuring the latency of every level.
        Measuring,
        /// Progressing: building the level database.
        BuildingDatabase,
        /// Progressing: searching.
        Searching,
        /// Progressing: training the survivor.
        PostTraining,
        /// Progressing: measuring the models.
        Evaluating,
        /// Progressing: writing checkpoints.
        Exporting,
        /// Progressing: removing the run's prefix from the store.
        CleaningUp,
        /// Progressing: pods are being created or started.
        Starting,
        /// Progressing: a Job of the name that the run needs belongs to another owner.
        NameTaken,
        /// Progressing: the API server does not let the operator do what it must.
        OperatorForbidden,
        /// Progressing: a ResourceQuota refuses the Job or a pod.
        QuotaExceeded,
        /// Progressing: a LimitRange refuses a pod.
        LimitExceeded,
        /// Progressing: Pod Security refuses a pod.
        PodSecurity,
        /// Progressing: a webhook or an admission policy refuses the Job or a pod.
        AdmissionRefused,
        /// Progressing: a webhook that has to be asked does not answer.
        AdmissionUnavailable,
        /// Progressing: the API server refuses the Job for another reason.
        JobRefused,
        /// Progressing: the API server refuses a pod for another reason.
        PodRefused,
        /// Progressing: a node does not answer, and one of its pods is the run's.
        NodeLost,
        /// Progressing: the image cannot be pulled; the message is the kubelet's.
        ImagePull,
        /// Progressing: a pod has a node, and its container does not start; the message is the
        /// kubelet's.
        ContainerNotStarted,
        /// Progressing: a claim has no volume.
        VolumeNotBound,
        /// Progressing: a volume cannot be attached or mounted; the message is the kubelet's.
        VolumeNotMounted,
        /// Progressing: Kueue has not admitted the Job; the message is Kueue's.
        Queued,
        /// Progressing: no node fits the pods; the message is the scheduler's and the autoscaler's.
        Unschedulable,
        /// Progressing: somebody deletes a Job of the run; another is made once it is gone.
        JobDeleted,
        /// Progressing: somebody else has suspended a Job of the run.
        JobSuspended,
        /// Progressing: the run is suspended, and its pods are not told to leave.
        WorkersStay,
        /// Progressing: a Job lacks pods, and nobody says why.
        PodsNotCreated,
        /// Progressing: a worker was stopped from outside, and none is back yet.
        Interrupted,
        /// Progressing: workers end with an error and are tried again.
        WorkerFailing,
        /// Progressing: workers are at work and get no further.
        NoProgress,
        /// Progressing: the run is suspended. Suspended: the spec asks so.
        Suspended,
        /// Progressing: the run is suspended and its pods are leaving.
        Suspending,
        /// Suspended: the spec does not ask so.
        NotSuspended,
        /// Progressing: the run has ended with its result.
        Finished,
        /// Progressing, SearchComplete: the GPU budget is spent.
        BudgetSpent,
        /// Succeeded: the run has its result.
        Succeeded,
        /// A task failed for good; the message names it.
        Failed,
        /// The memory of a worker's container or device does not hold what it must; the message says
        /// which, and what would do.
        OutOfMemory,
        /// Model or data are not what the run can use.
        BadData,
        /// Model, data or an earlier task's files are missing.
        InputMissing,
        /// A source or the store refuses access.
        PermissionDenied,
        /// A source or the store does not answer.
        StoreUnavailable,
        /// The device asked for does not work.
        DeviceUnusable,
        /// Too few candidates have a finite fitness, or post-training has made numbers that are none.
        NonFinite,
        /// Two ledgers of one search differ.
        LedgerConflict,
        /// The runner did what it never should.
        InternalError,
    }
}

words! {
    /// Why an event of a run is written.
    EventReason {
        /// Accepted has become True.
        RunAccepted,
        /// Accepted has become False; the note is its message.
        RunRejected,
        /// A Job was made; the event names it.
        TaskStarted,
        /// A task's condition has become True.
        TaskDone,
        /// With `generationsPerJob: 1` a generation is done, else the survivor is a better one.
        GenerationDone,
        /// Progressing has become False for another cause than before; the action is its reason, the
        /// note its message.
        Stalled,
        /// spec.suspend has taken effect.
        RunSuspended,
        /// spec.suspend was taken back.
        RunResumed,
        /// The run has ended with its result.
        RunSucceeded,
        /// The run has ended without a result; the note says why.
        RunFailed,
        /// The prefix of a deleted run was removed.
        CleanedUp,
        /// A deleted run leaves something in the store; the note says what and why.
        LeftBehind,
    }
}

impl EventReason {
    /// Whether somebody should do something about it. A run that waits in its queue is an exception:
    /// queues are there to wait in.
    pub const fn is_warning(self) -> bool {
        match self {
            Self::RunRejected | Self::Stalled | Self::RunFailed | Self::LeftBehind => true,
            Self::RunAccepted
            | Self::TaskStarted
            | Self::TaskDone
            | Self::GenerationDone
            | Self::RunSuspended
            | Self::RunResumed
            | Self::RunSucceeded
            | Self::CleanedUp => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_reads_back_as_itself() {
        for word in Reason::ALL {
            assert_eq!(word.as_str().parse(), Ok(*word));
        }
        for word in ConditionType::ALL {
            assert_eq!(word.as_str().parse(), Ok(*word));
        }
        for word in EventReason::ALL {
            assert_eq!(word.as_str().parse(), Ok(*word));
        }
        let error = "Sleeping".parse::<Reason>().unwrap_err();
        assert_eq!(
            error.to_string(),
            "\"Sleeping\" is no Reason that this version knows"
        );
    }
}
