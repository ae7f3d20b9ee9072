//! What was seen of a run's objects, and lists that are never older than that.
//!
//! A list that asks for no version is answered once the API server's cache has caught up with etcd,
//! which takes it up to a tenth of a second when nothing else is written. A list that asks for one
//! "not older than" is answered at once, because the watch that woke us has brought it there.

use std::{
    collections::BTreeSet,
    fmt::Debug,
    time::{Duration, Instant},
};

use kube::{
    Api,
    api::{ListParams, VersionMatch},
};
use serde::de::DeserializeOwned;

/// How long what was listed may be followed by watches alone.
const LISTED: Duration = Duration::from_secs(120);
/// How long the API server's cache may take to be as new as is asked for.
const CATCH_UP: Duration = Duration::from_secs(2);

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
    pub(super) fn may_be_cached(&self) -> bool {
        let listed = self.listed.is_some_and(|listed| listed.elapsed() < LISTED);
        listed && self.written > 0
    }
}

/// A version as a number; 0 for one that is not there or is none.
pub fn version(text: Option<&str>) -> u64 {
    text.and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// Lists what is not older than `since`, or, with 0, what is there now. Says how new it is.
pub(super) async fn list<K>(
    api: &Api<K>,
    of_this_run: &ListParams,
    since: u64,
) -> kube::Result<(Vec<K>, u64)>
where
    K: Clone + DeserializeOwned + Debug,
{
    let as_new = match since {
        0 => None,
        since => {
            let parameters = of_this_run.clone().at(&since.to_string());
            let parameters = parameters.matching(VersionMatch::NotOlderThan);
            let listed = tokio::time::timeout(CATCH_UP, api.list(&parameters)).await;
            // A cache that does not catch up, or an etcd that has gone back to a backup.
            listed.ok().and_then(Result::ok)
        }
    };
    let listed = match as_new {
        Some(listed) => listed,
        None => api.list(of_this_run).await?,
    };
    let newest = version(listed.metadata.resource_version.as_deref());
    Ok((listed.items, newest))
}
