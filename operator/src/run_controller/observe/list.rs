//! Lists of a run's objects, never older than what this process has seen of them.
//!
//! A list that asks for no version is answered once the API server's cache has caught up with etcd,
//! which takes it up to a tenth of a second when nothing else is written. A list that asks for one
//! "not older than" is answered at once, because the watch that woke us has brought it there.

use std::fmt::Debug;

use kube::{
    Api, ResourceExt,
    api::{ListParams, VersionMatch},
};
use serde::de::DeserializeOwned;

/// What the API server answers when its cache stays older than what was asked for.
const TOO_NEW: u16 = 504;

/// The newest versions of a run's objects that this process has seen or written; 0 before any.
///
/// Versions of one kind can be compared as numbers (Kubernetes, API concepts: resource versions).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Versions {
    /// Of Jobs.
    pub jobs: u64,
    /// Of pods.
    pub pods: u64,
}

impl Versions {
    /// The newer of both, kind by kind.
    #[must_use]
    pub fn max(self, other: Self) -> Self {
        Self {
            jobs: self.jobs.max(other.jobs),
            pods: self.pods.max(other.pods),
        }
    }
}

/// The version of an object, 0 for one that does not say or says it in another way.
pub fn version(object: &impl ResourceExt) -> u64 {
    let version = object.resource_version();
    version.and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// Lists what is not older than `since`; without it, what is there now. Says the newest version seen.
pub(super) async fn list<K>(
    api: &Api<K>,
    of_this_run: &ListParams,
    since: Option<u64>,
) -> kube::Result<(Vec<K>, u64)>
where
    K: Clone + DeserializeOwned + Debug + ResourceExt,
{
    let listed = match since {
        Some(since) => {
            let parameters = of_this_run.clone().at(&since.to_string());
            let parameters = parameters.matching(VersionMatch::NotOlderThan);
            match api.list(&parameters).await {
                Err(kube::Error::Api(status)) if status.code == TOO_NEW => {
                    api.list(of_this_run).await?
                }
                answer => answer?,
            }
        }
        None => api.list(of_this_run).await?,
    };
    let newest = listed.items.iter().map(version).max();
    Ok((listed.items, newest.unwrap_or(0).max(since.unwrap_or(0))))
}
