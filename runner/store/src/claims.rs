//! Claims: a worker's mark that it is computing something, retaken when its owner stands still.
//!
//! ```text
//! claims/<subject>/1        {"token":…,"worker":…}   created by the first worker, never changed
//! claims/<subject>/1.beat   {"count":3}              overwritten by its owner alone
//! claims/<subject>/2        {"token":…,"worker":…}   created by whoever saw 1.beat stand still
//! ```

mod beat;
mod observed;

use std::time::Duration;

use bytes::Bytes;
use darwinlm_task::paths;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{Store, StoreError};

use beat::{Beat, Beating, End};
use observed::Observed;

/// How often claims are renewed, looked at and given up on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClaimTimes {
    /// The owner overwrites its beat this often.
    pub beat: Duration,
    /// An observer retakes a claim whose beat stood still for this long on its own clock.
    pub stale: Duration,
    /// An observer looks at a claim that another holds at most this often.
    pub look: Duration,
}

impl Default for ClaimTimes {
    /// Beats every 10 s, stale after 60 s, looked at every 2 s.
    fn default() -> Self {
        Self {
            beat: Duration::from_secs(10),
            stale: Duration::from_secs(60),
            look: Duration::from_secs(2),
        }
    }
}

/// What an attempt's file holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Owner {
    /// Random, so that the owner knows its own file.
    token: String,
    /// For people.
    worker: String,
}

/// One worker's view of the claims of a run.
#[derive(Debug)]
pub struct Claims {
    store: Store,
    prefix: String,
    worker: String,
    times: ClaimTimes,
    observed: Observed,
}

/// What came of asking for a claim.
#[derive(Debug)]
pub enum Claimed {
    /// It is this worker's. Look for a result once more: the owner before may just have finished.
    Mine(Claim),
    /// Another worker is at it, or was so too recently to tell.
    Held,
    /// Too many attempts ended in an exception.
    Failed {
        /// What each of them said, in order.
        messages: Vec<String>,
    },
}

impl Claims {
    /// The claims below a prefix (a run's own, or a folder's that several runs fill), as seen by a
    /// worker that knows nothing of them yet.
    pub fn new(store: &Store, prefix: &str, worker: &str, times: ClaimTimes) -> Self {
        Self {
            store: store.clone(),
            prefix: prefix.to_owned(),
            worker: worker.to_owned(),
            times,
            observed: Observed::default(),
        }
    }

    /// Tries to claim a subject, which is a trial's name or another word without slashes.
    ///
    /// With `exceptions` recorded attempts that ended in an exception, it is not claimed any more.
    /// Attempts whose owner vanished or gave the claim back do not count: they say nothing about
    /// the subject, and a run has to bear any number of them.
    ///
    /// # Errors
    /// What the store answers.
    pub async fn claim(&mut self, subject: &str, exceptions: usize) -> Result<Claimed, StoreError> {
        if self.observed.is_too_early(subject, self.times.look) {
            return Ok(Claimed::Held);
        }
        self.catch_up(subject).await?;
        let seen = self.observed.subject(subject);
        if seen.messages.len() >= exceptions {
            return Ok(Claimed::Failed {
                messages: seen.messages.clone(),
            });
        }
        if seen.attempt > 0 && !seen.is_free(self.times.stale) {
            return Ok(Claimed::Held);
        }
        let attempt = seen.attempt + 1;
        self.create(subject, attempt).await
    }

    /// Finds the last attempt, and what its beat says.
    async fn catch_up(&mut self, subject: &str) -> Result<(), StoreError> {
        loop {
            let attempt = self.observed.subject(subject).attempt;
            if attempt > 0 {
                let key = paths::beat(&self.prefix, subject, attempt);
                let bytes = self.store.get_if_exists(&key).await?;
                // A damaged beat counts as one that stands still: the claim is retaken in time.
                let beat = bytes.and_then(|bytes| serde_json::from_slice::<Beat>(&bytes).ok());
                self.observed.saw_beat(subject, beat);
            }
            if !self
                .store
                .exists(&paths::claim(&self.prefix, subject, attempt + 1))
                .await?
            {
                return Ok(());
            }
            self.observed.saw_attempt(subject, attempt + 1);
        }
    }

    async fn create(&mut self, subject: &str, attempt: u32) -> Result<Claimed, StoreError> {
        let owner = Owner {
            token: Uuid::new_v4().to_string(),
            worker: self.worker.clone(),
        };
        let text = serde_json::to_vec(&owner).expect("a token and a name are JSON");
        let key = paths::claim(&self.prefix, subject, attempt);
        let settled = self.store.settle(&key, Bytes::from(text)).await?;
        self.observed.saw_attempt(subject, attempt);
        if !settled.ours {
            return Ok(Claimed::Held);
        }
        let beating = Beating::start(
            self.store.clone(),
            paths::beat(&self.prefix, subject, attempt),
            self.times.beat,
        );
        self.store.counters().claimed(attempt);
        tracing::debug!(subject, attempt, "Claimed.");
        Ok(Claimed::Mine(Claim {
            store: self.store.clone(),
            next: paths::claim(&self.prefix, subject, attempt + 1),
            attempt,
            token: owner.token,
            beating,
        }))
    }
}

/// A claim of this worker, renewed in the background while it lives.
///
/// Dropped without a word it stands still, as if the worker had vanished, and is retaken after
/// [`ClaimTimes::stale`].
#[derive(Debug)]
pub struct Claim {
    store: Store,
    next: String,
    attempt: u32,
    token: String,
    beating: Beating,
}

impl Claim {
    /// Which attempt this is, from 1.
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// The owner's token.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// Whether another worker has retaken the claim because this one's beat stood still for too long.
    /// Results are create-only and need not ask; whoever replaces or removes files does.
    ///
    /// # Errors
    /// What the store answers.
    pub async fn is_lost(&self) -> Result<bool, StoreError> {
        let is_lost = self.store.exists(&self.next).await?;
        if is_lost {
            self.was_lost();
        }
        Ok(is_lost)
    }

    /// Counts that another worker has taken the claim over, however that was seen.
    pub(crate) fn was_lost(&self) {
        self.store.counters().lost_a_claim();
    }

    /// Ends the renewal: the result lies in the store, nobody asks for the claim again.
    pub async fn finish(self) {
        self.beating.stop(None).await;
    }

    /// Gives the claim back, so that others retake it at once: a last beat that says so.
    ///
    /// If the store does not take it, the claim goes stale like that of a vanished worker.
    pub async fn release(self) {
        self.beating.stop(Some(End::Released)).await;
    }

    /// Gives the claim back and records that the attempt ended in an exception.
    pub async fn fail(self, message: &str) {
        self.beating
            .stop(Some(End::Exception {
                message: message.to_owned(),
            }))
            .await;
    }
}

#[cfg(test)]
mod tests;
