//! What there is of a run: its Jobs and claims as they stand, and what its own status remembers.

use std::collections::{BTreeMap, BTreeSet};

use darwinlm_api::PruningRunStatus;
use darwinlm_task::{Outcome, TaskKind, TaskReport};

use super::made_from::MadeFrom;
use crate::names::JobKey;

/// What a backend sees of a run. Jobs in the cluster and groups of processes on one machine are
/// turned into the same thing, so that one state machine serves both.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Observed {
    /// Every Job of this run that exists, in any order; found by label and owner, not by memory.
    pub jobs: Vec<ObservedJob>,
    /// The run's claims by name, where somebody looked at them: see
    /// [`asks_for_claims`](super::decide::asks_for_claims). Empty on one machine.
    pub claims: BTreeMap<String, ObservedClaim>,
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
    /// Why a worker cannot start, in the words of scheduler, kubelet, API server or queue.
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
    /// Told to hold no workers (`spec.suspend`); some may still be leaving.
    Suspended,
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
}

/// Why a worker cannot start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// The reason for the `Progressing` condition.
    pub reason: darwinlm_api::conditions::Reason,
    /// In the words of whoever makes it wait.
    pub message: String,
}

impl ObservedJob {
    /// Whether the Job holds workers, or may come to: the next Job must wait.
    pub fn is_live(&self) -> bool {
        match self.state {
            JobState::Pending
            | JobState::Running { .. }
            | JobState::Suspended
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
