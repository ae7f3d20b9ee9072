//! What a worker counts of its dealings with a store.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counts since a store was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Claims of what nobody had claimed before.
    pub claims_first: u64,
    /// Claims of what an attempt had not finished: its worker vanished, gave it back or failed.
    pub claims_again: u64,
    /// Claims that another worker is known to have taken over while this one held them.
    pub claims_lost: u64,
    /// Answers that were errors, after what the store's own client tries again by itself. That a file
    /// is missing, or there already, is none.
    pub errors: u64,
    /// Writes that were done again after such an answer.
    pub retries: u64,
}

/// The counts of a store and all its clones.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    claims_first: AtomicU64,
    claims_again: AtomicU64,
    claims_lost: AtomicU64,
    errors: AtomicU64,
    retries: AtomicU64,
}

impl Counters {
    pub(crate) fn claimed(&self, attempt: u32) {
        add(match attempt {
            1 => &self.claims_first,
            _ => &self.claims_again,
        });
    }

    pub(crate) fn lost_a_claim(&self) {
        add(&self.claims_lost);
    }

    pub(crate) fn answered_an_error(&self) {
        add(&self.errors);
    }

    pub(crate) fn tries_again(&self) {
        add(&self.retries);
    }

    pub(crate) fn tally(&self) -> Tally {
        let Self {
            claims_first,
            claims_again,
            claims_lost,
            errors,
            retries,
        } = self;
        let now = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Tally {
            claims_first: now(claims_first),
            claims_again: now(claims_again),
            claims_lost: now(claims_lost),
            errors: now(errors),
            retries: now(retries),
        }
    }
}

fn add(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
