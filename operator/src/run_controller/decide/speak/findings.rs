//! One finding for each condition of a run.

use darwinlm_api::PruningRunStatus;
use darwinlm_api::conditions::{self, ConditionStatus, ConditionType, Finding, Reason, Stall};
use darwinlm_task::{Task, TaskKind};

use super::super::objection::Objection;
use super::super::step::Step;
use super::super::{Failure, done_condition};
use crate::run_controller::observed::{JobState, ObservedJob, Waiting, WorkerExit};
use crate::run_controller::validate::ValidatedRun;

/// Workers that were stopped from outside so often are more than a node that was drained.
const AGAIN_AND_AGAIN: usize = 3;

/// Everything that is said of a run, one finding for each condition.
pub(super) fn findings(
    run: &ValidatedRun,
    step: &Step<'_>,
    objection: Option<&Objection>,
    not_bound: Option<&Waiting>,
    current: Option<TaskKind>,
    status: &PruningRunStatus,
) -> Vec<Finding> {
    let mut findings = vec![accepted(step, objection)];
    for task in run.chain.iter().map(Task::kind) {
        findings.extend(of_task(task, step, current, status));
    }
    findings.push(progressing(run, step, not_bound));
    findings.push(suspended(run.suspend));
    findings.push(succeeded(step));
    findings
}

/// Whether the spec asks the run to rest.
pub(super) fn suspended(suspend: bool) -> Finding {
    use ConditionStatus::{False, True};
    let type_ = ConditionType::Suspended;
    match suspend {
        true => say(type_, True, Reason::Suspended, "spec.suspend is true"),
        false => say(type_, False, Reason::NotSuspended, ""),
    }
}

fn say(type_: ConditionType, status: ConditionStatus, reason: Reason, message: &str) -> Finding {
    Finding {
        type_,
        status,
        reason,
        message: message.to_owned(),
    }
}

/// A spec is accepted, unless its store turns out to belong to another search, its target to be out
/// of the model's reach, or something stands against it as things are.
fn accepted(step: &Step<'_>, objection: Option<&Objection>) -> Finding {
    let type_ = ConditionType::Accepted;
    match (step, objection) {
        (
            Step::Fail(
                _,
                Failure {
                    reason: reason @ (Reason::StoreInUse | Reason::TargetUnreachable),
                    message,
                    ..
                },
            ),
            _,
        ) => say(type_, ConditionStatus::False, *reason, message),
        (_, Some(objection)) => say(
            type_,
            ConditionStatus::False,
            objection.reason,
            &objection.message,
        ),
        (_, None) => say(type_, ConditionStatus::True, Reason::Valid, ""),
    }
}

fn of_task(
    task: TaskKind,
    step: &Step<'_>,
    current: Option<TaskKind>,
    status: &PruningRunStatus,
) -> Option<Finding> {
    let type_ = done_condition(task)?;
    if let Some(known) = conditions::get(&status.conditions, type_)
        && known.status == ConditionStatus::True.as_str()
    {
        let reason = known.reason.parse().unwrap_or(Reason::Complete);
        return Some(say(type_, ConditionStatus::True, reason, &known.message));
    }
    Some(match step {
        Step::Fail(failed, failure) if *failed == task => say(
            type_,
            ConditionStatus::False,
            failure.reason,
            &failure.message,
        ),
        Step::Watch(_) if current == Some(task) => {
            say(type_, ConditionStatus::False, Reason::InProgress, "")
        }
        _ => say(type_, ConditionStatus::False, Reason::NotStarted, ""),
    })
}

fn progressing(run: &ValidatedRun, step: &Step<'_>, not_bound: Option<&Waiting>) -> Finding {
    use ConditionStatus::{False, True};
    let say =
        |status, reason, message: &str| say(ConditionType::Progressing, status, reason, message);
    match step {
        Step::Finish => say(False, Reason::Finished, "the run has its result"),
        Step::Fail(task, failure) => {
            let words = format!("{task}: {}", failure.message);
            match Stall::of_failure(failure.reason) {
                Some(stall) => waits(&Waiting { stall, words }),
                None => say(False, failure.reason, &words),
            }
        }
        Step::Rest(_) => say(False, Reason::Suspended, "the run is suspended"),
        Step::Await(_, waiting) => waits(waiting),
        Step::Hold(_, objection) => say(False, objection.reason, &objection.message),
        Step::Watch(job) if run.suspend && job.state.is_suspended() => match &job.waiting {
            Some(waiting) if job.state == JobState::Suspended => waits(waiting),
            Some(_) | None => say(False, Reason::Suspended, "the run is suspended"),
        },
        Step::Watch(_) if run.suspend => say(
            False,
            Reason::Suspending,
            "the run is suspended, its workers are leaving",
        ),
        Step::Start(new) => say(True, Reason::Starting, &format!("{} starts", new.key.task)),
        Step::Watch(job) if job.state == JobState::Queued => queued(job),
        Step::Watch(job) => watched(run, job, not_bound),
    }
}

/// Why a Job waits in its queue.
fn queued(job: &ObservedJob) -> Finding {
    let unasked = || Waiting {
        stall: Stall::Queued,
        words: format!("{} waits in its queue", job.key.task),
    };
    waits(&job.waiting.clone().unwrap_or_else(unasked))
}

/// What a queue has given, where the spec asks for more.
fn admitted(run: &ValidatedRun, job: &ObservedJob) -> String {
    let asked = run.workers(job.key.task);
    match &job.queue {
        Some(queue) if job.parallelism < asked => {
            format!("; queue {queue:?} gave {} of {asked}", job.parallelism)
        }
        Some(_) | None => String::new(),
    }
}

/// Nothing goes on: why, and what to do about it.
fn waits(waiting: &Waiting) -> Finding {
    say(
        ConditionType::Progressing,
        ConditionStatus::False,
        waiting.stall.reason(),
        &waiting.message(),
    )
}

/// How a live Job is doing.
fn watched(run: &ValidatedRun, job: &ObservedJob, not_bound: Option<&Waiting>) -> Finding {
    let say = |reason, message: &str| {
        say(
            ConditionType::Progressing,
            ConditionStatus::True,
            reason,
            message,
        )
    };
    let (active, ready) = match job.state {
        JobState::Running { active, ready } => (active, ready),
        JobState::Pending | JobState::Suspended => (0, 0),
        JobState::SuspendedByOthers | JobState::Queued => (0, 0),
        JobState::Complete | JobState::Failed { .. } => (0, 0),
    };
    let reason = reason_of(job.key.task);
    let waiting = not_bound.or(job.waiting.as_ref());
    let exit = job.exits.first();
    if let Some(stall) = stall(job, waiting, ready) {
        return waits(&stall);
    }
    match (waiting, exit) {
        _ if ready == 0 && job.report.is_none() && exit.is_none() => {
            say(Reason::Starting, &format!("{} starts", job.key.task))
        }
        (_, Some(exit)) if ready == 0 => say(Reason::Starting, &ended_with(exit)),
        (Some(waiting), _) => {
            let message = format!(
                "{ready} of {} workers are at work; the others wait: {}",
                job.parallelism,
                waiting.message()
            );
            say(reason, &message)
        }
        (None, Some(exit)) => say(reason, &ended_with(exit)),
        (None, None) => {
            let workers = if active == 1 {
                "worker is"
            } else {
                "workers are"
            };
            let more = admitted(run, job);
            say(reason, &format!("{active} {workers} at work{more}"))
        }
    }
}

/// Why a Job gets no further, if it does not: the weightiest cause of all. While a worker is at
/// work, only that it gets no further counts: whatever keeps others from starting, the work goes on.
fn stall(job: &ObservedJob, waiting: Option<&Waiting>, ready: u32) -> Option<Waiting> {
    if ready > 0 {
        return waiting
            .filter(|waiting| waiting.stall.is_of_workers_at_work())
            .cloned();
    }
    let of_exit = job.exits.first().and_then(|exit| of_exit(exit, &job.exits));
    waiting
        .cloned()
        .into_iter()
        .chain(of_exit)
        .min_by_key(|waiting| waiting.stall)
}

fn of_exit(newest: &WorkerExit, exits: &[WorkerExit]) -> Option<Waiting> {
    let WorkerExit { stall, .. } = newest;
    let same = exits.iter().filter(|exit| exit.stall == *stall).count();
    if *stall == Stall::Interrupted && same < AGAIN_AND_AGAIN {
        return None;
    }
    let words = match same {
        1 => ended_with(newest),
        _ => format!("{same} workers ended alike; {}", ended_with(newest)),
    };
    Some(Waiting {
        stall: *stall,
        words,
    })
}

fn ended_with(exit: &WorkerExit) -> String {
    let how = match exit.code {
        Some(code) => format!("exit code {code}"),
        None => "a signal".to_owned(),
    };
    format!(
        "worker {} ended with {how} and is replaced: {}",
        exit.worker, exit.message
    )
}

fn succeeded(step: &Step<'_>) -> Finding {
    use ConditionStatus::{False, True, Unknown};
    let type_ = ConditionType::Succeeded;
    match step {
        Step::Finish => say(type_, True, Reason::Succeeded, "every task is done"),
        Step::Fail(task, failure) => say(
            type_,
            False,
            failure.reason,
            &format!("{task}: {}", failure.message),
        ),
        Step::Watch(_) | Step::Start(_) | Step::Rest(_) | Step::Hold(..) | Step::Await(..) => {
            say(type_, Unknown, Reason::InProgress, "")
        }
    }
}

const fn reason_of(task: TaskKind) -> Reason {
    match task {
        TaskKind::Prepare => Reason::Preparing,
        TaskKind::Measure => Reason::Measuring,
        TaskKind::BuildDatabase => Reason::BuildingDatabase,
        TaskKind::Search => Reason::Searching,
        TaskKind::PostTrain => Reason::PostTraining,
        TaskKind::Evaluate => Reason::Evaluating,
        TaskKind::Export => Reason::Exporting,
        TaskKind::CleanUp => Reason::CleaningUp,
    }
}
