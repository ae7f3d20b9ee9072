//! One Job with its pods, as the state machine sees it.

use darwinlm_api::conditions::Stall;
use darwinlm_task::RunIdentity;
use k8s_openapi::{
    api::{batch::v1::Job, core::v1::Pod},
    jiff::{SignedDuration, Timestamp},
};
use kube::ResourceExt;

use super::{
    events::{self, Events, Said},
    pod, report,
};
use crate::{
    names::{ANNOTATION_SUSPENDED, JobKey},
    run_controller::{
        made_from::MadeFrom,
        observed::{JobState, ObservedJob, Waiting, WorkerExit},
        queue,
    },
};

/// Exits that are kept, newest first: a run that is evicted for weeks has thousands.
const EXITS: usize = 10;
/// A Job without a pod is waited for so long before that is worth a word.
const NO_POD: SignedDuration = SignedDuration::from_secs(30);
/// A pod of a suspended Job is told to leave within this time.
const STAY: SignedDuration = SignedDuration::from_mins(1);

/// What pods and events are looked at with.
pub(super) struct Seen<'a> {
    pub(super) identity: &'a RunIdentity,
    pub(super) events: &'a Events,
    /// Since when the user has wanted the run to rest.
    pub(super) suspended_since: Option<Timestamp>,
    pub(super) now: Timestamp,
}

impl Seen<'_> {
    fn events_of(&self, object: &impl ResourceExt) -> &[Said] {
        let uid = object.uid().unwrap_or_default();
        self.events.get(&uid).map_or(&[], Vec::as_slice)
    }
}

/// Puts a Job and its own pods together. Pure.
pub(super) fn observed(key: JobKey, job: &Job, pods: &[&Pod], seen: &Seen<'_>) -> ObservedJob {
    let Seen { identity, now, .. } = *seen;
    let state = state(job, pods);
    let of_pods = pods
        .iter()
        .filter_map(|pod| pod::waiting(pod, seen.events_of(*pod), now));
    let waiting = match state {
        JobState::Pending | JobState::Running { .. } => of_pods
            .chain(no_pod(job, pods, seen))
            .chain(deleted(job, now))
            .min_by_key(|waiting| waiting.stall),
        JobState::SuspendedByOthers => Some(Waiting {
            stall: Stall::JobSuspended,
            words: format!("somebody has suspended Job {}", job.name_any()),
        }),
        JobState::Suspended => of_pods
            .filter(|waiting| waiting.stall == Stall::NodeLost)
            .chain(stays(job, pods, seen))
            .min_by_key(|waiting| waiting.stall),
        // What Kueue says of a Job is asked for where there is a client.
        JobState::Queued | JobState::Complete | JobState::Failed { .. } => None,
    };
    let reports: Vec<_> = pods
        .iter()
        .filter_map(|pod| pod::final_message(pod))
        .filter_map(report::read)
        .filter(|report| report::is_of(report, identity, key.task))
        .collect();
    let held = pods.iter().filter_map(|pod| pod::held(pod, now));
    ObservedJob {
        key,
        state,
        parallelism: parallelism(job),
        queue: job.labels().get(queue::LABEL).cloned(),
        made_from: MadeFrom::from_annotations(job.annotations()),
        deleting: job.metadata.deletion_timestamp.is_some(),
        report: report::of_all(reports),
        exits: exits(pods),
        waiting,
        held: held.filter(|_| key.task.needs_device()).collect(),
    }
}

fn parallelism(job: &Job) -> u32 {
    let asked = job
        .spec
        .as_ref()
        .and_then(|spec| spec.parallelism)
        .unwrap_or(1);
    u32::try_from(asked).unwrap_or(0)
}

/// Whether it has ended: it is told so after its pods have.
pub(super) fn has_ended(job: &Job) -> bool {
    matches!(
        state(job, &[]),
        JobState::Complete | JobState::Failed { .. }
    )
}

fn state(job: &Job, pods: &[&Pod]) -> JobState {
    let conditions = job
        .status
        .as_ref()
        .and_then(|status| status.conditions.as_deref());
    for condition in conditions
        .unwrap_or_default()
        .iter()
        .filter(|c| c.status == "True")
    {
        match condition.type_.as_str() {
            "Complete" => return JobState::Complete,
            "Failed" => {
                return JobState::Failed {
                    reason: condition.reason.clone().unwrap_or_default(),
                    message: condition.message.clone().unwrap_or_default(),
                };
            }
            // FailureTarget and SuccessCriteriaMet: decided, but workers are still leaving.
            _ => {}
        }
    }
    if job.spec.as_ref().and_then(|spec| spec.suspend) == Some(true) {
        return if job.labels().contains_key(queue::LABEL) {
            JobState::Queued
        } else if job.annotations().contains_key(ANNOTATION_SUSPENDED) {
            JobState::Suspended
        } else {
            JobState::SuspendedByOthers
        };
    }
    if !pods.iter().any(|pod| pod::has_started(pod)) {
        return JobState::Pending;
    }
    let count = |is: fn(&Pod) -> bool| {
        let number = pods.iter().filter(|pod| is(pod)).count();
        u32::try_from(number).unwrap_or(u32::MAX)
    };
    JobState::Running {
        active: count(pod::is_active),
        ready: count(pod::is_at_work),
    }
}

/// Whether the Job controller should have made another pod by now.
pub(super) fn lacks_pods(job: &Job, pods: &[&Pod], now: Timestamp) -> bool {
    let status = job.status.as_ref();
    let started = status.and_then(|status| status.start_time.as_ref());
    let Some(since) = started.or(job.metadata.creation_timestamp.as_ref()) else {
        return false;
    };
    let conditions = status.and_then(|status| status.conditions.as_deref());
    // FailureTarget and SuccessCriteriaMet, too: what is decided needs no more pods.
    let is_decided = conditions
        .unwrap_or_default()
        .iter()
        .any(|c| c.status == "True" && c.type_ != "Suspended");
    let has_succeeded = pods.iter().any(|pod| pod::has_succeeded(pod));
    let active = pods.iter().filter(|pod| pod::is_active(pod)).count();
    !is_decided
        && !has_succeeded
        && now.duration_since(since.0) > NO_POD
        && u32::try_from(active).unwrap_or(u32::MAX) < parallelism(job)
}

/// What the Job controller cannot make it says in events alone.
fn no_pod(job: &Job, pods: &[&Pod], seen: &Seen<'_>) -> Option<Waiting> {
    if !lacks_pods(job, pods, seen.now) {
        return None;
    }
    let name = job.name_any();
    let has_looked = job.status.as_ref().is_some_and(|s| s.start_time.is_some());
    events::no_pod(&name, seen.events_of(job)).or_else(|| {
        pods.is_empty().then(|| Waiting {
            stall: Stall::PodsNotCreated,
            words: if has_looked {
                format!("Job {name} has no pod, and its events do not say why")
            } else {
                format!("no controller has looked at Job {name} since it was made")
            },
        })
    })
}

/// Deleted, a Job is gone as soon as its pods are, unless somebody holds it.
fn deleted(job: &Job, now: Timestamp) -> Option<Waiting> {
    let leaving = job.metadata.deletion_timestamp.as_ref()?;
    (now.duration_since(leaving.0) > NO_POD).then(|| Waiting {
        stall: Stall::JobDeleted,
        words: format!(
            "Job {} was deleted at {} and is not gone",
            job.name_any(),
            leaving.0
        ),
    })
}

/// A suspended Job's pods are deleted at once: the Job controller does it.
fn stays(job: &Job, pods: &[&Pod], seen: &Seen<'_>) -> Option<Waiting> {
    let since = seen.suspended_since?;
    let stays = pods
        .iter()
        .filter(|pod| pod::is_active(pod))
        .find(|pod| pod.metadata.deletion_timestamp.is_none())?;
    (seen.now.duration_since(since) > STAY).then(|| Waiting {
        stall: Stall::WorkersStay,
        words: format!(
            "Job {} has been suspended since {since}, and its pod {} was not told to leave",
            job.name_any(),
            stays.name_any()
        ),
    })
}

fn exits(pods: &[&Pod]) -> Vec<WorkerExit> {
    let mut exits: Vec<_> = pods.iter().filter_map(|pod| pod::exit(pod)).collect();
    exits.sort_by(|(a, _), (b, _)| b.cmp(a));
    exits
        .into_iter()
        .take(EXITS)
        .map(|(_, exit)| exit)
        .collect()
}
