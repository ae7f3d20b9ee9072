//! The clock that leases are judged by.

use std::{ops::Add, time::Duration};

use nix::time::{ClockId, clock_gettime};

/// Time since the machine started. It is never set, and unlike [`std::time::Instant`] on Linux it
/// goes on while the machine is suspended: a process that slept through its lease knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct BootTime(Duration);

impl BootTime {
    /// Now.
    ///
    /// # Panics
    /// Never: Linux has had this clock since 2.6.39.
    pub fn now() -> Self {
        let now = clock_gettime(ClockId::CLOCK_BOOTTIME).expect("Linux has this clock");
        Self(now.into())
    }

    /// A moment, for tests.
    pub const fn after_boot(time: Duration) -> Self {
        Self(time)
    }

    /// The time from then to now; none if then is later.
    pub const fn since(self, then: Self) -> Duration {
        self.0.saturating_sub(then.0)
    }
}

impl Add<Duration> for BootTime {
    type Output = Self;

    fn add(self, time: Duration) -> Self {
        Self(self.0.saturating_add(time))
    }
}
