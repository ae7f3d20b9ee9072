//! One Job: a group of workers that behaves as a `batch/v1` Job would.

use std::path::Path;
use std::time::Instant;

use darwinlm_task::{ExitCode, Outcome, TaskReport, TaskSpec};

use super::LocalError;
use super::folder::WorkFolder;
use super::worker::{Exit, Worker, pause};
use crate::names::JobKey;
use crate::run_controller::decide::NewJob;
use crate::run_controller::made_from::MadeFrom;
use crate::run_controller::observed::{JobState, ObservedJob, WorkerExit, sign_of_exit};

/// Failures that a Job replaces workers for, as in the Jobs of a cluster.
const BACKOFF_LIMIT: u32 = 6;
/// Disruptions that a Job puts up with: a machine that kills every worker has no room for one.
const DISRUPTION_LIMIT: u32 = 50;
/// Ends of workers that are remembered.
const EXITS: usize = 8;

/// A Job and its workers.
#[derive(Debug)]
pub(super) struct LocalJob {
    key: JobKey,
    task: TaskSpec,
    made_from: MadeFrom,
    parallelism: usize,
    suspended: bool,
    workers: Vec<Worker>,
    started: u32,
    failures: u32,
    disruptions: u32,
    not_before: Option<Instant>,
    end: Option<JobState>,
    exits: Vec<WorkerExit>,
    last_words: Option<TaskReport>,
    pub(super) progress: Option<TaskReport>,
}

impl LocalJob {
    pub(super) fn new(new: &NewJob) -> Self {
        Self {
            key: new.key,
            task: new.task.clone(),
            made_from: new.made_from.clone(),
            parallelism: new.workers as usize,
            suspended: false,
            workers: Vec::new(),
            started: 0,
            failures: 0,
            disruptions: 0,
            not_before: None,
            end: None,
            exits: Vec::new(),
            last_words: None,
            progress: None,
        }
    }

    pub(super) const fn key(&self) -> JobKey {
        self.key
    }

    pub(super) const fn suspend(&mut self, suspended: bool) {
        self.suspended = suspended;
    }

    pub(super) const fn resize(&mut self, workers: u32) {
        self.parallelism = workers as usize;
    }

    /// Whether a worker is left; tells those that have to go.
    pub(super) fn has_workers(&mut self) -> bool {
        self.reap();
        self.dismiss();
        !self.workers.is_empty()
    }

    pub(super) fn kill(&mut self) {
        self.workers.iter_mut().for_each(Worker::kill);
    }

    /// The workers' addresses, the eldest first.
    pub(super) fn addresses(&self) -> impl Iterator<Item = String> {
        self.workers.iter().filter_map(Worker::address)
    }

    /// Notes who ended, and starts or dismisses workers until there are as many as asked for.
    pub(super) fn tend(&mut self, program: &Path, folder: &WorkFolder) -> Result<(), LocalError> {
        self.reap();
        self.dismiss();
        let waits = self.not_before.is_some_and(|time| Instant::now() < time);
        while !waits && self.wanted() > self.workers.len() {
            let name = format!("{}-w{}", self.key, self.started);
            self.started += 1;
            self.workers
                .push(Worker::start(program, folder, self.key, name, &self.task)?);
        }
        Ok(())
    }

    /// Workers that there should be. After an end nobody is replaced: the first success means that
    /// all the work is done, and the others find that out by themselves.
    fn wanted(&self) -> usize {
        match (&self.end, self.suspended) {
            (None, false) => self.parallelism,
            (None | Some(_), true) | (Some(_), false) => 0,
        }
    }

    fn reap(&mut self) {
        let mut ended = Vec::new();
        self.workers.retain_mut(|worker| match worker.ended() {
            None => true,
            Some(exit) => {
                ended.push((worker.name.clone(), worker.is_leaving(), exit));
                false
            }
        });
        for (name, was_leaving, exit) in ended {
            self.note(name, was_leaving, exit);
        }
    }

    fn note(&mut self, worker: String, was_leaving: bool, exit: Exit) {
        self.listen_to(exit.report.clone());
        if exit.code == Some(0) {
            self.end = Some(JobState::Complete);
            return;
        }
        let is_final = exit
            .code
            .and_then(ExitCode::from_code)
            .is_some_and(ExitCode::is_final);
        if !was_leaving || is_final {
            let message = said(&exit);
            self.exits.insert(
                0,
                WorkerExit {
                    worker,
                    code: exit.code,
                    message,
                    stall: sign_of_exit(exit.code),
                },
            );
            self.exits.truncate(EXITS);
        }
        if self.end.is_some() {
            return;
        }
        if is_final {
            self.end = Some(failed(
                "PodFailurePolicy",
                "a worker ended with a final exit code",
            ));
        } else if was_leaving {
            // It was asked to leave, and did.
        } else if exit.is_disruption() {
            self.disruptions += 1;
            self.not_before = Some(Instant::now() + pause(0));
        } else {
            self.failures += 1;
            self.not_before = Some(Instant::now() + pause(self.failures));
        }
        if self.end.is_none()
            && (self.failures > BACKOFF_LIMIT || self.disruptions > DISRUPTION_LIMIT)
        {
            self.end = Some(failed("BackoffLimitExceeded", "too many workers failed"));
        }
    }

    /// Keeps the most telling of all last words: done, then failed for good, then the newest.
    fn listen_to(&mut self, report: Option<TaskReport>) {
        let rank = |report: &TaskReport| match &report.outcome {
            Outcome::Done | Outcome::BudgetSpent => 3,
            Outcome::Failed { code, .. } => {
                let code = ExitCode::from_code(i32::from(*code));
                if code.is_some_and(ExitCode::is_final) {
                    2
                } else {
                    1
                }
            }
            Outcome::Running => 0,
        };
        let Some(report) = report.filter(|report| self.is_ours(report)) else {
            return;
        };
        if self
            .last_words
            .as_ref()
            .is_none_or(|known| rank(known) <= rank(&report))
        {
            self.last_words = Some(report);
        }
    }

    /// Whether a report is of this run and this task.
    pub(super) fn is_ours(&self, report: &TaskReport) -> bool {
        report.run_uid == self.task.run.uid && report.task == self.key.task
    }

    fn dismiss(&mut self) {
        // After a success the others end by themselves, with their work in the store.
        if self.end == Some(JobState::Complete) && !self.suspended {
            return;
        }
        let wanted = self.wanted();
        self.workers.iter_mut().skip(wanted).for_each(Worker::leave);
    }

    /// What the state machine sees.
    pub(super) fn observed(&self) -> ObservedJob {
        let active = self.workers.len();
        let ready = self
            .workers
            .iter()
            .filter(|worker| worker.address().is_some())
            .count();
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        let state = match &self.end {
            Some(end) if active == 0 => end.clone(),
            _ if self.suspended => JobState::Suspended,
            _ if active > 0 => JobState::Running {
                active: count(active),
                ready: count(ready),
            },
            _ => JobState::Pending,
        };
        ObservedJob {
            key: self.key,
            state,
            parallelism: count(self.parallelism),
            queue: None,
            made_from: self.made_from.clone(),
            deleting: false,
            report: self.report(),
            exits: self.exits.clone(),
            waiting: None,
            held: Vec::new(),
        }
    }

    /// Last words that end the Job, else what a worker says now.
    fn report(&self) -> Option<TaskReport> {
        let decisive = self
            .last_words
            .as_ref()
            .filter(|report| match report.outcome {
                Outcome::Done | Outcome::BudgetSpent => true,
                Outcome::Failed { .. } | Outcome::Running => self.end.is_some(),
            });
        decisive
            .or(self.progress.as_ref())
            .or(self.last_words.as_ref())
            .cloned()
    }
}

fn failed(reason: &str, message: &str) -> JobState {
    JobState::Failed {
        reason: reason.to_owned(),
        message: message.to_owned(),
    }
}

fn said(exit: &Exit) -> String {
    match (
        exit.report.as_ref().map(|report| &report.outcome),
        exit.signal,
    ) {
        (Some(Outcome::Failed { message, .. }), _) => message.clone(),
        (_, Some(signal)) => format!("ended by signal {signal}"),
        (_, None) => String::new(),
    }
}
