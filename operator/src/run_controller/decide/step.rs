//! The next step along a run's chain of tasks.

use darwinlm_api::{
    PruningRunStatus,
    conditions::{self, Stall},
};
use darwinlm_task::{Task, TaskKind};

use super::failure::{ATTEMPTS, Failure};
use super::objection::Objection;
use super::{NewJob, done_condition};
use crate::names::JobKey;
use crate::run_controller::observed::{Observed, ObservedJob, Waiting};
use crate::run_controller::validate::ValidatedRun;

/// The next step.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Step<'a> {
    /// A Job is live: wait for what it says.
    Watch(&'a ObservedJob),
    /// Make the next Job.
    Start(Box<NewJob>),
    /// Nothing to start while the run is suspended.
    Rest(TaskKind),
    /// The next Job waits: something outside of the run has to change first.
    Hold(TaskKind, Objection),
    /// The next Job waits until a worker of an older one has left.
    Await(TaskKind, Waiting),
    /// Every task is done.
    Finish,
    /// A task failed for good.
    Fail(TaskKind, Failure),
}

impl Step<'_> {
    /// The same step, unless something stands against making the next Job.
    pub(super) fn unless(self, objection: Option<&Objection>) -> Self {
        match (self, objection) {
            (Self::Start(new), Some(objection)) if objection.holds_back => {
                Self::Hold(new.key.task, objection.clone())
            }
            (step, _) => step,
        }
    }
}

/// Finds the next step; `status` already holds what the reports say.
pub(super) fn next<'a>(
    run: &ValidatedRun,
    observed: &'a Observed,
    status: &PruningRunStatus,
) -> Step<'a> {
    // One live Job a run: the next task starts on the workers that the last one has left.
    if let Some(job) = observed.live_jobs().first() {
        return Step::Watch(job);
    }
    let Some(task) = current_task(run, status) else {
        return Step::Finish;
    };
    let first_generation = match task {
        TaskKind::Search => status
            .search
            .as_ref()
            .map_or(0, |search| search.generation.unsigned_abs()),
        TaskKind::Prepare
        | TaskKind::Measure
        | TaskKind::BuildDatabase
        | TaskKind::PostTrain
        | TaskKind::Evaluate
        | TaskKind::Export
        | TaskKind::CleanUp => 0,
    };
    // The newest Job of the task, also one that got some generations further before it failed.
    let newest = observed
        .jobs_of(task)
        .max_by_key(|job| job.key)
        .map(Failure::of);
    if let Some(failure) = newest.filter(|failure| failure.is_final) {
        return Step::Fail(task, failure);
    }
    let last = observed
        .jobs_of(task)
        .filter(|job| job.key.first_generation == first_generation)
        .max_by_key(|job| job.key);
    let attempt = match last {
        // One that found the budget spent did not fail.
        Some(job) if job.key.attempt >= ATTEMPTS && !job.says_done() => {
            return Step::Fail(task, Failure::of(job).after_attempts());
        }
        Some(job) => job.key.attempt + 1,
        None => 1,
    };
    let key = JobKey {
        task,
        first_generation,
        attempt,
    };
    match run.task_spec(key) {
        _ if run.suspend => Step::Rest(task),
        Some(_) if let Some(pod) = &observed.stray => {
            let words = format!("pod {pod} still works for a Job that is gone");
            let stall = Stall::JobDeleted;
            Step::Await(task, Waiting { stall, words })
        }
        Some(spec) => Step::Start(Box::new(NewJob {
            key,
            workers: run.workers(task),
            task: spec,
            made_from: run.made_from.of_task(task),
        })),
        None => Step::Finish,
    }
}

/// The first task of the chain that is not done.
pub(super) fn current_task(run: &ValidatedRun, status: &PruningRunStatus) -> Option<TaskKind> {
    run.chain
        .iter()
        .map(Task::kind)
        .find(|&kind| !is_done(kind, status))
}

/// Whether a task's condition says that it is done.
pub(super) fn is_done(task: TaskKind, status: &PruningRunStatus) -> bool {
    done_condition(task).is_some_and(|type_| conditions::is_true(&status.conditions, type_))
}
