//! Where this worker's seconds go, written to its worker file at each beat.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use darwinlm_search::Outcome;
use darwinlm_task::paths::RunPaths;
use darwinlm_task::{GpuSeconds, SearchReport};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::WorkOptions;
use crate::{Store, StoreError, TrialResult, WorkerFile, read_workers, sum_workers};

/// Where the search stands, as this worker knows it.
#[derive(Clone, Debug, Default)]
pub struct SearchProgress {
    /// The report; none before the ledger was read.
    pub search: Option<SearchReport>,
    /// Device time of all workers.
    pub gpu_seconds: GpuSeconds,
    /// This worker's own account.
    pub worker: WorkerFile,
}

/// What a worker is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Starting,
    Waiting,
    Computing,
}

/// A worker's account in the making. Clones share it.
#[derive(Clone)]
pub(super) struct Timesheet {
    shared: Arc<Shared>,
    beating: Arc<Mutex<Option<Beating>>>,
}

struct Shared {
    store: Store,
    paths: RunPaths,
    account: Mutex<Account>,
    progress: watch::Sender<SearchProgress>,
}

struct Account {
    file: WorkerFile,
    phase: Phase,
    since: Instant,
}

struct Beating {
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Timesheet {
    /// Opens the account, going on from an earlier one under the same name, and starts to beat.
    pub(super) async fn open(
        store: &Store,
        paths: &RunPaths,
        options: &WorkOptions,
    ) -> Result<Self, StoreError> {
        let earlier = match store.get_json(&paths.worker(&options.worker)).await {
            Ok(file) => Some(file),
            Err(StoreError::Missing { .. }) => None,
            Err(error) => return Err(error),
        };
        let account = Account {
            file: WorkerFile::starting(&options.worker, earlier),
            phase: Phase::Starting,
            since: options.started,
        };
        let shared = Arc::new(Shared {
            store: store.clone(),
            paths: paths.clone(),
            account: Mutex::new(account),
            progress: options.progress.clone(),
        });
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(beat(Arc::clone(&shared), options.times.beat, stopped));
        Ok(Self {
            shared,
            beating: Arc::new(Mutex::new(Some(Beating { stop, task }))),
        })
    }

    /// The phase changes; returns the moment.
    pub(super) fn enter(&self, phase: Phase) -> Instant {
        let mut account = self.shared.account();
        account.settle();
        account.phase = phase;
        account.since
    }

    /// A trial was claimed.
    pub(super) fn claimed(&self, attempt: u32) {
        if attempt > 1 {
            self.shared.account().file.trials.repeated += 1;
        }
    }

    /// A trial ran, and its result is the one that counts, or another's is.
    pub(super) fn ran(&self, result: &TrialResult, took: Duration, is_kept: bool) {
        let mut account = self.shared.account();
        account.end_computing(took, is_kept);
        let file = &mut account.file;
        file.device = Some(result.device);
        file.tokens_trained += result.tokens_trained;
        file.tokens_scored += result.tokens_scored;
        match result.outcome {
            Outcome::Scored { .. } => file.trials.done += 1,
            Outcome::Failed(_) => file.trials.failed += 1,
        }
    }

    /// A survivor was validated.
    pub(super) fn validated(&self, took: Duration) {
        self.shared.account().end_computing(took, true);
    }

    /// What was computed is thrown away.
    pub(super) fn lost(&self, took: Duration) {
        self.shared.account().end_computing(took, false);
    }

    /// A trial raised an exception.
    pub(super) fn exception(&self, took: Duration) {
        let mut account = self.shared.account();
        account.end_computing(took, false);
        account.file.trials.exceptions += 1;
    }

    /// Tells the progress channel where the search stands.
    pub(super) fn publish(&self, report: SearchReport) {
        let worker = self.shared.account().snapshot();
        self.shared.progress.send_modify(|progress| {
            progress.search = Some(report);
            progress.worker = worker;
        });
    }

    /// Writes the account a last time and returns the sum over all workers.
    pub(super) async fn close(&self, is_over: bool) -> Result<GpuSeconds, StoreError> {
        let beating = self
            .beating
            .lock()
            .expect("no holder of this lock panics")
            .take();
        if let Some(Beating { stop, task }) = beating
            && stop.send(()).is_ok()
        {
            task.await.expect("the account is written without a panic");
        }
        self.shared.account().settle();
        self.shared.write(is_over).await
    }
}

impl Shared {
    fn account(&self) -> MutexGuard<'_, Account> {
        self.account.lock().expect("no holder of this lock panics")
    }

    async fn write(&self, is_over: bool) -> Result<GpuSeconds, StoreError> {
        let file = self.account().snapshot();
        let text = serde_json::to_vec(&file).expect("an account holds strings and numbers");
        self.store
            .put_overwrite(&self.paths.worker(&file.worker), text.into())
            .await?;
        let gpu_seconds = sum_workers(&read_workers(&self.store, &self.paths).await?, is_over);
        self.progress.send_modify(|progress| {
            progress.gpu_seconds = gpu_seconds;
            progress.worker = file;
        });
        Ok(gpu_seconds)
    }
}

impl Account {
    /// Books the seconds of the phase so far. Computing is booked when its fate is known.
    fn settle(&mut self) {
        let now = Instant::now();
        let seconds = (now - self.since).as_secs_f64();
        self.since = now;
        match self.phase {
            Phase::Starting => self.file.starting_seconds += seconds,
            Phase::Waiting => self.file.waiting_seconds += seconds,
            Phase::Computing => {}
        }
    }

    /// What lies between two trials (reading, claiming, storing) counts as waiting.
    fn end_computing(&mut self, took: Duration, is_kept: bool) {
        let file = &mut self.file;
        let booked = if is_kept {
            &mut file.useful_seconds
        } else {
            &mut file.lost_seconds
        };
        *booked += took.as_secs_f64();
        self.phase = Phase::Waiting;
        self.since = Instant::now();
    }

    /// The file as of now.
    fn snapshot(&mut self) -> WorkerFile {
        let mut file = self.file.clone();
        let seconds = self.since.elapsed().as_secs_f64();
        match self.phase {
            Phase::Starting => file.starting_seconds += seconds,
            Phase::Waiting => file.waiting_seconds += seconds,
            Phase::Computing => file.in_flight_seconds = seconds,
        }
        file
    }
}

async fn beat(shared: Arc<Shared>, every: Duration, mut stop: oneshot::Receiver<()>) {
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            // Also when the worker was dropped: its account stays as last written.
            _ = &mut stop => return,
            _ = ticks.tick() => {}
        }
        if let Err(error) = shared.write(false).await {
            tracing::warn!(%error, "The worker's account was not written.");
        }
    }
}
