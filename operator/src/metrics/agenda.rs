//! Which runs wait for their look, and since when: the controller's own queue tells nobody.
//!
//! It is followed from outside, by the rules of kube's scheduler: a run has one entry; whoever asks
//! for a look before the entry is due puts it off to the end of the debounce, and who asks after that
//! finds it waiting already.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// A run, by namespace and name.
pub type Key = (String, String);

/// When each run is due for its next look; cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct Agenda(Arc<Mutex<HashMap<Key, Instant>>>);

impl Agenda {
    /// Notes that a look is asked for at a time, now or later; it is due when the debounce is over.
    pub(super) fn asks(&self, run: Key, at: Instant, debounce: Duration) {
        let due = at + debounce;
        let mut runs = self.lock();
        let known = runs.entry(run).or_insert(due);
        if *known >= at {
            *known = due;
        }
    }

    /// Notes that a look begins; says for how long it was due.
    pub(super) fn begins(&self, run: &Key, now: Instant) -> Option<Duration> {
        let due = self.forget(run)?;
        Some(now.saturating_duration_since(due))
    }

    /// Notes that there will be no look.
    pub(super) fn forget(&self, run: &Key) -> Option<Instant> {
        self.lock().remove(run)
    }

    /// Forgets the runs that are gone.
    pub(super) fn keep_only(&self, runs: &HashSet<Key>) {
        self.lock().retain(|run, _| runs.contains(run));
    }

    /// Runs whose look is due and has not begun.
    pub(super) fn waiting(&self, now: Instant) -> usize {
        self.lock().values().filter(|due| **due < now).count()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEBOUNCE: Duration = Duration::from_millis(200);

    fn key(name: &str) -> Key {
        ("n".to_owned(), name.to_owned())
    }

    fn seconds(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    #[test]
    fn a_run_waits_from_when_its_look_is_due_until_it_begins() {
        let (agenda, start) = (Agenda::default(), Instant::now());
        agenda.asks(key("a"), start, DEBOUNCE);
        agenda.asks(key("b"), start + seconds(10.0), DEBOUNCE);
        assert_eq!(agenda.waiting(start + seconds(0.1)), 0);
        assert_eq!(agenda.waiting(start + seconds(1.0)), 1);
        assert_eq!(agenda.waiting(start + seconds(11.0)), 2);
        let waited = agenda.begins(&key("a"), start + seconds(1.2));
        assert_eq!(waited, Some(seconds(1.0)));
        assert_eq!(agenda.waiting(start + seconds(11.0)), 1);
        assert_eq!(agenda.begins(&key("a"), start + seconds(2.0)), None);
    }

    #[test]
    fn who_asks_again_before_it_is_due_puts_it_off_and_who_asks_later_does_not() {
        let (agenda, start) = (Agenda::default(), Instant::now());
        let at = |second| start + seconds(second);
        // the poll of the run, and then a change long before it
        agenda.asks(key("a"), at(10.0), DEBOUNCE);
        agenda.asks(key("a"), at(1.0), DEBOUNCE);
        agenda.asks(key("a"), at(1.1), DEBOUNCE);
        // it is due at 1.3 s: what comes now waits with it
        agenda.asks(key("a"), at(3.0), DEBOUNCE);
        assert_eq!(agenda.begins(&key("a"), at(4.3)), Some(seconds(3.0)));
    }

    #[test]
    fn what_is_gone_waits_no_more() {
        let (agenda, start) = (Agenda::default(), Instant::now());
        for name in ["a", "b", "c"] {
            agenda.asks(key(name), start, DEBOUNCE);
        }
        agenda.forget(&key("a"));
        agenda.keep_only(&HashSet::from([key("b")]));
        assert_eq!(agenda.waiting(start + seconds(1.0)), 1);
    }
}
