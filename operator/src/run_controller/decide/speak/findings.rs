//! One finding for each condition of a run.

use darwinlm_api::PruningRunStatus;
use darwinlm_api::conditions::{self, ConditionStatus, ConditionType, Finding, Reason};
use darwinlm_task::{Task, TaskKind};

use super::super::objection::Objection;
use super::super::step::Step;
use super::super::{Failure, done_condition};
use crate::run_controller::observed::{JobState, ObservedJob, WorkerExit};
use crate::run_controller::validate::ValidatedRun;

/// Everything that is said of a run, one finding for each condition.
pub(super) fn findings(
    run: &ValidatedRun,
    step: &Step<'_>,
    objection: Option<&Objection>,
    current: Option<TaskKind>,
    status: &PruningRunStatus,
) -> Vec<Finding> {
    let mut findings = vec![accepted(step, objection)];
    for task in run.chain.iter().map(Task::kind) {
        findings.extend(of_task(task, step, current, status));
    }
    findings.push(progressing(run, step));
    findings.push(if run.suspend {
        say(
            ConditionType::Suspended,
            ConditionStatus::True,
            Reason::Suspended,
            "spec.suspend is true",
        )
    } else {
        say(
            ConditionType::Suspended,
            ConditionStatus::False,
            Reason::NotSuspended,
            "",
        )
    });
    findings.push(succeeded(step));
    findings
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

fn progressing(run: &ValidatedRun, step: &Step<'_>) -> Finding {
    use ConditionStatus::{False, True};
    let say =
        |status, reason, message: &str| say(ConditionType::Progressing, status, reason, message);
    match step {
        Step::Finish => say(False, Reason::Finished, "the run has its result"),
        Step::Fail(task, failure) => say(
            False,
            failure.reason,
            &format!("{task}: {}", failure.message),
        ),
        Step::Rest(_) => say(False, Reason::Suspended, "the run is suspended"),
        Step::Hold(_, objection) => say(False, objection.reason, &objection.message),
        Step::Watch(job) if run.suspend && job.state == JobState::Suspended => {
            say(False, Reason::Suspended, "the run is suspended")
        }
        Step::Watch(_) if run.suspend => say(
            False,
            Reason::Suspending,
            "the run is suspended, its workers are leaving",
        ),
        Step::Start(new) => say(True, Reason::Starting, &format!("{} starts", new.key.task)),
        Step::Watch(job) if job.state == JobState::Queued => queued(job),
        Step::Watch(job) => watched(run, job),
    }
}

/// Why a Job waits in its queue.
fn queued(job: &ObservedJob) -> Finding {
    let unasked = || format!("{} waits in its queue", job.key.task);
    let why = job.waiting.as_ref().map(|waiting| waiting.message.clone());
    say(
        ConditionType::Progressing,
        ConditionStatus::False,
        Reason::Queued,
        &why.unwrap_or_else(unasked),
    )
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

/// How a live Job is doing.
fn watched(run: &ValidatedRun, job: &ObservedJob) -> Finding {
    use ConditionStatus::{False, True};
    let say =
        |status, reason, message: &str| say(ConditionType::Progressing, status, reason, message);
    let (active, ready) = match job.state {
        JobState::Running { active, ready } => (active, ready),
        JobState::Pending | JobState::Suspended | JobState::Queued => (0, 0),
        JobState::Complete | JobState::Failed { .. } => (0, 0),
    };
    match (&job.waiting, job.exits.first()) {
        (Some(waiting), _) if ready == 0 => say(False, waiting.reason, &waiting.message),
        (_, Some(exit)) if ready == 0 => say(False, Reason::WorkerFailing, &ended_with(exit)),
        _ if ready == 0 && job.report.is_none() => {
            say(True, Reason::Starting, &format!("{} starts", job.key.task))
        }
        (Some(waiting), _) => {
            let message = format!(
                "{ready} of {} workers are at work; the others wait: {}",
                job.parallelism, waiting.message
            );
            say(True, reason_of(job.key.task), &message)
        }
        (None, Some(exit)) => say(True, reason_of(job.key.task), &ended_with(exit)),
        (None, None) => {
            let workers = if active == 1 {
                "worker is"
            } else {
                "workers are"
            };
            say(
                True,
                reason_of(job.key.task),
                &format!("{active} {workers} at work{}", admitted(run, job)),
            )
        }
    }
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
        Step::Watch(_) | Step::Start(_) | Step::Rest(_) | Step::Hold(..) => {
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
