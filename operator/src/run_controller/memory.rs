//! What this process remembers of runs between two looks: nothing that a restart may not lose.

use std::{
    collections::{HashMap, HashSet},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use darwinlm_api::PruningRunStatus;

use super::seen::Seen;

/// What is remembered of each run, by UID.
#[derive(Debug, Default)]
pub struct Memory {
    runs: Mutex<HashMap<String, Remembered>>,
}

#[derive(Clone, Debug, Default)]
struct Remembered {
    written: Option<Written>,
    failures: u32,
    heard: Option<Instant>,
    seen: Seen,
}

/// The last status that was written, and when.
#[derive(Clone, Debug)]
pub struct Written {
    /// The status.
    pub status: PruningRunStatus,
    /// When.
    pub at: Instant,
}

impl Memory {
    /// The status that this process wrote last. The watch may be behind it.
    pub fn written(&self, uid: &str) -> Option<Written> {
        self.lock().get(uid)?.written.clone()
    }

    /// Notes what was written.
    pub fn wrote(&self, uid: &str, status: PruningRunStatus, at: Instant) {
        self.lock().entry(uid.to_owned()).or_default().written = Some(Written { status, at });
    }

    /// Notes that a look succeeded.
    pub fn succeeded(&self, uid: &str) {
        if let Some(remembered) = self.lock().get_mut(uid) {
            remembered.failures = 0;
        }
    }

    /// Notes that a look failed; says how many have failed in a row.
    pub fn failed(&self, uid: &str) -> u32 {
        let mut runs = self.lock();
        let remembered = runs.entry(uid.to_owned()).or_default();
        remembered.failures = remembered.failures.saturating_add(1);
        remembered.seen = Seen::default();
        remembered.failures
    }

    /// For how long no worker of the run was heard, as far as this process knows.
    pub fn unheard(&self, uid: &str, now: Instant) -> Duration {
        let mut runs = self.lock();
        let heard = &mut runs.entry(uid.to_owned()).or_default().heard;
        now.saturating_duration_since(*heard.get_or_insert(now))
    }

    /// Notes that a worker of the run was heard.
    pub fn heard(&self, uid: &str, now: Instant) {
        self.lock().entry(uid.to_owned()).or_default().heard = Some(now);
    }

    /// What this process has seen of the run; default before its first look, and after one that failed.
    pub fn seen(&self, uid: &str) -> Seen {
        let runs = self.lock();
        runs.get(uid)
            .map(|run| run.seen.clone())
            .unwrap_or_default()
    }

    /// Notes what was seen.
    pub fn saw(&self, uid: &str, seen: Seen) {
        self.lock().entry(uid.to_owned()).or_default().seen = seen;
    }

    /// Notes the version of a Job that was written.
    pub fn wrote_job(&self, uid: &str, version: u64) {
        let mut runs = self.lock();
        let seen = &mut runs.entry(uid.to_owned()).or_default().seen;
        // Where nothing was seen, what is there now is asked for in any case.
        if seen.jobs > 0 {
            seen.jobs = seen.jobs.max(version);
            seen.written = seen.written.max(version);
        }
    }

    /// Forgets every run but these.
    pub fn keep_only(&self, uids: &HashSet<String>) {
        self.lock().retain(|uid, _| uids.contains(uid));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Remembered>> {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_in_a_row_are_counted_until_a_success() {
        let memory = Memory::default();
        assert_eq!(
            (memory.failed("a"), memory.failed("a"), memory.failed("b")),
            (1, 2, 1)
        );
        memory.succeeded("a");
        assert_eq!(memory.failed("a"), 1);
    }

    #[test]
    fn a_run_is_unheard_since_it_was_heard_last_or_first_looked_at() {
        let (memory, start) = (Memory::default(), Instant::now());
        let after = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(memory.unheard("a", start), Duration::ZERO);
        assert_eq!(memory.unheard("a", after(60)), Duration::from_secs(60));
        memory.heard("a", after(70));
        assert_eq!(memory.unheard("a", after(75)), Duration::from_secs(5));
    }

    #[test]
    fn what_was_written_is_not_looked_back_behind_and_a_failed_look_forgets_it() {
        let memory = Memory::default();
        memory.wrote_job("a", 7);
        assert_eq!(memory.seen("a"), Seen::default());
        let seen = |jobs| Seen {
            jobs,
            written: if jobs > 7 { jobs } else { 0 },
            pods: 9,
            ..Seen::default()
        };
        memory.saw("a", seen(7));
        memory.wrote_job("a", 8);
        memory.wrote_job("a", 2);
        assert_eq!(memory.seen("a"), seen(8));
        memory.failed("a");
        assert_eq!(memory.seen("a"), Seen::default());
    }

    #[test]
    fn a_run_that_is_gone_is_forgotten() {
        let memory = Memory::default();
        for uid in ["a", "b"] {
            memory.wrote(uid, PruningRunStatus::default(), Instant::now());
        }
        memory.keep_only(&HashSet::from(["b".to_owned()]));
        assert!(memory.written("a").is_none());
        assert!(memory.written("b").is_some());
    }
}
