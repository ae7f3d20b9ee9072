//! Lists of a run's objects, never older than what this process has seen of them.
//!
//! A list that asks for no version is answered once the API server's cache has caught up with etcd,
//! which takes it up to a tenth of a second when nothing else is written. A list that asks for one
//! "not older than" is answered at once, because the watch that woke us has brought it there.

use std::{collections::BTreeSet, fmt::Debug, time::Duration};

use kube::{
    Api,
    api::{ListParams, VersionMatch},
};
use serde::de::DeserializeOwned;

/// How long the API server's cache may take to be as new as is asked for.
const CATCH_UP: Duration = Duration::from_secs(2);

/// What this process has seen of a run, so that it never looks back behind it.
///
/// Versions of one kind can be compared as numbers (Kubernetes, API concepts: resource versions).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// The newest version of the Jobs that was seen or written; 0 if none is known.
    pub jobs: u64,
    /// The newest version of the pods that was seen; 0 if none is known.
    pub pods: u64,
    /// The UIDs of Jobs that have ended, all of whose pods were seen after that.
    pub heard: BTreeSet<String>,
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
