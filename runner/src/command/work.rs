//! `work`: the life of a worker, from its task in the environment to its report and exit code.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use darwinlm_store::{ClaimTimes, Sheet, Store, Timesheet, probe};
use darwinlm_task::paths::RunPaths;
use darwinlm_task::{
    DEFAULT_LISTEN, DEFAULT_REPORT, ENV_CACHE, ENV_LISTEN, ENV_REPORT, ENV_TASK, ENV_WORKER,
    ExitCode, GpuSeconds, Outcome, REPORT_LIMIT_BYTES, Task, TaskReport, TaskSpec,
};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use super::context::{Context, Ended, Stop, store_failure};
use super::{
    build_database, clean_up, evaluate, export, measure, page, post_train, prepare, search,
    would_fit,
};
use crate::failure::{Failure, OrFail, caught};
use crate::metrics::Metrics;
use crate::process;
use crate::progress::Reporter;
use crate::serve::serve;

/// Environment variables that shorten the claims' times on one machine, where a beat that stands
/// still is seen sooner.
const ENV_BEAT_SECONDS: &str = "DARWINLM_CLAIM_BEAT_SECONDS";
const ENV_STALE_SECONDS: &str = "DARWINLM_CLAIM_STALE_SECONDS";

/// How long a task that was told to stop may take to end by itself; a pod has 30 s by default, and
/// the contract is 10.
const PATIENCE: Duration = Duration::from_secs(8);

/// Does the task in the environment.
pub(super) async fn work() -> ExitCode {
    let started = process::started();
    // First of all: as a container's first process, a worker that handles no signal ignores it.
    let signals = Signals::handle();
    let report_path = PathBuf::from(env_or(ENV_REPORT, DEFAULT_REPORT));
    let spec = match read_task() {
        Ok(spec) => spec,
        Err(failure) => {
            tracing::error!(error = %failure, "the task cannot be read");
            let mut words = failure.to_string();
            words.truncate(words.floor_char_boundary(REPORT_LIMIT_BYTES));
            let _ = std::fs::write(&report_path, words);
            return failure.code;
        }
    };
    let worker = env_or(ENV_WORKER, &format!("process-{}", std::process::id()));
    let report = TaskReport::running(&spec.run, &worker, spec.task.kind());
    let reporter = Reporter::new(report);
    let metrics = Metrics::new();
    let ended = match listen(&report_path, &reporter, &metrics).await {
        Ok(_server) => {
            let stop = signals.stop(reporter.clone(), report_path.clone());
            let cache = std::env::var_os(ENV_CACHE).map_or_else(std::env::temp_dir, PathBuf::from);
            attempt(
                spec,
                worker,
                cache,
                reporter.clone(),
                metrics,
                stop,
                started,
            )
            .await
        }
        Err(failure) => Err(failure),
    };
    conclude(&reporter, &report_path, ended)
}

/// Does one task to its end within this process: without signals, a server or an exit.
pub async fn do_task(spec: TaskSpec, worker: &str, cache: &Path) -> (ExitCode, TaskReport) {
    let report = TaskReport::running(&spec.run, worker, spec.task.kind());
    let reporter = Reporter::new(report);
    let (_sender, watch) = watch::channel(false);
    let stop = Stop {
        watch,
        flag: Arc::default(),
    };
    let ended = attempt(
        spec,
        worker.to_owned(),
        cache.to_owned(),
        reporter.clone(),
        Metrics::new(),
        stop,
        Instant::now(),
    );
    let code = settle(&reporter, ended.await);
    (code, reporter.current())
}

/// Opens the store and does the task; a panic is a failure like any other.
async fn attempt(
    spec: TaskSpec,
    worker: String,
    cache: PathBuf,
    reporter: Reporter,
    metrics: Metrics,
    stop: Stop,
    started: Instant,
) -> Result<Ended, Failure> {
    let context = caught(Context::open(
        spec, worker, cache, reporter, metrics, stop, started,
    ))
    .await?;
    let ended = match caught(context.run()).await {
        Err(failure) if failure.code == ExitCode::OutOfMemory => {
            Err(would_fit::told(&context, failure).await)
        }
        ended => ended,
    };
    if let Ok(ended) = ended {
        page::write(&context, ended).await;
    }
    // Last: what the page took is accounted for, too.
    context.account(&ended).await;
    ended
}

fn read_task() -> Result<TaskSpec, Failure> {
    let text = std::env::var(ENV_TASK).or_fail(
        ExitCode::Usage,
        format!("failed to read the task from {ENV_TASK}"),
    )?;
    TaskSpec::from_json(&text).or_fail(ExitCode::Usage, format!("{ENV_TASK} is wrong"))
}

fn env_or(name: &str, default: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| default.to_owned())
}

/// Serves progress; on one machine the port is chosen here, and written beside the report.
async fn listen(
    report: &Path,
    reporter: &Reporter,
    metrics: &Metrics,
) -> Result<crate::serve::Server, Failure> {
    let address = env_or(ENV_LISTEN, DEFAULT_LISTEN);
    let server = serve(&address, reporter.clone(), metrics.clone())
        .await
        .or_fail(
            ExitCode::Usage,
            format!("failed to listen on {ENV_LISTEN} {address}"),
        )?;
    if std::env::var_os(ENV_REPORT).is_some() {
        let path = report.with_file_name("address");
        std::fs::write(&path, server.address.to_string()).or_fail(
            ExitCode::Usage,
            format!("failed to write {}", path.display()),
        )?;
    }
    Ok(server)
}

/// The signals that tell a worker to stop.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    pub(super) fn handle() -> Self {
        let handled = |kind| signal(kind).expect("a process may handle SIGTERM and SIGINT");
        Self {
            terminate: handled(SignalKind::terminate()),
            interrupt: handled(SignalKind::interrupt()),
        }
    }

    /// Waits for one of them.
    pub(super) async fn told(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }

    /// Passes a signal on. A task that has not ended by itself after [`PATIENCE`] is ended, in the
    /// middle of whatever libtorch computes: its claims are given up on when their beats stop.
    fn stop(mut self, reporter: Reporter, report_path: PathBuf) -> Stop {
        let (sender, watch) = watch::channel(false);
        let flag = Arc::new(AtomicBool::new(false));
        let raised = Arc::clone(&flag);
        tokio::spawn(async move {
            self.told().await;
            tracing::info!("told to stop: claims are given back");
            // In this order: whoever sees what a raised flag leads to must know why.
            sender.send_replace(true);
            raised.store(true, Ordering::Release);
            tokio::time::sleep(PATIENCE).await;
            tracing::warn!("the task did not stop by itself");
            exit_now(conclude(&reporter, &report_path, Ok(Ended::Stopped)));
        });
        Stop { watch, flag }
    }
}

/// Ends the process here, without the exit handlers of libraries: a thread that computes may still
/// use what they take down.
pub(super) fn exit_now(code: ExitCode) -> ! {
    // SAFETY: it takes a number and does not return; standard error is not buffered.
    unsafe { libc::_exit(i32::from(code.code())) }
}

/// Writes the last report, once: who comes second waits here for the end that the first brings.
fn conclude(reporter: &Reporter, report: &Path, ended: Result<Ended, Failure>) -> ExitCode {
    static CONCLUDED: AtomicBool = AtomicBool::new(false);
    if CONCLUDED.swap(true, Ordering::AcqRel) {
        loop {
            std::thread::park();
        }
    }
    let code = settle(reporter, ended);
    reporter.log();
    if let Err(error) = std::fs::write(report, reporter.current().to_json()) {
        tracing::warn!(path = %report.display(), %error, "the report cannot be written");
    }
    code
}

/// Tells the report how the task ended.
fn settle(reporter: &Reporter, ended: Result<Ended, Failure>) -> ExitCode {
    match ended {
        Ok(Ended::Done) => {
            reporter.update(|report| report.outcome = Outcome::Done);
            ExitCode::Done
        }
        Ok(Ended::BudgetSpent) => {
            reporter.update(|report| report.outcome = Outcome::BudgetSpent);
            ExitCode::Done
        }
        Ok(Ended::Stopped) => {
            let code = ExitCode::TryAgain;
            reporter.update(|report| {
                report.fail(code, code.reason(), "stopped from outside; run it again")
            });
            code
        }
        Err(failure) => {
            tracing::error!(error = %failure, code = failure.code.code(), "the task failed");
            reporter
                .update(|report| report.fail(failure.code, failure.reason, &failure.to_string()));
            failure.code
        }
    }
}

impl Context {
    async fn open(
        spec: TaskSpec,
        worker: String,
        cache: PathBuf,
        reporter: Reporter,
        metrics: Metrics,
        stop: Stop,
        started: Instant,
    ) -> Result<Self, Failure> {
        let store = Store::open(&spec.store).map_err(store_failure)?;
        metrics.works_with(&store);
        let paths = RunPaths::new(&spec.run);
        probe(&store, paths.prefix()).await.map_err(store_failure)?;
        let times = claim_times()?;
        let sheet = Sheet {
            worker: &worker,
            task: spec.task.kind(),
            devices: match spec.task.kind().needs_device() {
                true => spec.devices,
                false => 0,
            },
            started: started.into(),
            beat: times.beat,
        };
        let timesheet = Timesheet::open(&store, &paths, sheet).await;
        let timesheet = timesheet.map_err(store_failure)?;
        tokio::spawn(hear(timesheet.subscribe(), reporter.clone()));
        Ok(Self {
            spec,
            store,
            paths,
            worker,
            cache,
            times,
            reporter,
            metrics,
            stop,
            timesheet,
        })
    }

    /// Closes the account; the report says what all workers of the run have taken. A store that does not
    /// answer is no reason to fail what is done.
    async fn account(&self, ended: &Result<Ended, Failure>) {
        let is_over = matches!(ended, Ok(Ended::Done | Ended::BudgetSpent));
        match self.timesheet.close(is_over).await {
            Ok(sum) => self
                .reporter
                .update(|report| report.gpu_seconds = Some(sum)),
            Err(error) => tracing::warn!(%error, "the account was not closed"),
        }
    }

    async fn run(&self) -> Result<Ended, Failure> {
        match &self.spec.task {
            Task::Prepare {
                model,
                data,
                pruning,
                target,
                threads,
                search_digest,
                latency,
            } => {
                let asked = prepare::Asked {
                    model,
                    data,
                    pruning,
                    target: *target,
                    threads: *threads,
                    latency: *latency,
                };
                prepare::prepare(self, &asked, search_digest).await
            }
            Task::Measure { pruning, target } => measure::task(self, pruning, *target).await,
            Task::BuildDatabase { pruning, workers } => {
                build_database::task(self, pruning, *workers).await
            }
            Task::Search {
                pruning,
                target,
                settings,
                until_generation,
                budget_gpu_seconds,
            } => {
                let limits = search::Limits {
                    until_generation: *until_generation,
                    budget_gpu_seconds: *budget_gpu_seconds,
                };
                search::task(self, pruning, *target, settings, limits).await
            }
            Task::PostTrain {
                pruning,
                target,
                settings,
                training,
            } => post_train::task(self, pruning, *target, settings, training).await,
            Task::Evaluate {
                pruning,
                target,
                settings,
                training,
                evaluation,
            } => {
                let training = training.as_ref();
                evaluate::task(self, pruning, *target, settings, training, evaluation).await
            }
            Task::Export {
                pruning,
                target,
                settings,
                training,
                export,
            } => {
                let training = training.as_ref();
                export::task(self, pruning, *target, settings, training, export).await
            }
            Task::CleanUp {
                search_digest,
                keep_exports,
                exports,
            } => clean_up::task(self, search_digest, *keep_exports, exports).await,
        }
    }
}

/// Passes on what all workers have taken, as of each beat.
async fn hear(mut sum: watch::Receiver<GpuSeconds>, reporter: Reporter) {
    while sum.changed().await.is_ok() {
        let now = *sum.borrow_and_update();
        reporter.update(|report| report.gpu_seconds = Some(now));
    }
}

fn claim_times() -> Result<ClaimTimes, Failure> {
    let mut times = ClaimTimes::default();
    if let Some(beat) = seconds(ENV_BEAT_SECONDS)? {
        times.beat = beat;
        times.look = beat / 2;
    }
    if let Some(stale) = seconds(ENV_STALE_SECONDS)? {
        times.stale = stale;
    }
    Ok(times)
}

fn seconds(name: &str) -> Result<Option<Duration>, Failure> {
    let Ok(text) = std::env::var(name) else {
        return Ok(None);
    };
    let wrong = || format!("{name} is {text:?}; accepted: seconds above 0, such as 1 or 0.5");
    let value: f64 = text.parse().or_fail(ExitCode::Usage, wrong())?;
    if !(value > 0.0 && value < 1e6) {
        return Err(Failure::new(ExitCode::Usage, wrong()));
    }
    Ok(Some(Duration::from_secs_f64(value)))
}
