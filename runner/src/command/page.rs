//! The page that tells of the run, written anew once the search is over and at the end of each task after it.

use std::time::Duration;

use darwinlm_report::{Facts, page};
use darwinlm_task::{ExitCode, Task};

use super::context::{Context, Ended, store_failure};
use crate::failure::{Failure, OrFail, caught};

/// A page is worth no more of a worker's time: a store that hardly answers does not hold a device.
const PATIENCE: Duration = Duration::from_secs(60);

/// Writes it to `runs/<run>/report.html`, if there is more to tell. The task has ended as it has whatever
/// comes of it: `darwinlm report` makes the same page out of the store at any time. A worker that is told
/// to stop leaves it: a task that is done must not be taken for one that was stopped.
///
/// Several workers end a task together, and each writes what it sees; the last one sees what all took.
pub(super) async fn write(context: &Context, ended: Ended) {
    if !tells(&context.spec.task, ended) {
        return;
    }
    let key = context.paths.report();
    tracing::info!(key, "writing the page that tells of the run");
    let mut stop = context.stop.watch.clone();
    let written = tokio::select! {
        written = tokio::time::timeout(PATIENCE, caught(put(context, &key))) => written,
        _ = stop.wait_for(|told| *told) => {
            tracing::warn!(key, "told to stop: the page was not written; the task is done without it");
            return;
        }
    };
    let late = || format!("it took more than {} s", PATIENCE.as_secs());
    let written = written.unwrap_or_else(|_| Err(Failure::new(ExitCode::StoreUnavailable, late())));
    match written {
        Ok(()) => context.reporter.update(|report| report.page = Some(key)),
        Err(failure) => {
            tracing::warn!(key, %failure, "the page was not written; the task is done without it");
        }
    }
}

async fn put(context: &Context, key: &str) -> Result<(), Failure> {
    // The page tells of the accounts: in this worker's own, nothing is in flight any more.
    context.timesheet.write().await.map_err(store_failure)?;
    let facts = Facts::read(&context.store, &context.spec.run).await;
    let facts = facts.or_fail(ExitCode::BadData, "failed to read what it tells")?;
    let text = page(&facts, facts.generations.last());
    let put = context.store.put_overwrite(key, text.into());
    put.await.map_err(store_failure)
}

/// Whether there is more to tell after a task: of a search once it is over, for its Jobs are many.
fn tells(task: &Task, ended: Ended) -> bool {
    let is_over = match ended {
        Ended::Done => false,
        Ended::BudgetSpent => true,
        Ended::Stopped => return false,
    };
    match task {
        Task::Search {
            settings,
            until_generation,
            ..
        } => is_over || *until_generation >= settings.generations,
        Task::PostTrain { .. } | Task::Evaluate { .. } | Task::Export { .. } => true,
        Task::Prepare { .. }
        | Task::Measure { .. }
        | Task::BuildDatabase { .. }
        | Task::CleanUp { .. } => false,
    }
}
