//! The loop of a search worker: pick an open trial, claim it, compute it, agree on the outcome.

mod entry;
mod outcome;
mod runner_thread;
mod trial;
mod validate;

use std::sync::Arc;
use std::time::Duration;

use darwinlm_search::{Problem, Search};
use darwinlm_task::SearchReport;
use darwinlm_task::paths::RunPaths;
use tokio::sync::watch;
use tokio::time::sleep;
use uuid::Uuid;

use crate::{
    ClaimTimes, Claims, GenerationCost, History, Ledger, Results, Store, Timesheet, Validations,
};

pub use outcome::{WorkEnd, WorkError, Worked};
pub use runner_thread::{Ran, TrialError, TrialRunner};

use runner_thread::RunnerThread;

/// A trial whose attempts ended in an exception so often ends the run with exit code 70.
pub const EXCEPTIONS_PER_TRIAL: usize = 3;

/// What a worker is told besides the problem.
#[derive(Debug)]
pub struct WorkOptions {
    /// This worker's name: the pod's UID, or a local process's name. No two live workers share one.
    pub worker: String,
    /// Stop when the ledger holds this many generations.
    pub until_generation: u32,
    /// Stop at a generation boundary when the run had spent this much at its end, as its workers have
    /// recorded it.
    pub budget_gpu_seconds: Option<u64>,
    /// How often claims are renewed, looked at and given up on.
    pub times: ClaimTimes,
    /// How often a worker without work looks for the results of others; 0.5 s is a good choice.
    pub poll: Duration,
    /// Receives where the search stands, at each generation; none before the ledger was read.
    pub progress: watch::Sender<Option<SearchReport>>,
    /// Becomes true when the worker has to end (SIGTERM).
    pub stop: watch::Receiver<bool>,
}

/// Works on a search until it is done, its budget is spent, or `options.stop` becomes true.
///
/// Any number of workers may do so at once, on one store; each ends with the same report. The
/// runner computes on a thread of its own, so that claims are renewed while it does. The timesheet is
/// told where the time goes; the caller closes it.
///
/// # Errors
/// When the store fails, a stored file was changed, workers disagree on a ledger entry, a trial
/// does not fit in memory or ends in an exception three times, or a selection step has too few
/// finite candidates. See [`WorkError::exit_code`].
pub async fn work<R: TrialRunner>(
    store: &Store,
    paths: &RunPaths,
    problem: &Problem,
    runner: R,
    timesheet: &Timesheet,
    options: WorkOptions,
) -> Result<Worked, WorkError> {
    let mut worker = Worker::open(store, paths, problem, runner, &options, timesheet).await?;
    let (end, report) = worker.work().await?;
    Ok(Worked { end, report })
}

/// One worker in the middle of a search.
struct Worker<'options> {
    options: &'options WorkOptions,
    /// Where this worker begins among a step's trials, so that workers rarely meet.
    offset: usize,
    ledger: Ledger,
    results: Results,
    validations: Validations,
    claims: Claims,
    runner: RunnerThread,
    timesheet: &'options Timesheet,
    search: Search,
    history: History,
    /// What the open generation cost so far.
    cost: GenerationCost,
}

/// What one look at the open trials led to.
enum Looked {
    /// Something was told or computed.
    Moved,
    /// Others are at all of it.
    Idle,
    /// The worker was told to stop.
    Stopped,
}

impl<'options> Worker<'options> {
    async fn open<R: TrialRunner>(
        store: &Store,
        paths: &RunPaths,
        problem: &Problem,
        runner: R,
        options: &'options WorkOptions,
        timesheet: &'options Timesheet,
    ) -> Result<Self, WorkError> {
        let ledger = Ledger::new(store, paths);
        let (replay, history) = ledger.history(problem).await?;
        let (high, low) = Uuid::new_v4().as_u64_pair();
        Ok(Self {
            options,
            offset: usize::try_from((high ^ low) >> 33).expect("31 bits fit"),
            results: Results::new(store, paths),
            validations: Validations::new(store, paths),
            claims: Claims::new(store, paths.prefix(), &options.worker, options.times),
            runner: RunnerThread::start(runner, Arc::new(problem.clone())),
            search: replay.search,
            cost: GenerationCost::default(),
            ledger,
            timesheet,
            history,
        })
    }

    async fn work(&mut self) -> Result<(WorkEnd, SearchReport), WorkError> {
        let end = loop {
            while self.follow().await? {}
            self.publish();
            if let Some(end) = self.boundary().await? {
                break end;
            }
            if let Looked::Stopped = self.generation().await? {
                break WorkEnd::Stopped;
            }
        };
        self.publish();
        Ok((end, self.history.report()))
    }

    /// Whether to end here, between two generations.
    async fn boundary(&mut self) -> Result<Option<WorkEnd>, WorkError> {
        let is_done =
            self.search.is_finished() || self.search.generation() >= self.options.until_generation;
        if is_done {
            let stopped = matches!(self.validate_all().await?, Looked::Stopped);
            return Ok(Some(if stopped {
                WorkEnd::Stopped
            } else {
                WorkEnd::Done
            }));
        }
        let budget = self
            .options
            .budget_gpu_seconds
            .map(|seconds| seconds.saturating_mul(1000));
        if budget.is_some_and(|budget| self.history.spent_milliseconds() >= budget) {
            return Ok(Some(WorkEnd::BudgetSpent));
        }
        match self.validate_newest().await? {
            Looked::Stopped => Ok(Some(WorkEnd::Stopped)),
            Looked::Moved | Looked::Idle => Ok(None),
        }
    }

    /// Works on the open generation until it is in the ledger.
    async fn generation(&mut self) -> Result<Looked, WorkError> {
        let open = self.search.generation();
        while self.search.generation() == open {
            if *self.options.stop.borrow() {
                return Ok(Looked::Stopped);
            }
            match self.look().await? {
                Looked::Moved => {}
                Looked::Stopped => return Ok(Looked::Stopped),
                // Workers ahead of this one leave an entry: faster than the results one by one.
                Looked::Idle => {
                    if !self.follow().await? {
                        self.wait().await;
                    }
                }
            }
        }
        Ok(Looked::Moved)
    }

    fn publish(&self) {
        self.options
            .progress
            .send_replace(Some(self.history.report()));
    }

    /// Waits for others, for one poll or until the worker has to stop.
    async fn wait(&self) {
        self.timesheet.waiting();
        tokio::select! {
            () = sleep(self.options.poll) => {}
            () = stopped(self.options.stop.clone()) => {}
        }
    }
}

/// Ends when the worker has to stop; never, if nobody can tell it to.
async fn stopped(mut stop: watch::Receiver<bool>) {
    if stop.wait_for(|stop| *stop).await.is_err() {
        std::future::pending::<()>().await;
    }
}
