//! What the rest of the operator sees of the election: whether it may write.

use std::time::Duration;

use futures::{Stream, stream};
use tokio::sync::watch;

use super::{BootTime, Claim};

/// What is told of the election: the claim, if there is one.
pub(super) type Claims = Option<Claim>;

/// Whether this operator may write; cheap to clone.
#[derive(Clone, Debug)]
pub struct Leadership(Option<watch::Receiver<Claims>>);

impl Leadership {
    /// Of an operator that is the only one: always.
    pub const fn alone() -> Self {
        Self(None)
    }

    /// As these claims say.
    pub(super) const fn claimed(claims: watch::Receiver<Claims>) -> Self {
        Self(Some(claims))
    }

    /// Whether a write may be sent now. To be asked anew for each.
    pub fn may_write(&self) -> bool {
        self.0.as_ref().is_none_or(|claims| {
            let claim = claims.borrow();
            let now = BootTime::now();
            claim.as_ref().is_some_and(|claim| claim.permits(now))
        })
    }

    /// How long the API server may take over a write that is sent now, so that it is over before
    /// another operator writes; as long as it likes if there is no other.
    pub fn patience(&self) -> Option<Duration> {
        let claims = self.0.as_ref()?;
        let now = BootTime::now();
        let left = claims
            .borrow()
            .as_ref()
            .map(|claim| claim.expiry.since(now));
        Some(left.unwrap_or_default())
    }

    /// An item each time that this operator begins to lead.
    pub fn gained(&self) -> impl Stream<Item = ()> + Send + 'static {
        stream::unfold((self.0.clone(), false), |(claims, mut led)| async move {
            let Some(mut claims) = claims else {
                return std::future::pending().await;
            };
            loop {
                let leads = claims.borrow_and_update().is_some();
                let begins = leads && !led;
                led = leads;
                if begins {
                    return Some(((), (Some(claims), led)));
                }
                claims.changed().await.ok()?;
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use futures::{FutureExt, StreamExt};

    use super::*;

    fn claim(renew_by: BootTime) -> Claim {
        Claim {
            holder: "a".to_owned(),
            renew_by,
            expiry: renew_by + Duration::from_secs(5),
        }
    }

    #[test]
    fn who_is_alone_may_write() {
        assert!(Leadership::alone().may_write());
        assert_eq!(Leadership::alone().patience(), None);
    }

    #[test]
    fn a_claim_ends_by_itself() {
        let (claims, received) = watch::channel(None);
        let leadership = Leadership::claimed(received);
        assert!(!leadership.may_write());
        assert_eq!(leadership.patience(), Some(Duration::ZERO));
        claims.send_replace(Some(claim(BootTime::now() + Duration::from_millis(50))));
        assert!(leadership.may_write());
        assert!(leadership.patience().unwrap() > Duration::from_secs(5));
        std::thread::sleep(Duration::from_millis(60));
        assert!(!leadership.may_write());
    }

    #[test]
    fn a_renewal_is_no_new_beginning() {
        let (claims, received) = watch::channel(None);
        let leadership = Leadership::claimed(received);
        let mut gained = Box::pin(leadership.gained());
        assert_eq!(gained.next().now_or_never(), None);
        claims.send_replace(Some(claim(BootTime::now())));
        assert_eq!(gained.next().now_or_never(), Some(Some(())));
        claims.send_replace(Some(claim(BootTime::now())));
        assert_eq!(gained.next().now_or_never(), None);
    }
}
