//! The page that tells of the run, written anew at the end of every task that has more to tell.

use std::time::Duration;

use darwinlm_report::{Facts, page};
use darwinlm_task::{ExitCode, TaskKind};

use super::context::{Context, store_failure};
use crate::failure::{Failure, OrFail, caught};

/// A page is worth no more of a worker's time: a store that hardly answers does not hold a device.
const PATIENCE: Duration = Duration::from_secs(60);

/// Writes it to `runs/<run>/report.html`. The task is done whatever comes of it: `darwinlm report` makes
/// the same page out of the store at any time.
///
/// Several workers end a task together, and each writes what it sees; the last one sees what all took.
pub(super) async fn write(context: &Context) {
    if !tells(context.spec.task.kind()) {
        return;
    }
    let written = tokio::time::timeout(PATIENCE, caught(put(context))).await;
    let late = || format!("it took more than {} s", PATIENCE.as_secs());
    let written = written.unwrap_or_else(|_| Err(Failure::new(ExitCode::StoreUnavailable, late())));
    match written {
        Ok(key) => context.reporter.update(|report| report.page = Some(key)),
        Err(failure) => {
            let key = context.paths.report();
            tracing::warn!(key, %failure, "the page was not written; the task is done without it");
        }
    }
}

async fn put(context: &Context) -> Result<String, Failure> {
    let facts = Facts::read(&context.store, &context.spec.run).await;
    let facts = facts.or_fail(ExitCode::BadData, "failed to read what it tells")?;
    let key = context.paths.report();
    let text = page(&facts, facts.generations.last());
    let put = context.store.put_overwrite(&key, text.into());
    put.await.map_err(store_failure)?;
    Ok(key)
}

/// Whether there is more to tell after a task.
const fn tells(task: TaskKind) -> bool {
    match task {
        TaskKind::Search | TaskKind::PostTrain | TaskKind::Evaluate | TaskKind::Export => true,
        TaskKind::Prepare | TaskKind::Measure | TaskKind::BuildDatabase | TaskKind::CleanUp => {
            false
        }
    }
}
