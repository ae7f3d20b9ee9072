//! What one operator knows of the lease, and what it does next. Pure.

use std::time::Duration;

use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
    jiff::{SignedDuration, Timestamp},
};

use super::{BootTime, Settings};

/// The right to write, until it ends by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Who has it.
    pub holder: String,
    /// From then on its holder sends no write.
    pub renew_by: BootTime,
    /// From then on another operator may write.
    pub expiry: BootTime,
}

impl Claim {
    /// Whether a write may be sent at this moment.
    pub fn permits(&self, now: BootTime) -> bool {
        now < self.renew_by
    }
}

/// The lease as it was seen last.
#[derive(Clone, Debug)]
struct Sighting {
    lease: Lease,
    /// When it was first seen like this, after the answer had come.
    since: BootTime,
    /// Somebody has deleted it since. Its holder may not know yet.
    gone: bool,
}

/// What to do about the lease now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// It is free, or has stood still for its whole duration.
    Take,
    /// It is ours.
    Renew,
    /// It is another's.
    Wait,
}

/// Why an operator that led leads no more.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Lost {
    /// The API server did not answer in time, or refused.
    #[error("the lease was not renewed within {} s", .within.as_secs())]
    NotRenewed {
        /// The renew deadline.
        within: Duration,
    },
    /// Another operator has taken it.
    #[error("the lease was taken by {by}")]
    Taken {
        /// Who; empty if nobody has it, as after an edit by hand.
        by: String,
    },
}

/// One operator that leads or would.
#[derive(Clone, Debug)]
pub struct Contender {
    name: String,
    me: String,
    settings: Settings,
    seen: Option<Sighting>,
    claim: Option<Claim>,
}

impl Contender {
    /// An operator named `me` that has not looked at the lease `name` yet.
    pub fn new(name: String, me: String, settings: Settings) -> Self {
        Self {
            name,
            me,
            settings,
            seen: None,
            claim: None,
        }
    }

    /// Notes what a look at the lease has found; `now` is after the answer.
    pub fn see(&mut self, found: Option<Lease>, now: BootTime) {
        match (found, &mut self.seen) {
            (None, None) => {}
            (None, Some(seen)) => seen.gone = true,
            // Its version may differ where somebody has put a label on it: that renews nothing.
            (Some(lease), Some(seen)) if lease.spec == seen.lease.spec => {
                seen.lease = lease;
                seen.gone = false;
            }
            (Some(lease), _) => self.seen = Some(Sighting::new(lease, now)),
        }
    }

    /// What to do now. A claim that was lost is not won back: its holder is to end.
    pub fn step(&self, now: BootTime) -> Step {
        if self.lost(now).is_some() {
            return Step::Wait;
        }
        decide(self.seen.as_ref(), &self.me, self.settings.duration, now)
    }

    /// The lease to write for [`Step::Take`] and [`Step::Renew`]: with a version where it is to
    /// replace what was seen, without one where it is to be made. `wall` is for people.
    pub fn bid(&self, wall: Timestamp) -> Lease {
        let before = self.spec_seen();
        let changes_hands = holder(&before) != Some(&self.me);
        let renewed = later(wall, before.renew_time.as_ref());
        let transitions = before.lease_transitions.unwrap_or(0);
        let spec = LeaseSpec {
            holder_identity: Some(self.me.clone()),
            lease_duration_seconds: i32::try_from(self.settings.duration.as_secs()).ok(),
            renew_time: Some(renewed.clone()),
            acquire_time: if changes_hands {
                Some(renewed)
            } else {
                before.acquire_time.clone()
            },
            lease_transitions: Some(if changes_hands && self.seen.is_some() {
                transitions.saturating_add(1)
            } else {
                transitions
            }),
            ..before
        };
        Lease {
            metadata: self.metadata(),
            spec: Some(spec),
        }
    }

    /// Notes that the API server has taken a bid that was sent at `sent`; `lease` is its answer.
    pub fn won(&mut self, lease: Lease, sent: BootTime, now: BootTime) {
        self.seen = Some(Sighting::new(lease, now));
        self.claim = Some(Claim {
            holder: self.me.clone(),
            renew_by: sent + self.settings.renew,
            expiry: sent + self.settings.duration,
        });
    }

    /// The claim, if this operator has led since it began; see [`Claim::permits`].
    pub fn claim(&self) -> Option<&Claim> {
        self.claim.as_ref()
    }

    /// Whether an operator that led leads no more.
    pub fn lost(&self, now: BootTime) -> Option<Lost> {
        let claim = self.claim.as_ref()?;
        let spec = self.spec_seen();
        match holder(&spec) {
            Some(other) if other != self.me => Some(Lost::Taken {
                by: other.to_owned(),
            }),
            None if self.seen.as_ref().is_some_and(|seen| !seen.gone) => {
                Some(Lost::Taken { by: String::new() })
            }
            Some(_) | None => (!claim.permits(now)).then_some(Lost::NotRenewed {
                within: self.settings.renew,
            }),
        }
    }

    /// Gives the claim up; the lease to write so that others need not wait, if it is ours.
    pub fn release(&mut self, wall: Timestamp) -> Option<Lease> {
        self.claim = None;
        let before = self.spec_seen();
        let ours =
            holder(&before) == Some(&self.me) && self.seen.as_ref().is_some_and(|seen| !seen.gone);
        ours.then(|| Lease {
            metadata: self.metadata(),
            spec: Some(LeaseSpec {
                holder_identity: None,
                renew_time: Some(later(wall, before.renew_time.as_ref())),
                ..before
            }),
        })
    }

    /// Who has the lease, as seen last.
    pub fn holder(&self) -> Option<&str> {
        holder(self.seen.as_ref()?.lease.spec.as_ref()?)
    }

    /// How often it has changed hands, as seen last.
    pub fn transitions(&self) -> i32 {
        self.spec_seen().lease_transitions.unwrap_or(0)
    }

    fn spec_seen(&self) -> LeaseSpec {
        let seen = self.seen.as_ref();
        seen.and_then(|seen| seen.lease.spec.clone())
            .unwrap_or_default()
    }

    fn metadata(&self) -> ObjectMeta {
        match &self.seen {
            Some(seen) if !seen.gone => seen.lease.metadata.clone(),
            Some(_) | None => ObjectMeta {
                name: Some(self.name.clone()),
                ..ObjectMeta::default()
            },
        }
    }
}

impl Sighting {
    fn new(lease: Lease, since: BootTime) -> Self {
        Self {
            lease,
            since,
            gone: false,
        }
    }
}

/// The whole rule. A lease that somebody has deleted is judged as it stood.
fn decide(seen: Option<&Sighting>, me: &str, duration: Duration, now: BootTime) -> Step {
    let Some(seen) = seen else { return Step::Take };
    let spec = seen.lease.spec.clone().unwrap_or_default();
    let promised = spec.lease_duration_seconds.map(u64::try_from);
    let valid = match promised {
        Some(Ok(seconds)) => Duration::from_secs(seconds),
        Some(Err(_)) | None => duration,
    };
    match holder(&spec) {
        Some(holder) if holder == me && seen.gone => Step::Take,
        Some(holder) if holder == me => Step::Renew,
        Some(_) if now.since(seen.since) < valid => Step::Wait,
        Some(_) | None => Step::Take,
    }
}

fn holder(spec: &LeaseSpec) -> Option<&str> {
    spec.holder_identity
        .as_deref()
        .filter(|name| !name.is_empty())
}

/// Always later than the last renewal, whatever the wall clock says: a renewal that changed
/// nothing would look to others as if there had been none.
fn later(wall: Timestamp, last: Option<&MicroTime>) -> MicroTime {
    let Some(MicroTime(last)) = last else {
        return MicroTime(wall);
    };
    let after = last
        .saturating_add(SignedDuration::from_micros(1))
        .unwrap_or(*last);
    MicroTime(wall.max(after))
}

#[cfg(test)]
mod tests;
