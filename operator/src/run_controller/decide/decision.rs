//! What to do next for a run, and what to say of it.

use std::time::Duration;

use darwinlm_api::PruningRunStatus;
use darwinlm_api::conditions::Reason;
use darwinlm_task::TaskSpec;

use crate::names::JobKey;
use crate::run_controller::made_from::MadeFrom;

/// What to do next. The same observation gives the same decision; once its actions are carried out
/// and its status is written, the next one has no actions but [`Action::Delete`].
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// Steps to carry out in this order; each may be repeated without harm.
    pub actions: Vec<Action>,
    /// The whole status to write: stage, progress, every condition with its time and
    /// `observedGeneration`, and everything that reports said and that must outlive their Jobs.
    /// Equal to the observed status when nothing changed, so that no write is needed.
    pub status: PruningRunStatus,
    /// When to look again if nothing happens; `None` when only a change can matter.
    pub requeue_after: Option<Duration>,
    /// How the run ended, if it has.
    pub ended: Option<Ended>,
}

/// One step. None of them touches the store: data is never deleted.
#[derive(Clone, Debug, PartialEq)]
#[expect(
    clippy::large_enum_variant,
    reason = "a decision holds a handful of them"
)]
pub enum Action {
    /// Make a Job. If one of this name exists and belongs to this run, that is the one.
    Create(NewJob),
    /// Let a Job hold no workers.
    Suspend(JobKey),
    /// Let a Job have its workers again.
    Resume(JobKey),
    /// Remove a Job that waits or works in a queue, with its workers: only Kueue may suspend it. Work
    /// goes on from the store with a Job of the same attempt.
    Withdraw(JobKey),
    /// Change how many workers a Job has.
    SetParallelism {
        /// The Job.
        job: JobKey,
        /// Workers, at least 1.
        workers: u32,
    },
    /// Remove a finished search Job: a run of many short Jobs keeps only the last few of them.
    /// Decided only when the *observed* status already remembers what the Job said. Or a finished
    /// Job of the survivor of a search that a raised budget has opened again; a live one is withdrawn.
    Delete(JobKey),
}

/// A Job to make.
#[derive(Clone, Debug, PartialEq)]
pub struct NewJob {
    /// Which one: gives its name and labels.
    pub key: JobKey,
    /// Workers, at least 1; more than 1 only where [`darwinlm_task::TaskKind::is_work_queue`].
    pub workers: u32,
    /// What its workers are told, in `DARWINLM_TASK`.
    pub task: TaskSpec,
    /// What it is made from: stays with it, and is seen on it.
    pub made_from: MadeFrom,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Every task of its chain is done.
    Succeeded,
    /// A task failed for good.
    Failed {
        /// The reason of `Succeeded=False`.
        reason: Reason,
        /// One sentence: which task, what was found, where, what would be accepted.
        message: String,
    },
}
