//! The conditions of a run: their types, their reasons, and how one is set.

use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::{Condition, Time},
    jiff::Timestamp,
};

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
        /// Accepted: a field was changed after its task had started.
        ChangedTooLate,
        /// Accepted: a Secret, ConfigMap or claim that the spec names does not exist.
        ReferenceNotFound,
        /// Accepted: a claim that several workers share is not ReadWriteMany.
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
        /// Progressing: no node fits the pods; the message is the scheduler's.
        Unschedulable,
        /// Progressing: Kueue has not admitted the Job; the message is Kueue's.
        Queued,
        /// Progressing: the image cannot be pulled; the message is the kubelet's.
        ImagePull,
        /// Progressing: a pod cannot be made, as by quota or admission; the message is the
        /// API server's.
        PodRefused,
        /// Progressing: workers end with an error and are tried again.
        WorkerFailing,
        /// Progressing: a node is gone with its pod.
        NodeLost,
        /// Progressing: nothing was said or stored for longer than the stall limit.
        Stalled,
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
        /// A worker's device memory does not hold what it must; the message says what would.
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
        /// Too few candidates have a finite fitness.
        NonFinite,
        /// Two ledgers of one search differ.
        LedgerConflict,
        /// The runner did what it never should.
        InternalError,
    }
}

/// Whether a condition holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConditionStatus {
    /// It holds.
    True,
    /// It does not hold.
    False,
    /// Not known yet.
    Unknown,
}

impl ConditionStatus {
    /// The word as it stands in the status.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}

impl From<bool> for ConditionStatus {
    fn from(holds: bool) -> Self {
        if holds { Self::True } else { Self::False }
    }
}

/// What is to be said of one type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What it speaks of.
    pub type_: ConditionType,
    /// Whether it holds.
    pub status: ConditionStatus,
    /// Why, as a word.
    pub reason: Reason,
    /// Why, as a sentence.
    pub message: String,
}

/// Sets a condition; its time changes only with its status. True when anything changed.
///
/// `observed_generation` is the spec revision that the finding speaks of.
pub fn set(
    conditions: &mut Vec<Condition>,
    finding: Finding,
    observed_generation: Option<i64>,
    now: Timestamp,
) -> bool {
    let Finding {
        type_,
        status,
        reason,
        message,
    } = finding;
    let existing = conditions.iter().position(|c| c.type_ == type_.as_str());
    let last_transition_time = existing
        .map(|index| &conditions[index])
        .filter(|c| c.status == status.as_str())
        .map_or(Time(now), |c| c.last_transition_time.clone());
    let condition = Condition {
        type_: type_.as_str().to_owned(),
        status: status.as_str().to_owned(),
        reason: reason.as_str().to_owned(),
        message,
        observed_generation,
        last_transition_time,
    };
    match existing {
        Some(index) if conditions[index] == condition => false,
        Some(index) => {
            conditions[index] = condition;
            true
        }
        None => {
            conditions.push(condition);
            true
        }
    }
}

/// The condition of a type.
pub fn get(conditions: &[Condition], type_: ConditionType) -> Option<&Condition> {
    conditions.iter().find(|c| c.type_ == type_.as_str())
}

/// Whether a type is known to hold.
pub fn is_true(conditions: &[Condition], type_: ConditionType) -> bool {
    get(conditions, type_).is_some_and(|c| c.status == ConditionStatus::True.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn second(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("a small number of seconds is a time")
    }

    fn finding(status: ConditionStatus, reason: Reason) -> Finding {
        Finding {
            type_: ConditionType::Progressing,
            status,
            reason,
            message: format!("{reason} since the last look"),
        }
    }

    #[test]
    fn a_conditions_time_changes_only_with_its_status() {
        let mut conditions = Vec::new();
        let searching = finding(ConditionStatus::True, Reason::Searching);
        assert!(set(&mut conditions, searching, Some(1), second(10)));
        let evaluating = finding(ConditionStatus::True, Reason::Evaluating);
        assert!(set(&mut conditions, evaluating, Some(2), second(20)));
        assert_eq!(conditions.len(), 1);
        assert_eq!(conditions[0].reason, "Evaluating");
        assert_eq!(conditions[0].observed_generation, Some(2));
        assert_eq!(conditions[0].last_transition_time, Time(second(10)));
        let queued = finding(ConditionStatus::False, Reason::Queued);
        assert!(set(&mut conditions, queued, Some(2), second(30)));
        assert_eq!(conditions[0].last_transition_time, Time(second(30)));
    }

    #[test]
    fn setting_a_condition_again_changes_nothing() {
        let mut conditions = Vec::new();
        let searching = finding(ConditionStatus::True, Reason::Searching);
        assert!(set(&mut conditions, searching.clone(), Some(1), second(10)));
        let before = conditions.clone();
        assert!(!set(&mut conditions, searching, Some(1), second(99)));
        assert_eq!(conditions, before);
    }

    #[test]
    fn only_a_condition_with_status_true_is_true() {
        let mut conditions = Vec::new();
        assert!(!is_true(&conditions, ConditionType::Progressing));
        for (status, holds) in [
            (ConditionStatus::Unknown, false),
            (ConditionStatus::True, true),
            (ConditionStatus::False, false),
        ] {
            set(
                &mut conditions,
                finding(status, Reason::Searching),
                None,
                second(1),
            );
            assert_eq!(
                is_true(&conditions, ConditionType::Progressing),
                holds,
                "{status:?}"
            );
            assert!(!is_true(&conditions, ConditionType::Accepted));
        }
    }

    #[test]
    fn every_word_reads_back_as_itself() {
        for word in Reason::ALL {
            assert_eq!(word.as_str().parse(), Ok(*word));
        }
        for word in ConditionType::ALL {
            assert_eq!(word.as_str().parse(), Ok(*word));
        }
        let error = "Sleeping".parse::<Reason>().unwrap_err();
        assert_eq!(
            error.to_string(),
            "\"Sleeping\" is no Reason that this version knows"
        );
    }
}
