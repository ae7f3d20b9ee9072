//! When a finished run is deleted by itself. Pure.

use std::time::Duration;

use darwinlm_api::PruningRunStatus;
use darwinlm_api::conditions::{self, ConditionStatus, ConditionType};
use k8s_openapi::jiff::{SignedDuration, Timestamp};

/// When a run that has ended is to be deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiry {
    /// Nobody asks for it, or it has not ended.
    Never,
    /// Its time is over.
    Now,
    /// After so long.
    In(Duration),
}

/// Counts `spec.ttlSecondsAfterFinished` from the moment `Succeeded` turned: it stands in the status, so
/// that an operator that was away counts on.
pub fn expiry(ttl: Option<i32>, status: &PruningRunStatus, now: Timestamp) -> Expiry {
    let succeeded = conditions::get(&status.conditions, ConditionType::Succeeded);
    let ended = succeeded.filter(|is| is.status != ConditionStatus::Unknown.as_str());
    let (Some(ttl), Some(ended)) = (ttl, ended) else {
        return Expiry::Never;
    };
    let age = now.duration_since(ended.last_transition_time.0);
    match Duration::try_from(SignedDuration::from_secs(ttl.into()) - age) {
        Ok(rest) if !rest.is_zero() => Expiry::In(rest),
        Ok(_) | Err(_) => Expiry::Now,
    }
}

#[cfg(test)]
mod tests {
    use darwinlm_api::conditions::{Finding, Reason};

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn ended(status: ConditionStatus, second: i64) -> PruningRunStatus {
        let mut of_run = PruningRunStatus::default();
        let finding = Finding {
            type_: ConditionType::Succeeded,
            status,
            reason: Reason::Succeeded,
            message: String::new(),
        };
        conditions::set(&mut of_run.conditions, finding, Some(1), at(second));
        of_run
    }

    #[test]
    fn a_run_expires_so_long_after_its_end_however_it_ended() {
        for status in [ConditionStatus::True, ConditionStatus::False] {
            let of_run = ended(status, 100);
            let left = |now| expiry(Some(60), &of_run, at(now));
            assert_eq!(left(100), Expiry::In(Duration::from_secs(60)));
            assert_eq!(left(159), Expiry::In(Duration::from_secs(1)));
            assert_eq!((left(160), left(9999)), (Expiry::Now, Expiry::Now));
            // Another value counts from the same moment.
            assert_eq!(expiry(Some(10), &of_run, at(120)), Expiry::Now);
            assert_eq!(expiry(Some(0), &of_run, at(100)), Expiry::Now);
            assert_eq!(expiry(None, &of_run, at(9999)), Expiry::Never);
        }
    }

    #[test]
    fn a_run_that_has_not_ended_never_expires() {
        let at_work = ended(ConditionStatus::Unknown, 100);
        assert_eq!(expiry(Some(0), &at_work, at(9999)), Expiry::Never);
        let new = PruningRunStatus::default();
        assert_eq!(expiry(Some(0), &new, at(9999)), Expiry::Never);
    }
}
