//! Lists of a run's objects that are never older than what was seen.
//!
//! A list that asks for no version is answered once the API server's cache has caught up with etcd,
//! which takes it up to a tenth of a second when nothing else is written. A list that asks for one
//! "not older than" is answered at once, because the watch that woke us has brought it there.

use std::{fmt::Debug, time::Duration};

use kube::{
    Api,
    api::{ListParams, VersionMatch},
};
use serde::de::DeserializeOwned;

use crate::run_controller::seen::version;

/// How long the API server's cache may take to be as new as is asked for.
const CATCH_UP: Duration = Duration::from_secs(2);

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
