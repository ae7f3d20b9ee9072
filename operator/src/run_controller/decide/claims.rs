//! Claims that a run cannot work with: missing ones, and those that its workers cannot share.

use darwinlm_api::PruningRunStatus;
use darwinlm_api::conditions::{Reason, Stall};
use darwinlm_task::{Task, TaskKind};

use super::objection::Objection;
use super::speak;
use super::step::is_done;
use crate::run_controller::observed::{Observed, ObservedClaim, ObservedJob, Waiting};
use crate::run_controller::validate::{ClaimUse, ValidatedRun};

/// Access modes of a claim that pods on several nodes may write to.
const WRITABLE: &[&str] = &["ReadWriteMany"];
/// Access modes of a claim that pods on several nodes may read.
const READABLE: &[&str] = &["ReadWriteMany", "ReadOnlyMany"];

/// Whether what comes next depends on the run's claims: a Job is to be made, or to grow, or its pods
/// wait and a claim may be why. While workers are at work their claims are there, so that nobody
/// needs to ask for them again.
pub fn asks_for_claims(run: &ValidatedRun, observed: &Observed) -> bool {
    if run.claims.is_empty() || speak::ended(&observed.status).is_some() {
        return false;
    }
    match observed.live_jobs().first() {
        None => true,
        Some(job) => {
            let workers = run.workers(job.key.task);
            // Kueue alone makes a Job in a queue grow.
            let may_grow = job.queue.is_none() && job.key.task.is_work_queue();
            may_wait_for_a_claim(job) || may_grow && workers > job.parallelism
        }
    }
}

/// The scheduler says that a claim has no volume, but not which or why; the kubelet says nothing.
fn may_wait_for_a_claim(job: &ObservedJob) -> bool {
    let stall = job.waiting.as_ref().map(|waiting| waiting.stall);
    matches!(
        stall,
        Some(Stall::Unschedulable | Stall::VolumeNotMounted | Stall::PodNotStarted)
    )
}

/// The first claim without a volume, where that may be what a Job's pods wait for.
pub(super) fn not_bound(run: &ValidatedRun, observed: &Observed) -> Option<Waiting> {
    let live = observed.live_jobs();
    let job = live.first().filter(|job| may_wait_for_a_claim(job))?;
    let waiting = job.waiting.as_ref()?;
    run.claims.iter().find_map(|(claim, usage)| {
        let Some(ObservedClaim::Found {
            unbound: Some(words),
            ..
        }) = observed.claims.get(claim)
        else {
            return None;
        };
        let ClaimUse { field, .. } = usage;
        Some(Waiting {
            stall: Stall::ClaimNotBound,
            words: format!(
                "{field} names the claim {claim:?}, which is {words}; {}",
                waiting.words
            ),
        })
    })
}

/// The first claim that is missing, else the first that several workers cannot share. A claim that
/// nobody could look at is neither.
pub(super) fn objection(
    run: &ValidatedRun,
    observed: &Observed,
    status: &PruningRunStatus,
) -> Option<Objection> {
    let found = |(claim, usage): (&String, &ClaimUse)| {
        let found = observed.claims.get(claim)?;
        Some((claim.clone(), usage.clone(), found.clone()))
    };
    let claims: Vec<_> = run.claims.iter().filter_map(found).collect();
    let missing = claims
        .iter()
        .find(|(_, _, found)| *found == ObservedClaim::Missing)
        .map(|(claim, usage, _)| missing(run, claim, usage));
    missing.or_else(|| {
        let several = several_workers(run, status)?;
        claims
            .iter()
            .find_map(|(claim, usage, found)| not_shared(claim, usage, found, &several))
    })
}

fn missing(run: &ValidatedRun, claim: &str, usage: &ClaimUse) -> Objection {
    let ClaimUse { field, .. } = usage;
    let namespace = &run.identity.namespace;
    Objection {
        reason: Reason::ReferenceNotFound,
        message: format!(
            "{field} names the claim {claim:?}, and namespace {namespace} has none of this name; \
             the run goes on once it is there"
        ),
        holds_back: true,
    }
}

fn not_shared(
    claim: &str,
    usage: &ClaimUse,
    found: &ObservedClaim,
    several: &str,
) -> Option<Objection> {
    let ObservedClaim::Found { access_modes, .. } = found else {
        return None;
    };
    let ClaimUse { field, is_written } = usage;
    let accepted = if *is_written { WRITABLE } else { READABLE };
    if accepted.iter().any(|mode| access_modes.contains(*mode)) {
        return None;
    }
    let modes: Vec<_> = access_modes.iter().map(String::as_str).collect();
    Some(Objection {
        reason: Reason::VolumeNotShared,
        message: format!(
            "{field} names the claim {claim:?}, which is {}, and {several}; several workers share \
             a claim that is {}: replace it by such a claim, or ask for 1 worker",
            modes.join(" and "),
            accepted.join(" or ")
        ),
        holds_back: true,
    })
}

/// The fields that ask for several workers of a task that is not done yet, in words.
fn several_workers(run: &ValidatedRun, status: &PruningRunStatus) -> Option<String> {
    let field = |task| match task {
        TaskKind::BuildDatabase => Some("spec.pruning.workers"),
        TaskKind::Search => Some("spec.search.workers"),
        TaskKind::Prepare
        | TaskKind::Measure
        | TaskKind::PostTrain
        | TaskKind::Evaluate
        | TaskKind::Export
        | TaskKind::CleanUp => None,
    };
    let asked: Vec<_> = run
        .chain
        .iter()
        .map(Task::kind)
        .filter(|task| !is_done(*task, status))
        .filter_map(|task| Some((field(task)?, run.workers(task))))
        .filter(|(_, workers)| *workers > 1)
        .map(|(field, workers)| format!("{field} is {workers}"))
        .collect();
    (!asked.is_empty()).then(|| asked.join(" and "))
}
