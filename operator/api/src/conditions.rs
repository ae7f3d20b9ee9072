//! The conditions of a run, and how one is set.

use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::{Condition, Time},
    jiff::Timestamp,
};

mod remedy;
mod stall;
mod words;

pub use stall::{Stall, stalled};
pub use words::{ConditionType, EventReason, Reason, UnknownWord};

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
}
