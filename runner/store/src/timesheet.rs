//! Where this worker's seconds go, written to its worker file at each beat.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use darwinlm_search::Outcome;
use darwinlm_task::paths::RunPaths;
use darwinlm_task::{GpuSeconds, TaskKind};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::{
    Store, StoreError, TrialResult, WorkerFile, read_workers, spent_milliseconds, sum_workers,
};

/// Whose seconds are counted, and as how many.
#[derive(Clone, Debug)]
pub struct Sheet<'a> {
    /// The worker's name: the pod's UID, or a local process's name.
    pub worker: &'a str,
    /// Its task.
    pub task: TaskKind,
    /// Devices that it holds: each of its seconds counts as so many. A worker without one keeps no
    /// account, and reads those of the others.
    pub devices: u32,
    /// When its process started.
    pub started: Instant,
    /// How often the account is written.
    pub beat: Duration,
}

/// What a worker is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Starting,
    Waiting,
    Computing,
}

/// A worker's account in the making. Clones share it; the last one that goes ends the beats.
///
/// Every second since the process's start is in one of its causes: computing that nobody calls
/// [`kept`](Timesheet::kept) is lost.
#[derive(Clone, Debug)]
pub struct Timesheet {
    shared: Arc<Shared>,
    beating: Arc<Mutex<Option<Beating>>>,
}

#[derive(Debug)]
struct Shared {
    store: Store,
    paths: RunPaths,
    task: TaskKind,
    account: Mutex<Account>,
    sum: watch::Sender<GpuSeconds>,
}

#[derive(Debug)]
struct Account {
    file: WorkerFile,
    phase: Phase,
    since: Instant,
}

#[derive(Debug)]
struct Beating {
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Timesheet {
    /// Opens the account, going on from an earlier one under the same name, and starts to beat.
    ///
    /// # Errors
    /// What the store answers, or when the earlier account cannot be read.
    pub async fn open(
        store: &Store,
        paths: &RunPaths,
        sheet: Sheet<'_>,
    ) -> Result<Self, StoreError> {
        let Sheet {
            worker,
            task,
            devices,
            started,
            beat: every,
        } = sheet;
        let earlier = match store.get_json(&paths.worker(worker)).await {
            Ok(file) => Some(file),
            Err(StoreError::Missing { .. }) => None,
            Err(error) => return Err(error),
        };
        let account = Account {
            file: WorkerFile::starting(worker, task, devices, earlier),
            phase: Phase::Starting,
            since: started,
        };
        let shared = Arc::new(Shared {
            store: store.clone(),
            paths: paths.clone(),
            task,
            account: Mutex::new(account),
            sum: watch::Sender::new(GpuSeconds::default()),
        });
        let beating = (devices > 0).then(|| {
            let (stop, stopped) = oneshot::channel();
            let task = tokio::spawn(beat(Arc::clone(&shared), every, stopped));
            Beating { stop, task }
        });
        Ok(Self {
            shared,
            beating: Arc::new(Mutex::new(beating)),
        })
    }

    /// The sum over all workers of the run, as of each beat.
    pub fn subscribe(&self) -> watch::Receiver<GpuSeconds> {
        self.shared.sum.subscribe()
    }

    /// A unit of work begins.
    pub fn computing(&self) {
        self.shared.account().enter(Phase::Computing);
    }

    /// What was computed since it began is part of the result. What lies between two units of work
    /// (reading, claiming) counts as waiting.
    pub fn kept(&self) {
        self.shared.account().keep();
    }

    /// Nothing is computed; what was and is not kept is lost.
    pub fn waiting(&self) {
        self.shared.account().enter(Phase::Waiting);
    }

    /// A trial was claimed.
    pub(crate) fn claimed(&self, attempt: u32) {
        if attempt > 1 {
            self.shared.account().file.trials.repeated += 1;
        }
    }

    /// A trial ran, and its result is the one that counts, or another's is.
    pub(crate) fn ran(&self, result: &TrialResult, is_kept: bool) {
        let mut account = self.shared.account();
        match is_kept {
            true => account.keep(),
            false => account.enter(Phase::Waiting),
        }
        let file = &mut account.file;
        file.device = Some(result.device);
        file.tokens_trained += result.tokens_trained;
        file.tokens_scored += result.tokens_scored;
        match result.outcome {
            Outcome::Scored { .. } => file.trials.done += 1,
            Outcome::Failed(_) => file.trials.failed += 1,
        }
    }

    /// A trial raised an exception.
    pub(crate) fn exception(&self) {
        let mut account = self.shared.account();
        account.enter(Phase::Waiting);
        account.file.trials.exceptions += 1;
    }

    /// Writes the account with all that was booked, for somebody who reads all accounts now.
    ///
    /// # Errors
    /// What the store answers.
    pub async fn write(&self) -> Result<(), StoreError> {
        self.waiting();
        self.shared.write().await
    }

    /// Writes the account, and says what all workers of the run have taken so far.
    pub(crate) async fn spent_milliseconds(&self) -> Result<u64, StoreError> {
        self.shared.write().await?;
        let files = read_workers(&self.shared.store, &self.shared.paths).await?;
        Ok(spent_milliseconds(&files))
    }

    /// Writes the account a last time and returns the sum over all workers. Once the task is over,
    /// what still is in flight belongs to workers that vanished.
    ///
    /// # Errors
    /// What the store answers, or when an account cannot be read.
    pub async fn close(&self, is_over: bool) -> Result<GpuSeconds, StoreError> {
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
        let shared = &self.shared;
        shared.account().enter(Phase::Waiting);
        shared.write().await?;
        let at_work = (!is_over).then_some(shared.task);
        let files = read_workers(&shared.store, &shared.paths).await?;
        Ok(sum_workers(&files, at_work))
    }
}

impl Shared {
    fn account(&self) -> MutexGuard<'_, Account> {
        self.account.lock().expect("no holder of this lock panics")
    }

    async fn write(&self) -> Result<(), StoreError> {
        let file = self.account().snapshot();
        if file.devices == 0 {
            return Ok(());
        }
        let text = serde_json::to_vec(&file).expect("an account holds strings and numbers");
        let key = self.paths.worker(&file.worker);
        self.store.put_overwrite(&key, text.into()).await
    }

    async fn tell(&self) -> Result<(), StoreError> {
        self.write().await?;
        let files = read_workers(&self.store, &self.paths).await?;
        self.sum.send_replace(sum_workers(&files, Some(self.task)));
        Ok(())
    }
}

impl Account {
    /// Books the seconds of the phase so far and begins another.
    fn enter(&mut self, phase: Phase) {
        let seconds = self.seconds();
        let file = &mut self.file;
        match self.phase {
            Phase::Starting => file.starting_seconds += seconds,
            Phase::Waiting => file.waiting_seconds += seconds,
            Phase::Computing => file.lost_seconds += seconds,
        }
        self.begin(phase);
    }

    fn keep(&mut self) {
        match self.phase {
            Phase::Computing => {
                self.file.useful_seconds += self.seconds();
                self.begin(Phase::Waiting);
            }
            Phase::Starting | Phase::Waiting => self.enter(Phase::Waiting),
        }
    }

    fn begin(&mut self, phase: Phase) {
        self.phase = phase;
        self.since = Instant::now();
    }

    /// Device seconds of the phase so far.
    fn seconds(&self) -> f64 {
        self.since.elapsed().as_secs_f64() * f64::from(self.file.devices)
    }

    /// The file as of now.
    fn snapshot(&self) -> WorkerFile {
        let mut file = self.file.clone();
        let seconds = self.seconds();
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
        if let Err(error) = shared.tell().await {
            tracing::warn!(%error, "The worker's account was not written.");
        }
    }
}
