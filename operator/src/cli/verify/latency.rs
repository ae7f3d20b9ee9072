//! Whether a search that counts in latency follows from the table that its ledger pins.

use darwinlm_search::{CostUnit, Problem};
use darwinlm_store::Store;
use darwinlm_task::paths::{self, RunPaths};
use darwinlm_task::{LatencyRecord, StoredLatency};

use super::super::Failure;
use super::{lie, pin};

/// The table of latencies is the one that the ledger pins, and the search's costs follow from it;
/// the device it was measured on, where there is a table.
pub(super) async fn check(
    store: &Store,
    paths: &RunPaths,
    problem: &Problem,
) -> Result<Option<String>, Failure> {
    let Some(pinned) = problem.pins.latency_table else {
        return match problem.costs.unit() {
            CostUnit::Parameters => Ok(None),
            CostUnit::Nanoseconds => {
                let found = "its costs are times, and it names no table of latencies";
                Err(lie(store, &paths.ledger_entry(0), found))
            }
        };
    };
    let record: LatencyRecord = store.get_json(&paths.latency()).await?;
    if pin(&record.sha256) != Some(pinned) {
        let found = format!(
            "it names a table with {}, the ledger {pinned}",
            record.sha256
        );
        return Err(lie(store, &paths.latency(), found));
    }
    let key = paths::latency(&record.digest);
    let named = |failure: Failure| Failure {
        message: format!("{} (named by {})", failure.message, paths.latency()),
        ..failure
    };
    let bytes = store.read_verified(&key, &record.sha256).await;
    let bytes = bytes.map_err(|error| named(error.into()))?;
    let stored: StoredLatency =
        serde_json::from_slice(&bytes).map_err(|error| lie(store, &key, error))?;
    let costs = stored.table.costs(&problem.ladders);
    let costs = costs.map_err(|error| lie(store, &key, error))?;
    if problem.costs.unit() == CostUnit::Nanoseconds && costs != problem.costs {
        let found = "the costs in the ledger do not follow from it";
        return Err(lie(store, &key, found));
    }
    Ok(Some(stored.device))
}
