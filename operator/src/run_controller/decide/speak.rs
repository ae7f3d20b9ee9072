//! What a run says of itself: stage, progress and conditions.

use darwinlm_api::conditions::{self, ConditionStatus, ConditionType, Finding, Reason};
use darwinlm_api::{PruningRunStatus, Stage};
use darwinlm_task::{Task, TaskKind};
use k8s_openapi::jiff::Timestamp;

use super::step::{Step, current_task};
use super::{Ended, Failure, done_condition};
use crate::run_controller::observed::{JobState, ObservedJob, WorkerExit};
use crate::run_controller::validate::{Rejection, ValidatedRun};

/// Longest message of a condition that we write.
const MESSAGE_BYTES: usize = 1024;
/// What `status.stage` says of a spec that is not accepted.
const REJECTED: &str = "Rejected";

/// How the status says that the run ended.
pub(super) fn ended(status: &PruningRunStatus) -> Option<Ended> {
    let condition = conditions::get(&status.conditions, ConditionType::Succeeded)?;
    if condition.status == ConditionStatus::True.as_str() {
        return Some(Ended::Succeeded);
    }
    (condition.status == ConditionStatus::False.as_str()).then(|| Ended::Failed {
        reason: condition.reason.parse().unwrap_or(Reason::Failed),
        message: condition.message.clone(),
    })
}

/// Moves the revision that everything speaks of, and nothing else.
pub(super) fn revise(status: &mut PruningRunStatus, spec_revision: Option<i64>) {
    status.observed_generation = spec_revision;
    for condition in &mut status.conditions {
        condition.observed_generation = spec_revision;
    }
}

/// Sets everything that is said of a run, and returns how it ended if this step ends it.
pub(super) fn speak(
    run: &ValidatedRun,
    step: &Step<'_>,
    status: &mut PruningRunStatus,
    now: Timestamp,
) -> Option<Ended> {
    let current = current_task(run, status);
    status.observed_generation = run.spec_revision;
    status.stage = Some(stage(run, step, current).to_string());
    status.progress = progress(run, step, current, status);
    let findings = findings(run, step, current, status);
    for finding in findings {
        conditions::set(
            &mut status.conditions,
            bounded(finding),
            run.spec_revision,
            now,
        );
    }
    match step {
        Step::Finish | Step::Fail(..) => ended(status),
        Step::Watch(_) | Step::Start(_) | Step::Rest(_) => None,
    }
}

/// Says that a spec is not accepted.
pub(super) fn speak_rejection(
    rejection: &Rejection,
    spec_revision: Option<i64>,
    status: &mut PruningRunStatus,
    now: Timestamp,
) {
    use ConditionStatus::{False, Unknown};
    revise(status, spec_revision);
    status.stage = Some(REJECTED.to_owned());
    let say = |type_, holds, message: &str| Finding {
        type_,
        status: holds,
        reason: rejection.reason,
        message: message.to_owned(),
    };
    let findings = [
        say(ConditionType::Accepted, False, &rejection.message),
        say(
            ConditionType::Progressing,
            False,
            "the spec is not accepted",
        ),
        say(
            ConditionType::Succeeded,
            Unknown,
            "the spec is not accepted",
        ),
    ];
    for finding in findings {
        conditions::set(&mut status.conditions, bounded(finding), spec_revision, now);
    }
}

fn stage(run: &ValidatedRun, step: &Step<'_>, current: Option<TaskKind>) -> Stage {
    match step {
        Step::Finish => Stage::Succeeded,
        Step::Fail(..) => Stage::Failed,
        Step::Rest(_) => Stage::Suspended,
        Step::Watch(_) | Step::Start(_) if run.suspend => Stage::Suspended,
        Step::Start(new) if new.key.task == TaskKind::Prepare => Stage::Pending,
        Step::Watch(job) if job.key.task == TaskKind::Prepare && job.state == JobState::Pending => {
            Stage::Pending
        }
        Step::Watch(job) => stage_of(current.unwrap_or(job.key.task)),
        Step::Start(new) => stage_of(new.key.task),
    }
}

const fn stage_of(task: TaskKind) -> Stage {
    match task {
        TaskKind::Prepare => Stage::Preparing,
        TaskKind::BuildDatabase => Stage::BuildingDatabase,
        TaskKind::Search => Stage::Searching,
        TaskKind::Evaluate => Stage::Evaluating,
        TaskKind::Export => Stage::Exporting,
    }
}

const fn reason_of(task: TaskKind) -> Reason {
    match task {
        TaskKind::Prepare => Reason::Preparing,
        TaskKind::BuildDatabase => Reason::BuildingDatabase,
        TaskKind::Search => Reason::Searching,
        TaskKind::Evaluate => Reason::Evaluating,
        TaskKind::Export => Reason::Exporting,
    }
}

/// Done of all: generations once there are any, else whatever the task counts.
fn progress(
    run: &ValidatedRun,
    step: &Step<'_>,
    current: Option<TaskKind>,
    status: &PruningRunStatus,
) -> Option<String> {
    let generations = |generation| format!("{generation}/{}", run.generations);
    match (current, step) {
        (None | Some(TaskKind::Search), _) => Some(generations(
            status.search.as_ref().map_or(0, |search| search.generation),
        )),
        (Some(_), Step::Watch(job)) => {
            let progress = job.report.as_ref()?.progress.as_ref()?;
            Some(format!("{}/{}", progress.done, progress.total))
        }
        (Some(_), _) => None,
    }
}

fn findings(
    run: &ValidatedRun,
    step: &Step<'_>,
    current: Option<TaskKind>,
    status: &PruningRunStatus,
) -> Vec<Finding> {
    let mut findings = vec![accepted(step)];
    for task in run.chain.iter().map(Task::kind) {
        findings.push(of_task(task, step, current, status));
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

/// A spec is accepted, unless its store turns out to belong to another search.
fn accepted(step: &Step<'_>) -> Finding {
    match step {
        Step::Fail(
            _,
            Failure {
                reason: Reason::StoreInUse,
                message,
                ..
            },
        ) => say(
            ConditionType::Accepted,
            ConditionStatus::False,
            Reason::StoreInUse,
            message,
        ),
        _ => say(
            ConditionType::Accepted,
            ConditionStatus::True,
            Reason::Valid,
            "",
        ),
    }
}

fn of_task(
    task: TaskKind,
    step: &Step<'_>,
    current: Option<TaskKind>,
    status: &PruningRunStatus,
) -> Finding {
    let type_ = done_condition(task);
    if let Some(known) = conditions::get(&status.conditions, type_)
        && known.status == ConditionStatus::True.as_str()
    {
        let reason = known.reason.parse().unwrap_or(Reason::Complete);
        return say(type_, ConditionStatus::True, reason, &known.message);
    }
    match step {
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
    }
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
        Step::Watch(job) if run.suspend && job.state == JobState::Suspended => {
            say(False, Reason::Suspended, "the run is suspended")
        }
        Step::Watch(_) if run.suspend => say(
            False,
            Reason::Suspending,
            "the run is suspended, its workers are leaving",
        ),
        Step::Start(new) => say(True, Reason::Starting, &format!("{} starts", new.key.task)),
        Step::Watch(job) => watched(job),
    }
}

/// How a live Job is doing.
fn watched(job: &ObservedJob) -> Finding {
    use ConditionStatus::{False, True};
    let say =
        |status, reason, message: &str| say(ConditionType::Progressing, status, reason, message);
    let (active, ready) = match job.state {
        JobState::Running { active, ready } => (active, ready),
        JobState::Pending | JobState::Suspended => (0, 0),
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
                &format!("{active} {workers} at work"),
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
        Step::Watch(_) | Step::Start(_) | Step::Rest(_) => {
            say(type_, Unknown, Reason::InProgress, "")
        }
    }
}

/// Keeps a message within bounds, at a character's boundary.
fn bounded(mut finding: Finding) -> Finding {
    if finding.message.len() > MESSAGE_BYTES {
        let mut keep = MESSAGE_BYTES;
        while !finding.message.is_char_boundary(keep) {
            keep -= 1;
        }
        finding.message.truncate(keep);
    }
    finding
}
