//! The state machine of a run: from what there is to what to do next. Pure and total.

mod budget;
mod changed;
mod claims;
mod decision;
mod failure;
mod fold;
mod forecast;
mod objection;
mod seconds;
mod speak;
mod step;

use std::time::Duration;

use darwinlm_api::PruningRunStatus;
use darwinlm_api::conditions::ConditionType;
use darwinlm_task::TaskKind;
use k8s_openapi::jiff::Timestamp;

use crate::run_controller::observed::{JobState, Observed, ObservedJob};
use crate::run_controller::validate::{Rejection, ValidatedRun};

pub use claims::asks_for_claims;
pub use decision::{Action, Decision, Ended, NewJob};
pub use failure::{ATTEMPTS, Failure, reason_of_exit};
use objection::Objection;
use step::Step;

/// How often a run at work is looked at when nothing else happens.
const POLL: Duration = Duration::from_secs(10);
/// Finished search Jobs that are kept.
const KEPT_SEARCH_JOBS: usize = 3;

/// Decides what to do next for a run, and what to say of it.
///
/// A task is done because a report says so or the status remembers one, never because a Job says
/// Complete or Failed: then the task is attempted again, which finds in the store what is there.
pub fn decide(run: &ValidatedRun, observed: &Observed, now: Timestamp) -> Decision {
    let mut status = observed.status.clone();
    budget::reopen(run, &mut status);
    if let Some(ended) = speak::ended(&status) {
        // A terminal state sticks; only the revision that it was looked at with moves on.
        speak::revise(&mut status, run.spec_revision);
        return Decision {
            actions: Vec::new(),
            status,
            requeue_after: None,
            ended: Some(ended),
        };
    }
    fold::fold(run, observed, &mut status, now);
    let step = step::next(run, observed, &status);
    let objection = objection::find(run, observed, &step, &status);
    let step = step.unless(objection.as_ref());
    let mut actions = steer(run, &observed.live_jobs(), objection.as_ref());
    if let Step::Start(new_job) = &step {
        actions.push(Action::Create((**new_job).clone()));
    }
    actions.extend(forgettable(observed, &status));
    let not_bound = claims::not_bound(run, observed);
    let ended = speak::speak(
        run,
        &step,
        objection.as_ref(),
        not_bound.as_ref(),
        &mut status,
        now,
    );
    status.forecast = forecast::held_against(run, &status, ended.as_ref());
    let at_work = matches!(step, Step::Start(_) | Step::Hold(..) | Step::Await(..))
        || matches!(step, Step::Watch(job)
            if !run.suspend || !job.state.is_suspended() || holds_devices(job));
    Decision {
        actions,
        status,
        requeue_after: at_work.then_some(POLL),
        ended,
    }
}

/// Decides for a run whose spec this version does not carry out: nothing is started, a Job that is
/// at work goes on unless the run is suspended, and what has ended stays ended.
pub fn reject(
    rejection: &Rejection,
    suspend: bool,
    spec_revision: Option<i64>,
    observed: &Observed,
    now: Timestamp,
) -> Decision {
    let mut status = observed.status.clone();
    let ended = speak::ended(&status);
    if ended.is_some() {
        speak::revise(&mut status, spec_revision);
        return Decision {
            actions: Vec::new(),
            status,
            requeue_after: None,
            ended,
        };
    }
    seconds::fold(observed, &mut status);
    speak::speak_rejection(rejection, suspend, spec_revision, &mut status, now);
    let live = observed.live_jobs();
    let staying = live.iter().filter(|job| suspend && !job.deleting);
    Decision {
        actions: staying.filter_map(|job| stop(job)).collect(),
        status,
        requeue_after: live.iter().any(|job| holds_devices(job)).then_some(POLL),
        ended,
    }
}

/// Lets a live Job of a suspended run hold no workers, unless it is told so already.
fn stop(job: &ObservedJob) -> Option<Action> {
    if job.queue.is_some() {
        // Its suspend and its size are Kueue's: taking it out of the queue is all that is ours.
        return Some(Action::Withdraw(job.key));
    }
    (!job.state.is_suspended()).then_some(Action::Suspend(job.key))
}

/// Whether a worker of the Job has a device that nobody else can have.
fn holds_devices(job: &ObservedJob) -> bool {
    job.held.iter().any(|held| !held.is_over)
}

/// The condition that says that a task is done; none speaks of what happens after the run.
pub const fn done_condition(task: TaskKind) -> Option<ConditionType> {
    Some(match task {
        TaskKind::Prepare => ConditionType::Prepared,
        TaskKind::Measure => ConditionType::Measured,
        TaskKind::BuildDatabase => ConditionType::DatabaseReady,
        TaskKind::Search => ConditionType::SearchComplete,
        TaskKind::PostTrain => ConditionType::Trained,
        TaskKind::Evaluate => ConditionType::Evaluated,
        TaskKind::Export => ConditionType::Exported,
        TaskKind::CleanUp => return None,
    })
}

/// Brings live Jobs to the size that the spec asks for now.
fn steer(run: &ValidatedRun, live: &[&ObservedJob], objection: Option<&Objection>) -> Vec<Action> {
    let mut actions = Vec::new();
    for (position, job) in live.iter().enumerate().filter(|(_, job)| !job.deleting) {
        if job.queue.is_some() {
            actions.extend(run.suspend.then(|| stop(job)).flatten());
            continue;
        }
        let workers = run.workers(job.key.task);
        // A second live Job is not ours to run: it waits until the first is over.
        let may_work = !run.suspend && position == 0;
        // Once a worker has said that all is done, the others leave by themselves.
        let is_held = workers > job.parallelism && objection.is_some_and(Objection::bars_growth);
        let fits = job.parallelism == workers || is_held;
        if job.key.task.is_work_queue() && !fits && !job.says_done() {
            actions.push(Action::SetParallelism {
                job: job.key,
                workers,
            });
        }
        if !may_work {
            actions.extend(stop(job));
        } else if job.state == JobState::Suspended {
            // What others have suspended is theirs to resume.
            actions.push(Action::Resume(job.key));
        }
    }
    actions
}

/// Finished search Jobs beyond the last few whose generations the written status remembers, and Jobs
/// that work on the survivor of a search that goes on.
fn forgettable(observed: &Observed, status: &PruningRunStatus) -> Vec<Action> {
    let remembered = observed
        .status
        .search
        .as_ref()
        .map_or(0, |search| search.generation.unsigned_abs());
    let mut finished: Vec<_> = observed
        .jobs_of(TaskKind::Search)
        .filter(|job| !job.is_live())
        .collect();
    finished.sort_by_key(|job| std::cmp::Reverse(job.key));
    let finished = finished
        .into_iter()
        .skip(KEPT_SEARCH_JOBS)
        .filter(|job| job.key.first_generation < remembered && job.generation() <= remembered);
    let jobs = observed.jobs.iter();
    let early = jobs.filter(|job| budget::is_early(job.key.task, status));
    let leave = |job: &ObservedJob| match job.is_live() {
        true => Action::Withdraw(job.key),
        false => Action::Delete(job.key),
    };
    finished
        .chain(early)
        .filter(|job| !job.deleting)
        .map(leave)
        .collect()
}
