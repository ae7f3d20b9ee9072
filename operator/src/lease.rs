//! Leader election: of several operators one writes, and stops before another may.
//!
//! ```text
//!  Elector ──► Contender ──► Claim ──► Leadership ──► Guard: every write
//!  client      pure          until     handle         refused without a claim
//! ```
//!
//! The operators share a `Lease` of the API server. Each write to it names the version that was
//! read, so that of two at the same time one fails. What a clock is asked, it is asked here:
//!
//! - The holder counts from the moment *before* it sent its last successful renewal, and writes
//!   nothing from the renew deadline on. It then ends, for nothing it remembers is true any more.
//! - The others count from the moment *after* they saw the lease change last, and take it when it
//!   has stood still for its whole duration. No two clocks are ever compared.
//!
//! Between the two lies duration − renew deadline: time for requests on their way, which the API
//! server is told to give up within, and for clocks that run unequally.

mod clock;
mod contender;
mod elector;
mod guard;
mod leadership;

use std::time::Duration;

pub use clock::BootTime;
pub use contender::{Claim, Contender, Lost, Step};
pub use elector::Elector;
pub use guard::{GuardLayer, NotLeading};
pub use leadership::Leadership;

/// How long things around the lease take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    duration: Duration,
    renew: Duration,
    retry: Duration,
}

/// These settings do not go together.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// Between two attempts.
    #[error("--lease-retry-seconds is 0; it must be at least 1")]
    Retry,
    /// One lost answer would end the leadership.
    #[error(
        "--lease-renew-seconds is {renew}; it must be at least {least}, twice \
         --lease-retry-seconds, so that one answer may be lost"
    )]
    Renew {
        /// What was asked for.
        renew: u64,
        /// What would do.
        least: u64,
    },
    /// No time for requests on their way.
    #[error(
        "--lease-seconds is {duration}; it must be at least {least}, a fifth more than \
         --lease-renew-seconds and at least a second, so that requests on their way end before \
         another operator writes"
    )]
    Duration {
        /// What was asked for.
        duration: u64,
        /// What would do.
        least: u64,
    },
    /// The API server keeps it as an `i32`, and nobody wants to wait that long.
    #[error("--lease-seconds is {0}; it must be at most 3600")]
    TooLong(u64),
}

impl Settings {
    /// Checks that the holder stops in time, in seconds: how long a lease is valid, after how long
    /// without a renewal its holder writes no more, and how often either is looked at.
    ///
    /// # Errors
    /// When one of them is too short for the others.
    pub fn new(duration: u64, renew: u64, retry: u64) -> Result<Self, SettingsError> {
        if retry == 0 {
            return Err(SettingsError::Retry);
        }
        let least = retry.saturating_mul(2);
        if renew < least {
            return Err(SettingsError::Renew { renew, least });
        }
        let least = renew.saturating_add(renew.div_ceil(5));
        if duration < least {
            return Err(SettingsError::Duration { duration, least });
        }
        if duration > 3600 {
            return Err(SettingsError::TooLong(duration));
        }
        Ok(Self {
            duration: Duration::from_secs(duration),
            renew: Duration::from_secs(renew),
            retry: Duration::from_secs(retry),
        })
    }

    /// How long one attempt may take: two fit before the renew deadline.
    pub fn attempt(&self) -> Duration {
        self.renew / 2
    }

    /// Between two attempts.
    pub fn retry(&self) -> Duration {
        self.retry
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_holder_that_would_stop_too_late_is_refused_with_what_would_do() {
        assert!(Settings::new(15, 10, 2).is_ok());
        assert!(Settings::new(3, 2, 1).is_ok());
        assert_eq!(Settings::new(15, 10, 0), Err(SettingsError::Retry));
        assert_eq!(
            Settings::new(15, 3, 2),
            Err(SettingsError::Renew { renew: 3, least: 4 })
        );
        assert_eq!(
            Settings::new(11, 10, 2),
            Err(SettingsError::Duration {
                duration: 11,
                least: 12
            })
        );
        assert_eq!(
            Settings::new(3601, 10, 2),
            Err(SettingsError::TooLong(3601))
        );
        assert!(Settings::new(u64::MAX, u64::MAX, u64::MAX).is_err());
    }
}
