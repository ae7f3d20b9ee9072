//! `run.json`: a prefix of the store belongs to one search.

use darwinlm_task::paths::RunPaths;
use serde::{Deserialize, Serialize};

use crate::{Store, StoreError};

/// What `run.json` holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RunRecord {
    /// Version of this format.
    pub version: u32,
    /// Digest of everything immutable in the run's spec.
    pub search_digest: String,
}

/// What a run found at its prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guarded {
    /// The prefix was new, or this same worker's; it is the run's now.
    New,
    /// The same search was here before: it goes on.
    Resumed,
}

/// Takes the run's prefix for the search with this digest.
///
/// # Errors
/// [`StoreError::InUse`] naming both digests (exit code 78) when it belongs to another search;
/// what the store answers.
pub async fn guard_run(
    store: &Store,
    paths: &RunPaths,
    search_digest: &str,
) -> Result<Guarded, StoreError> {
    let key = paths.run();
    let existed = store.exists(&key).await?;
    let record = RunRecord {
        version: 1,
        search_digest: search_digest.to_owned(),
    };
    let settled = store.put_json_create(&key, &record).await?;
    let stored: RunRecord =
        serde_json::from_slice(&settled.stored).map_err(|error| store.malformed(&key, error))?;
    if stored.search_digest != search_digest {
        return Err(StoreError::InUse {
            key,
            url: store.url().to_owned(),
            stored: stored.search_digest,
            ours: search_digest.to_owned(),
        });
    }
    Ok(if existed {
        Guarded::Resumed
    } else {
        Guarded::New
    })
}
