//! An observer's memory of the claims of others, on its own monotonic clock.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use super::{Beat, End};

/// What one worker has seen, by subject.
#[derive(Debug, Default)]
pub(super) struct Observed {
    subjects: HashMap<String, Seen>,
}

/// What was seen of one subject.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// The last attempt, from 1; 0 before the first.
    pub(super) attempt: u32,
    /// What attempts that ended in an exception said.
    pub(super) messages: Vec<String>,
    /// The last attempt's counter, and since when it stands there.
    count: Option<u64>,
    since: Option<Instant>,
    /// The last attempt was given back.
    ended: bool,
    looked: Option<Instant>,
}

impl Observed {
    pub(super) fn subject(&mut self, subject: &str) -> &mut Seen {
        self.subjects.entry(subject.to_owned()).or_default()
    }

    /// Whether a claim that another holds was looked at less than `look` ago.
    pub(super) fn is_too_early(&self, subject: &str, look: Duration) -> bool {
        let seen = self.subjects.get(subject);
        let looked = seen.filter(|seen| !seen.ended).and_then(|seen| seen.looked);
        looked.is_some_and(|looked| looked.elapsed() < look)
    }

    /// A further attempt exists.
    pub(super) fn saw_attempt(&mut self, subject: &str, attempt: u32) {
        let seen = self.subject(subject);
        if attempt <= seen.attempt {
            return;
        }
        seen.attempt = attempt;
        seen.count = None;
        seen.since = Some(Instant::now());
        seen.looked = seen.since;
        seen.ended = false;
    }

    /// The last attempt's beat says this.
    pub(super) fn saw_beat(&mut self, subject: &str, beat: Option<Beat>) {
        let seen = self.subject(subject);
        seen.looked = Some(Instant::now());
        let count = beat.as_ref().map(|beat| beat.count);
        if count != seen.count {
            seen.count = count;
            seen.since = seen.looked;
        }
        match beat.and_then(|beat| beat.end) {
            None => {}
            Some(_) if seen.ended => {}
            Some(End::Released) => seen.ended = true,
            Some(End::Exception { message }) => {
                seen.ended = true;
                seen.messages.push(message);
            }
        }
    }
}

impl Seen {
    /// Whether the last attempt was given back, or its counter stood still for `stale`.
    pub(super) fn is_free(&self, stale: Duration) -> bool {
        self.ended || self.since.is_some_and(|since| since.elapsed() >= stale)
    }
}
