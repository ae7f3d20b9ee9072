//! What there is of a run: its Jobs and claims as they stand, and what its own status remembers.

use std::collections::{BTreeMap, BTreeSet};

use darwinlm_api::{PruningRunStatus, conditions::Stall};
use darwinlm_task::{ExitCode, Outcome, TaskKind, TaskReport};

use super::{made_from::MadeFrom, said::bounded, seen::Seen};
use crate::names::JobKey;

/// Longest sentence of a condition before its remedy.
const SENTENCE_BYTES: usize = 736;

/// What a backend sees of a run. Jobs in the cluster and groups of processes on one machine are
/// turned into the same thing, so that one state machine serves both.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Observed {
    /// Every Job of this run that exists, in any order; found by label and owner, not by memory.
    pub jobs: Vec<ObservedJob>,
    /// The run's claims by name, where somebody looked at them: see
    /// [`asks_for_claims`](super::decide::asks_for_claims). Empty on one machine.
    pub claims: BTreeMap<String, ObservedClaim>,
    /// Whether a worker at work could be asked.
    pub was_heard: bool,
    /// A worker that still works for a Job that is gone, by its name.
    pub stray: Option<String>,
    /// What was seen of it in the cluster, for the next look; nothing on one machine.
    pub seen: Seen,
    /// The run's status as this operator wrote it last: what is remembered when Jobs are gone.
    /// Default for a run that was never looked at.
    pub status: PruningRunStatus,
}

/// A persistent volume claim in the run's namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ObservedClaim {
    /// There is none of this name.
    Missing,
    /// It is there.
    Found {
        /// In Kubernetes' words, as `ReadWriteOnce`: what it asks for and what its volume gives.
        access_modes: BTreeSet<String>,
        /// Why it has no volume, in the words of its phase and of who should give it one; `None`
        /// once it has one.
        unbound: Option<String>,
    },
}

/// One Job.
#[derive(Clone, Debug, PartialEq)]
pub struct ObservedJob {
    /// Which one; read from its labels ([`JobKey::from_labels`]).
    pub key: JobKey,
    /// How it stands.
    pub state: JobState,
    /// Workers it asks for at present (`spec.parallelism`).
    pub parallelism: u32,
    /// The queue that it waits in, by its label: then its `suspend` and its size are Kueue's.
    pub queue: Option<String>,
    /// What it was made from; nothing for a Job that does not say.
    pub made_from: MadeFrom,
    /// Whether it is on its way out (`metadata.deletionTimestamp`): its pods may still run.
    pub deleting: bool,
    /// What its workers say: a final report that says `Done` if there is one, else one that failed
    /// with a final exit code, else the newest from `/progress`, else another final report that
    /// says `Failed`: a worker that was only stopped does not silence those at work.
    /// A report of another run (`runUid`), another task, or one that cannot be read is none.
    pub report: Option<TaskReport>,
    /// How workers ended that did not succeed, newest first; a bounded number of them.
    pub exits: Vec<WorkerExit>,
    /// Why a worker cannot start, does not leave or gets no further: of several causes the
    /// weightiest.
    pub waiting: Option<Waiting>,
    /// What its workers hold or held, where the task needs a device; nothing on one machine.
    pub held: Vec<Held>,
}

/// What a worker holds, or held until it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// The worker, by the start of its pod's UID.
    pub worker: String,
    /// Whether it has ended.
    pub is_over: bool,
    /// Device seconds from its pod's way onto a node to its process's start.
    pub starting_seconds: i64,
    /// Device seconds in all, up to now if it has not ended.
    pub seconds: i64,
}

/// How a Job stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JobState {
    /// Made; no worker has started.
    Pending,
    /// Workers run.
    Running {
        /// Workers that exist.
        active: u32,
        /// Workers that are ready.
        ready: u32,
    },
    /// Told by us to hold no workers (`spec.suspend`); some may still be leaving.
    Suspended,
    /// Told so by somebody else, whose it is to resume; some workers may still be leaving.
    SuspendedByOthers,
    /// Held back by its queue, which suspends and resumes it; workers may still be leaving.
    Queued,
    /// Over: a worker succeeded and none is left.
    Complete,
    /// Over: given up.
    Failed {
        /// The Job's own word, as `BackoffLimitExceeded` or `PodFailurePolicy`.
        reason: String,
        /// The Job's own sentence.
        message: String,
    },
}

/// How a worker ended that did not succeed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerExit {
    /// The worker: a pod's name, or a local process's.
    pub worker: String,
    /// Its exit code; `None` when it was killed by a signal or lost with its node.
    pub code: Option<i32>,
    /// What it or its platform said last, as `OOMKilled`; may be empty.
    pub message: String,
    /// What it is a sign of.
    pub stall: Stall,
}

/// What an exit code is a sign of; `None` is a signal.
pub fn sign_of_exit(code: Option<i32>) -> Stall {
    match code.and_then(ExitCode::from_code) {
        Some(ExitCode::OutOfMemory) => Stall::DeviceOutOfMemory,
        Some(ExitCode::BadData) => Stall::BadData,
        Some(ExitCode::InputMissing) => Stall::InputMissing,
        Some(ExitCode::StoreUnavailable) => Stall::StoreUnavailable,
        Some(ExitCode::TryAgain) => Stall::Interrupted,
        Some(ExitCode::PermissionDenied) => Stall::PermissionDenied,
        Some(ExitCode::BadSpec) => Stall::InvalidSpec,
        Some(ExitCode::Done | ExitCode::Usage | ExitCode::Bug) | None => Stall::WorkerFailing,
    }
}

/// Why a worker cannot start, does not leave or gets no further.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// The cause: gives reason and remedy.
    pub stall: Stall,
    /// One sentence in the words of whoever makes it wait: scheduler, kubelet, API server, queue.
    pub words: String,
}

impl Waiting {
    /// What the condition says: the sentence, then what to do about it, which is never cut off.
    pub fn message(&self) -> String {
        let words = bounded(self.words.trim(), SENTENCE_BYTES).trim_end_matches('.');
        format!("{words}. Remedy: {}", self.stall.remedy())
    }
}

impl JobState {
    /// Whether it is told to hold no workers, by whomever but a queue.
    pub const fn is_suspended(&self) -> bool {
        matches!(self, Self::Suspended | Self::SuspendedByOthers)
    }
}

impl ObservedJob {
    /// Whether the Job holds workers, or may come to: the next Job must wait.
    pub fn is_live(&self) -> bool {
        match self.state {
            JobState::Pending
            | JobState::Running { .. }
            | JobState::Suspended
            | JobState::SuspendedByOthers
            | JobState::Queued => true,
            JobState::Complete | JobState::Failed { .. } => false,
        }
    }

    /// Whether its own report says that the whole task is done.
    pub fn says_done(&self) -> bool {
        self.report
            .as_ref()
            .is_some_and(|report| match report.outcome {
                Outcome::Done | Outcome::BudgetSpent => true,
                Outcome::Running | Outcome::Failed { .. } => false,
            })
    }

    /// Generations in the ledger as its report says; 0 without one.
    pub fn generation(&self) -> u32 {
        self.report
            .as_ref()
            .and_then(|report| report.search.as_ref())
            .map_or(0, |search| search.generation)
    }
}

impl Observed {
    /// The Jobs of one task.
    pub fn jobs_of(&self, task: TaskKind) -> impl Iterator<Item = &ObservedJob> {
        self.jobs.iter().filter(move |job| job.key.task == task)
    }

    /// The Jobs that are still live, the eldest first. There is one at most, unless somebody else
    /// made Jobs under our labels.
    pub fn live_jobs(&self) -> Vec<&ObservedJob> {
        let mut live: Vec<_> = self.jobs.iter().filter(|job| job.is_live()).collect();
        live.sort_by_key(|job| job.key);
        live
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_remedy_is_never_cut_off() {
        for stall in Stall::ALL {
            let waiting = Waiting {
                stall: *stall,
                words: "because ".repeat(1000),
            };
            let message = waiting.message();
            assert!(message.ends_with(stall.remedy()), "{stall:?}");
            assert!(message.len() <= 1024, "{stall:?}: {}", message.len());
        }
    }
}
