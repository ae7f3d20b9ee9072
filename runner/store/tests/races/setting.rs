//! A run, its store, and workers on it with short times.

use std::time::Duration;

use darwinlm_search::Problem;
use darwinlm_store::{
    ClaimTimes, Sheet, Store, Timesheet, TrialRunner, WorkError, WorkOptions, Worked,
};
use darwinlm_task::paths::RunPaths;
use darwinlm_task::{RunIdentity, TaskKind};
use tokio::sync::watch;
use tokio::time::Instant;

pub(crate) fn paths() -> RunPaths {
    let text = |text: &str| text.to_owned();
    RunPaths::new(&RunIdentity {
        namespace: text("n"),
        name: text("r"),
        uid: text("u"),
    })
}

pub(crate) fn memory() -> Store {
    Store::open("memory:///").unwrap()
}

pub(crate) fn folder() -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&format!("file://{}", folder.path().display())).unwrap();
    (folder, store)
}

/// For workers that nobody kills: a beat that a busy machine misses is no reason to retake.
pub(crate) const PATIENT: ClaimTimes = ClaimTimes {
    beat: Duration::from_millis(30),
    stale: Duration::from_secs(600),
    look: Duration::from_millis(10),
};

/// For workers that are killed: short enough for a test.
pub(crate) const IMPATIENT: ClaimTimes = ClaimTimes {
    stale: Duration::from_millis(400),
    ..PATIENT
};

/// A worker's options, and the handle that stops it.
pub(crate) fn options(worker: &str) -> (WorkOptions, watch::Sender<bool>) {
    let (stop, stopped) = watch::channel(false);
    let options = WorkOptions {
        worker: worker.to_owned(),
        until_generation: u32::MAX,
        budget_gpu_seconds: None,
        times: PATIENT,
        poll: Duration::from_millis(5),
        progress: watch::Sender::new(None),
        stop: stopped,
    };
    (options, stop)
}

/// A worker's account, from now on.
pub(crate) async fn timesheet(store: &Store, options: &WorkOptions) -> Timesheet {
    let sheet = Sheet {
        worker: &options.worker,
        task: TaskKind::Search,
        devices: 1,
        started: Instant::now(),
        beat: options.times.beat,
    };
    Timesheet::open(store, &paths(), sheet).await.unwrap()
}

/// A worker with its account.
pub(crate) async fn work<R: TrialRunner>(
    store: &Store,
    paths: &RunPaths,
    problem: &Problem,
    runner: R,
    options: WorkOptions,
) -> Result<Worked, WorkError> {
    let timesheet = timesheet(store, &options).await;
    let worked = darwinlm_store::work(store, paths, problem, runner, &timesheet, options).await;
    timesheet.close(worked.is_ok()).await?;
    worked
}

/// One worker from start to end, among workers that may be killed.
pub(crate) async fn run_impatiently<R: TrialRunner>(
    store: &Store,
    problem: &Problem,
    worker: &str,
    runner: R,
) -> Result<Worked, WorkError> {
    let (mut options, _stop) = options(worker);
    options.times = IMPATIENT;
    work(store, &paths(), problem, runner, options).await
}

/// One worker from start to end.
pub(crate) async fn run<R: TrialRunner>(
    store: &Store,
    problem: &Problem,
    worker: &str,
    runner: R,
) -> Result<Worked, WorkError> {
    let (options, _stop) = options(worker);
    work(store, &paths(), problem, runner, options).await
}
