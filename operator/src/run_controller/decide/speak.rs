//! What a run says of itself: stage, progress and conditions.

mod findings;

use darwinlm_api::conditions::{self, ConditionStatus, ConditionType, Finding, Reason};
use darwinlm_api::{PruningRunStatus, Stage};
use darwinlm_task::TaskKind;
use k8s_openapi::jiff::Timestamp;

use super::Ended;
use super::objection::Objection;
use super::step::{Step, current_task};
use crate::run_controller::observed::{JobState, Waiting};
use crate::run_controller::validate::{Rejection, ValidatedRun};
use findings::{findings, suspended};

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
    objection: Option<&Objection>,
    not_bound: Option<&Waiting>,
    status: &mut PruningRunStatus,
    now: Timestamp,
) -> Option<Ended> {
    let current = current_task(run, status);
    status.observed_generation = run.spec_revision;
    status.stage = Some(stage(run, step, current).to_string());
    status.progress = progress(run, step, current, status);
    for finding in findings(run, step, objection, not_bound, current, status) {
        conditions::set(
            &mut status.conditions,
            bounded(finding),
            run.spec_revision,
            now,
        );
    }
    match step {
        Step::Finish | Step::Fail(..) => ended(status),
        Step::Watch(_) | Step::Start(_) | Step::Rest(_) | Step::Hold(..) | Step::Await(..) => None,
    }
}

/// Says that a spec is not accepted.
pub(super) fn speak_rejection(
    rejection: &Rejection,
    suspend: bool,
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
    for finding in findings.into_iter().chain([suspended(suspend)]) {
        conditions::set(&mut status.conditions, bounded(finding), spec_revision, now);
    }
}

fn stage(run: &ValidatedRun, step: &Step<'_>, current: Option<TaskKind>) -> Stage {
    match step {
        Step::Finish => Stage::Succeeded,
        Step::Fail(..) => Stage::Failed,
        Step::Rest(_) => Stage::Suspended,
        Step::Watch(_) | Step::Start(_) if run.suspend => Stage::Suspended,
        Step::Watch(job) if job.state == JobState::Queued => Stage::Queued,
        Step::Start(new) if new.key.task == TaskKind::Prepare => Stage::Pending,
        Step::Hold(TaskKind::Prepare, _) | Step::Await(TaskKind::Prepare, _) => Stage::Pending,
        Step::Watch(job) if job.key.task == TaskKind::Prepare && job.state == JobState::Pending => {
            Stage::Pending
        }
        Step::Watch(job) => stage_of(current.unwrap_or(job.key.task)),
        Step::Start(new) => stage_of(new.key.task),
        Step::Hold(task, _) | Step::Await(task, _) => stage_of(*task),
    }
}

const fn stage_of(task: TaskKind) -> Stage {
    match task {
        TaskKind::Prepare => Stage::Preparing,
        TaskKind::Measure => Stage::Measuring,
        TaskKind::BuildDatabase => Stage::BuildingDatabase,
        TaskKind::Search => Stage::Searching,
        TaskKind::PostTrain => Stage::PostTraining,
        TaskKind::Evaluate => Stage::Evaluating,
        TaskKind::Export => Stage::Exporting,
        TaskKind::CleanUp => Stage::CleaningUp,
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
