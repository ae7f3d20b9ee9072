//! Pure: what has changed between two statuses, as events tell it.

use darwinlm_api::{
    PruningRunStatus,
    conditions::{self, ConditionStatus, ConditionType, EventReason, Reason},
};
use darwinlm_task::TaskKind;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use crate::{
    names::JobKey,
    run_controller::{apply::Applied, decide::done_condition},
};

/// Longest note of an event (1 KiB is the API's limit).
const NOTE_BYTES: usize = 1000;

/// A change that an event tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// What has changed.
    pub what: What,
    /// The Job that it concerns.
    pub job: Option<JobKey>,
    note: String,
}

/// What an event tells of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// The spec is accepted.
    RunAccepted,
    /// The spec is not accepted.
    RunRejected,
    /// A Job was made.
    TaskStarted(TaskKind),
    /// A task is done.
    TaskDone(TaskKind),
    /// A generation is done: each one where a Job runs one, else when the survivor improves.
    GenerationDone,
    /// Nothing goes on; the condition Progressing has the reason.
    Stalled(Reason),
    /// The user suspended the run.
    RunSuspended,
    /// The user resumed the run.
    RunResumed,
    /// Every task is done.
    RunSucceeded,
    /// A task failed for good.
    RunFailed,
    /// The prefix of a deleted run was removed.
    CleanedUp,
    /// A deleted run leaves something behind in the store.
    LeftBehind,
}

impl Change {
    fn new(what: What, note: impl Into<String>) -> Self {
        Self {
            what,
            job: None,
            note: note.into(),
        }
    }

    /// The prefix of a deleted run was removed.
    pub fn cleaned_up(note: &str) -> Self {
        Self::new(What::CleanedUp, note)
    }

    /// A deleted run leaves something behind.
    pub fn left_behind(note: &str) -> Self {
        Self::new(What::LeftBehind, note)
    }

    /// The event's reason.
    pub const fn reason(&self) -> EventReason {
        match self.what {
            What::RunAccepted => EventReason::RunAccepted,
            What::RunRejected => EventReason::RunRejected,
            What::TaskStarted(_) => EventReason::TaskStarted,
            What::TaskDone(_) => EventReason::TaskDone,
            What::GenerationDone => EventReason::GenerationDone,
            What::Stalled(_) => EventReason::Stalled,
            What::RunSuspended => EventReason::RunSuspended,
            What::RunResumed => EventReason::RunResumed,
            What::RunSucceeded => EventReason::RunSucceeded,
            What::RunFailed => EventReason::RunFailed,
            What::CleanedUp => EventReason::CleanedUp,
            What::LeftBehind => EventReason::LeftBehind,
        }
    }

    /// The event's action: with the reason it decides which events are repeats of one another.
    pub fn action(&self) -> String {
        match self.what {
            What::RunAccepted | What::RunRejected => "Validate".to_owned(),
            What::TaskStarted(task) | What::TaskDone(task) => camel_case(task).to_owned(),
            What::GenerationDone => "Search".to_owned(),
            What::Stalled(reason) => reason.to_string(),
            What::RunSuspended | What::RunResumed => "Suspend".to_owned(),
            What::RunSucceeded | What::RunFailed => "Finish".to_owned(),
            What::CleanedUp | What::LeftBehind => "CleanUp".to_owned(),
        }
    }

    /// Whether somebody should do something about it; queues are there to wait in.
    pub const fn is_warning(&self) -> bool {
        self.reason().is_warning() && !matches!(self.what, What::Stalled(Reason::Queued))
    }

    /// The event's note, within the API's limit.
    pub fn note(&self) -> Option<String> {
        let mut keep = self.note.len().min(NOTE_BYTES);
        while !self.note.is_char_boundary(keep) {
            keep -= 1;
        }
        (keep > 0).then(|| self.note[..keep].to_owned())
    }
}

const fn camel_case(task: TaskKind) -> &'static str {
    match task {
        TaskKind::Prepare => "Prepare",
        TaskKind::Measure => "Measure",
        TaskKind::BuildDatabase => "BuildDatabase",
        TaskKind::Search => "Search",
        TaskKind::PostTrain => "PostTrain",
        TaskKind::Evaluate => "Evaluate",
        TaskKind::Export => "Export",
        TaskKind::CleanUp => "CleanUp",
    }
}

/// What has changed, in the order in which it happened.
///
/// `known` is what was written last, `new` what is written now; `own_job` is the Job of the last
/// generation where each has its own.
pub fn changes(
    known: &PruningRunStatus,
    new: &PruningRunStatus,
    applied: &Applied,
    own_job: Option<JobKey>,
) -> Vec<Change> {
    let mut changes = Vec::new();
    let turned = |type_| turned(known, new, type_);
    if let Some((holds, now)) = turned(ConditionType::Accepted) {
        changes.push(if holds {
            Change::new(What::RunAccepted, "the spec is accepted")
        } else {
            Change::new(What::RunRejected, now.message.as_str())
        });
    }
    match turned(ConditionType::Suspended) {
        Some((true, _)) => changes.push(Change::new(What::RunSuspended, "spec.suspend is true")),
        // False from the start is no change that anyone made.
        Some((false, _)) if conditions::is_true(&known.conditions, ConditionType::Suspended) => {
            changes.push(Change::new(What::RunResumed, "spec.suspend is false"));
        }
        Some((false, _)) | None => {}
    }
    changes.extend(generation_done(known, new, own_job));
    for task in TaskKind::ALL {
        if let Some((true, now)) = done_condition(task).and_then(turned) {
            let note = if now.reason == Reason::BudgetSpent.as_str() {
                format!("{task} ended: the GPU budget is spent")
            } else {
                format!("{task} is done")
            };
            changes.push(Change::new(What::TaskDone(task), note));
        }
    }
    for key in &applied.created {
        let note = format!("{} starts, attempt {}", key.task, key.attempt);
        changes.push(Change {
            job: Some(*key),
            ..Change::new(What::TaskStarted(key.task), note)
        });
    }
    changes.extend(stalled(known, new));
    if let Some((holds, now)) = turned(ConditionType::Succeeded) {
        let what = if holds {
            What::RunSucceeded
        } else {
            What::RunFailed
        };
        changes.push(Change::new(what, now.message.as_str()));
    }
    changes
}

/// A condition that has become True or False, with how it stands now.
fn turned<'a>(
    known: &PruningRunStatus,
    new: &'a PruningRunStatus,
    type_: ConditionType,
) -> Option<(bool, &'a Condition)> {
    let now = conditions::get(&new.conditions, type_)?;
    let before = conditions::get(&known.conditions, type_).map(|c| c.status.as_str());
    let known_now = now.status != ConditionStatus::Unknown.as_str();
    (known_now && before != Some(now.status.as_str()))
        .then(|| (now.status == ConditionStatus::True.as_str(), now))
}

fn generation_done(
    known: &PruningRunStatus,
    new: &PruningRunStatus,
    own_job: Option<JobKey>,
) -> Option<Change> {
    let search = new.search.as_ref()?;
    let before = known.search.as_ref();
    if search.generation <= before.map_or(0, |before| before.generation) {
        return None;
    }
    let survivor = search.survivor.as_ref()?;
    if own_job.is_some() {
        let note = format!(
            "generation {}: fitness {}, {} parameters",
            search.generation, survivor.fitness, survivor.parameters
        );
        return Some(Change {
            job: own_job,
            ..Change::new(What::GenerationDone, note)
        });
    }
    let known_genome = before
        .and_then(|before| before.survivor.as_ref())
        .map(|s| &s.genome);
    // Repeats of an event keep the first one's note, so it names no generation.
    let note = "the survivor is better than the last one; status.search has it";
    (known_genome != Some(&survivor.genome)).then(|| Change::new(What::GenerationDone, note))
}

/// Nothing goes on, for a reason that a person may do something about. What `Accepted` says too is
/// told by its own event.
fn stalled(known: &PruningRunStatus, new: &PruningRunStatus) -> Option<Change> {
    let reason = conditions::stalled(&new.conditions)?;
    let is_same = conditions::stalled(&known.conditions) == Some(reason);
    let accepted = conditions::get(&new.conditions, ConditionType::Accepted);
    let is_told = accepted.is_some_and(|accepted| accepted.reason == reason.as_str());
    if is_same || is_told {
        return None;
    }
    let now = conditions::get(&new.conditions, ConditionType::Progressing)?;
    Some(Change::new(What::Stalled(reason), now.message.as_str()))
}

#[cfg(test)]
mod tests {
    use darwinlm_api::{GenomeStatus, SearchStatus, Survivor, conditions::Finding};
    use k8s_openapi::jiff::Timestamp;

    use super::*;

    const KEY: JobKey = JobKey {
        task: TaskKind::Search,
        first_generation: 25,
        attempt: 2,
    };

    fn with(
        status: &PruningRunStatus,
        type_: ConditionType,
        holds: ConditionStatus,
        reason: Reason,
    ) -> PruningRunStatus {
        let mut status = status.clone();
        let message = "why".to_owned();
        let finding = Finding {
            type_,
            status: holds,
            reason,
            message,
        };
        conditions::set(
            &mut status.conditions,
            finding,
            Some(1),
            Timestamp::UNIX_EPOCH,
        );
        status
    }

    fn searched(generation: i32, levels: &str) -> PruningRunStatus {
        let genome = GenomeStatus {
            attention: levels.to_owned(),
            mlp: levels.to_owned(),
        };
        let survivor = Survivor {
            genome,
            fitness: "0.5".to_owned(),
            ..Survivor::default()
        };
        let search = SearchStatus {
            generation,
            survivor: Some(survivor),
            ..Default::default()
        };
        PruningRunStatus {
            search: Some(search),
            ..Default::default()
        }
    }

    fn reasons(
        known: &PruningRunStatus,
        new: &PruningRunStatus,
        every_generation: bool,
    ) -> Vec<&'static str> {
        let own_job = every_generation.then_some(KEY);
        let changes = changes(known, new, &Applied::default(), own_job);
        changes
            .iter()
            .map(|change| change.reason().as_str())
            .collect()
    }

    #[test]
    fn a_change_is_told_once() {
        use ConditionStatus::{False, True, Unknown};
        let new = PruningRunStatus::default();
        let accepted = with(&new, ConditionType::Accepted, True, Reason::Valid);
        let accepted = with(
            &accepted,
            ConditionType::Succeeded,
            Unknown,
            Reason::InProgress,
        );
        let accepted = with(
            &accepted,
            ConditionType::Suspended,
            False,
            Reason::NotSuspended,
        );
        assert_eq!(reasons(&new, &accepted, false), ["RunAccepted"]);
        assert!(reasons(&accepted, &accepted, false).is_empty());
        let done = with(&accepted, ConditionType::Prepared, True, Reason::Complete);
        assert_eq!(reasons(&accepted, &done, false), ["TaskDone"]);
        let failed = with(&done, ConditionType::Succeeded, False, Reason::BadData);
        assert_eq!(reasons(&done, &failed, false), ["RunFailed"]);
        assert!(reasons(&failed, &failed, false).is_empty());
    }

    #[test]
    fn suspending_and_resuming_are_told() {
        use ConditionStatus::{False, True};
        let running = with(
            &PruningRunStatus::default(),
            ConditionType::Suspended,
            False,
            Reason::NotSuspended,
        );
        let suspended = with(&running, ConditionType::Suspended, True, Reason::Suspended);
        assert_eq!(reasons(&running, &suspended, false), ["RunSuspended"]);
        assert_eq!(reasons(&suspended, &running, false), ["RunResumed"]);
    }

    #[test]
    fn a_stall_is_a_warning_and_its_end_is_silent() {
        use ConditionStatus::{False, True};
        let new = PruningRunStatus::default();
        let stalled = with(
            &new,
            ConditionType::Progressing,
            False,
            Reason::Unschedulable,
        );
        let told = changes(&new, &stalled, &Applied::default(), None);
        assert_eq!(told[0].reason(), EventReason::Stalled);
        assert_eq!(told[0].action(), "Unschedulable");
        assert!(told[0].is_warning());
        assert!(reasons(&stalled, &stalled, false).is_empty());
        let going = with(
            &stalled,
            ConditionType::Progressing,
            True,
            Reason::Searching,
        );
        assert!(reasons(&stalled, &going, false).is_empty());
        let finished = with(&going, ConditionType::Progressing, False, Reason::Finished);
        assert!(reasons(&going, &finished, false).is_empty());
    }

    #[test]
    fn a_generation_is_told_when_its_survivor_is_new_or_its_job_is_its_own() {
        let (fifth, same, better) = (searched(5, "12"), searched(6, "12"), searched(6, "21"));
        assert!(reasons(&fifth, &same, false).is_empty());
        assert_eq!(reasons(&fifth, &same, true), ["GenerationDone"]);
        assert_eq!(reasons(&fifth, &better, false), ["GenerationDone"]);
        assert!(reasons(&fifth, &searched(5, "21"), true).is_empty());
    }

    #[test]
    fn a_jobs_start_names_the_job() {
        let applied = Applied {
            created: vec![KEY],
            ..Applied::default()
        };
        let status = PruningRunStatus::default();
        let told = changes(&status, &status, &applied, None);
        assert_eq!(told[0].job, Some(KEY));
        assert_eq!(told[0].note().unwrap(), "search starts, attempt 2");
        assert!(!told[0].is_warning());
    }
}
