//! The other backend: a run carried out on this machine, with child processes for pods.
//!
//! The loop is the operator's own: look, decide, act. Nothing is remembered between two runs of
//! the command but what is in the store, where every task finds what is already done.

pub mod evaluation;
mod folder;
mod job;
pub mod parameters;
mod poll;
mod runner;
pub mod screen;
mod worker;

use std::path::PathBuf;
use std::time::Duration;

use darwinlm_api::conditions::{self, ConditionType, Reason};
use darwinlm_api::{ForecastStatus, PruningRunStatus};
use darwinlm_task::{EvaluationReport, ExitCode, Outcome, TaskKind};
use k8s_openapi::jiff::Timestamp;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::run_controller::decide::{Action, Ended, decide};
use crate::run_controller::observed::{JobState, Observed};
use crate::run_controller::validate::ValidatedRun;

use folder::WorkFolder;
use job::LocalJob;
use poll::Poll;
use screen::Screen;

pub use runner::{RunnerMissing, find as find_runner};

/// Pause between two looks.
const LOOK: Duration = Duration::from_millis(100);
/// How long workers have to leave once they were told to.
const GRACE: Duration = Duration::from_secs(10);

/// How a run on this machine ended.
#[derive(Clone, Debug)]
pub enum Finished {
    /// Every task is done.
    Succeeded {
        /// Head of the ledger's hash chain.
        digest: String,
        /// What was measured, where it was asked for.
        evaluation: Option<Box<EvaluationReport>>,
        /// URLs of what was exported.
        exports: Vec<String>,
        /// What the run was expected to take, if the file says so, and how far that was off.
        forecast: Option<ForecastStatus>,
        /// URL of the page that tells of the run, where a task wrote it.
        report: Option<String>,
        /// Why the search ended before its last generation, if it did.
        budget_spent: Option<String>,
    },
    /// A task failed for good.
    Failed {
        /// The code to exit with.
        code: u8,
        /// Why.
        message: String,
        /// The folder with the workers' logs.
        logs: PathBuf,
    },
    /// Told to stop by this signal's number.
    Stopped(u8),
}

/// A run on this machine that cannot even start, or a machine that gives way below it.
#[derive(Debug, thiserror::Error)]
pub enum LocalError {
    /// A file or folder of the work folder.
    #[error("failed to {operation} {}", path.display())]
    Folder {
        /// What was tried.
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system answered.
        #[source]
        source: std::io::Error,
    },
    /// Another command holds the folder.
    #[error(
        "another `darwinlm run` is at work in {}: wait for it, stop it, or name another --work-dir",
        path.display()
    )]
    Busy {
        /// The folder.
        path: PathBuf,
    },
    /// The runner cannot be started.
    #[error("failed to start the runner {}", program.display())]
    Start {
        /// The program.
        program: PathBuf,
        /// What the system answered.
        #[source]
        source: std::io::Error,
    },
    /// Signals cannot be listened for.
    #[error("failed to listen for signals")]
    Signals(#[source] std::io::Error),
}

/// Where a run's validated form comes from; a file may change while the run goes on.
pub trait Spec {
    /// The run as it is asked for now; `None` when nothing changed.
    fn changed(&mut self) -> Option<ValidatedRun>;
}

/// A run on this machine.
#[derive(Debug)]
pub struct LocalRun {
    run: ValidatedRun,
    program: PathBuf,
    folder: WorkFolder,
    jobs: Vec<LocalJob>,
    status: PruningRunStatus,
    poll: Poll,
}

impl LocalRun {
    /// Takes the work folder for a run; nothing is started yet.
    ///
    /// # Errors
    /// When the folder cannot be made, or another command holds it.
    pub fn new(run: ValidatedRun, program: PathBuf, folder: PathBuf) -> Result<Self, LocalError> {
        let folder = WorkFolder::take(folder)?;
        let (jobs, status) = (Vec::new(), PruningRunStatus::default());
        Ok(Self {
            run,
            program,
            folder,
            jobs,
            status,
            poll: Poll::new(),
        })
    }

    /// Carries the run out to its end, or until a signal stops it.
    ///
    /// # Errors
    /// When a worker cannot be started or its folder cannot be written.
    pub async fn carry_out(
        mut self,
        spec: &mut dyn Spec,
        screen: &mut Screen,
    ) -> Result<Finished, LocalError> {
        let mut stop = StopSignals::new()?;
        loop {
            if let Some(changed) = spec.changed() {
                self.run = changed;
            }
            if let Some(finished) = self.step(screen).await? {
                screen.finish();
                return Ok(finished);
            }
            tokio::select! {
                () = tokio::time::sleep(LOOK) => {}
                number = stop.any() => {
                    screen.finish();
                    self.stop_workers().await;
                    return Ok(Finished::Stopped(number));
                }
            }
        }
    }

    /// Looks, decides and acts once.
    async fn step(&mut self, screen: &mut Screen) -> Result<Option<Finished>, LocalError> {
        for job in &mut self.jobs {
            job.tend(&self.program, &self.folder)?;
        }
        self.poll.poll(&mut self.jobs).await;
        let jobs = self.jobs.iter().map(LocalJob::observed).collect();
        let observed = Observed {
            jobs,
            status: self.status.clone(),
            ..Observed::default()
        };
        let decision = decide(&self.run, &observed, Timestamp::now());
        for action in &decision.actions {
            self.act(action)?;
        }
        self.status = decision.status;
        screen.show(&self.run, &self.status, &observed);
        Ok(decision.ended.map(|ended| self.finished(ended, &observed)))
    }

    fn act(&mut self, action: &Action) -> Result<(), LocalError> {
        let find = |jobs: &mut Vec<LocalJob>, key, change: &dyn Fn(&mut LocalJob)| {
            jobs.iter_mut()
                .filter(|job| job.key() == key)
                .for_each(change);
        };
        match action {
            Action::Create(new) => {
                self.folder.make_job(new.key)?;
                self.jobs.push(LocalJob::new(new));
            }
            Action::Suspend(key) => find(&mut self.jobs, *key, &|job| job.suspend(true)),
            Action::Resume(key) => find(&mut self.jobs, *key, &|job| job.suspend(false)),
            Action::SetParallelism { job: key, workers } => {
                find(&mut self.jobs, *key, &|job| job.resize(*workers));
            }
            // There is no queue here: what is withdrawn works on a survivor that is not the last one.
            Action::Withdraw(key) | Action::Delete(key) => {
                self.jobs.retain(|job| job.key() != *key);
            }
        }
        Ok(())
    }

    fn finished(&self, ended: Ended, observed: &Observed) -> Finished {
        let artifacts = self.status.artifacts.clone().unwrap_or_default();
        match ended {
            Ended::Succeeded => Finished::Succeeded {
                digest: self
                    .status
                    .search
                    .as_ref()
                    .and_then(|search| search.digest.clone())
                    .unwrap_or_default(),
                evaluation: observed
                    .jobs_of(TaskKind::Evaluate)
                    .find_map(|job| job.report.as_ref()?.evaluation.clone())
                    .map(Box::new),
                forecast: self.status.forecast,
                budget_spent: self.budget_spent(),
                exports: artifacts.exports,
                report: artifacts.report,
            },
            Ended::Failed { reason: _, message } => Finished::Failed {
                code: exit_code(observed),
                message,
                logs: self.folder.path().to_path_buf(),
            },
        }
    }

    fn budget_spent(&self) -> Option<String> {
        let search = conditions::get(&self.status.conditions, ConditionType::SearchComplete)?;
        let is_spent = search.reason == Reason::BudgetSpent.as_str();
        is_spent.then(|| search.message.clone())
    }

    /// Tells every worker to leave, and kills those that stay.
    async fn stop_workers(&mut self) {
        for job in &mut self.jobs {
            job.suspend(true);
        }
        let deadline = tokio::time::Instant::now() + GRACE;
        while self.jobs.iter_mut().any(LocalJob::has_workers) {
            if tokio::time::Instant::now() >= deadline {
                self.jobs.iter_mut().for_each(LocalJob::kill);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// The exit code of the failure that ended the run: the newest failed Job's.
fn exit_code(observed: &Observed) -> u8 {
    let failed = observed
        .jobs
        .iter()
        .filter(|job| matches!(job.state, JobState::Failed { .. }));
    let newest = failed.max_by_key(|job| job.key);
    let code = newest.and_then(
        |job| match job.report.as_ref().map(|report| &report.outcome) {
            Some(Outcome::Failed { code, .. }) => Some(*code),
            _ => job
                .exits
                .iter()
                .find_map(|exit| exit.code)
                .and_then(|code| u8::try_from(code).ok()),
        },
    );
    // A task that can be tried again was tried often enough: that is no success.
    code.filter(|code| *code != 0)
        .unwrap_or(ExitCode::Bug.code())
}

/// The signals that stop a run.
struct StopSignals {
    interrupt: Signal,
    terminate: Signal,
}

impl StopSignals {
    fn new() -> Result<Self, LocalError> {
        let interrupt = signal(SignalKind::interrupt()).map_err(LocalError::Signals)?;
        let terminate = signal(SignalKind::terminate()).map_err(LocalError::Signals)?;
        Ok(Self {
            interrupt,
            terminate,
        })
    }

    /// Waits for one of them; its number.
    async fn any(&mut self) -> u8 {
        tokio::select! {
            _ = self.interrupt.recv() => 2,
            _ = self.terminate.recv() => 15,
        }
    }
}
