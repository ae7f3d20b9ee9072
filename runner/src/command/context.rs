//! What every task is given, and what it may say of how it ended.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use darwinlm_store::{ClaimTimes, Store, StoreError, Timesheet};
use darwinlm_task::TaskSpec;
use darwinlm_task::paths::RunPaths;
use tokio::sync::watch;

use crate::failure::Failure;
use crate::metrics::Metrics;
use crate::progress::Reporter;

/// Everything a task needs besides its own fields.
pub(super) struct Context {
    pub(super) spec: TaskSpec,
    pub(super) store: Store,
    pub(super) paths: RunPaths,
    pub(super) worker: String,
    pub(super) cache: PathBuf,
    pub(super) times: ClaimTimes,
    pub(super) reporter: Reporter,
    pub(super) metrics: Metrics,
    pub(super) stop: Stop,
    /// Where this worker's seconds go; without a device there are none.
    pub(super) timesheet: Timesheet,
}

/// Becomes true when the worker has to end, for code that waits and for code that computes.
#[derive(Clone)]
pub(super) struct Stop {
    pub(super) watch: watch::Receiver<bool>,
    pub(super) flag: Arc<AtomicBool>,
}

/// How a task that did not fail ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    Done,
    BudgetSpent,
    Stopped,
}

impl Context {
    /// Marks that the run works with something that runs share, as `models/<digest>`: before it is
    /// looked for, so that `darwinlm gc` sees the mark of whoever found it there.
    pub(super) async fn uses(&self, folder: &str) -> Result<(), Failure> {
        let key = self.paths.uses(folder);
        let settled = self.store.settle(&key, "used\n".into()).await;
        settled.map_err(store_failure)?;
        Ok(())
    }
}

/// A store's error, with the exit code it asks for.
pub(super) fn store_failure(error: StoreError) -> Failure {
    match &error {
        StoreError::InUse { .. } => Failure::because(
            error.exit_code(),
            darwinlm_task::FailureReason::StoreInUse.as_str(),
            error,
        ),
        _ => Failure::new(error.exit_code(), error),
    }
}
