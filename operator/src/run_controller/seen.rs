//! What was seen of a run's objects, so that the next look is never older.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

/// How long what was listed may be followed by watches alone.
const LISTED: Duration = Duration::from_secs(120);
/// What this process has seen of a run, so that it never looks back behind it.
///
/// Versions of one kind can be compared as numbers (Kubernetes, API concepts: resource versions).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// How new the list of Jobs was, or a Job that was written since; 0 if none is known.
    pub jobs: u64,
    /// How new the list of pods was; 0 if none is known.
    pub pods: u64,
    /// The newest Job that was seen or written; 0 if none is known.
    pub written: u64,
    /// When it was listed last.
    pub listed: Option<Instant>,
    /// The UIDs of Jobs that have ended, all of whose pods were seen after that.
    pub heard: BTreeSet<String>,
}

impl Seen {
    /// Whether what the watches have brought may do: the run was listed before, and not long ago, for a
    /// watch that has silently ended tells nobody.
    pub fn may_be_cached(&self) -> bool {
        let listed = self.listed.is_some_and(|listed| listed.elapsed() < LISTED);
        listed && self.written > 0
    }
}

/// A version as a number; 0 for one that is not there or is none.
pub fn version(text: Option<&str>) -> u64 {
    text.and_then(|text| text.parse().ok()).unwrap_or(0)
}
