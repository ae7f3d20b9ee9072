//! One Job with its pods, as the state machine sees it.

use darwinlm_api::conditions::Reason;
use darwinlm_task::RunIdentity;
use k8s_openapi::{
    api::{batch::v1::Job, core::v1::Pod},
    jiff::{SignedDuration, Timestamp},
};
use kube::ResourceExt;

use super::{pod, report};
use crate::{
    names::JobKey,
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

/// Puts a Job and its own pods together. Pure.
pub(super) fn observed(
    key: JobKey,
    job: &Job,
    pods: &[&Pod],
    identity: &RunIdentity,
    now: Timestamp,
) -> ObservedJob {
    let state = state(job, pods);
    let waiting = match state {
        JobState::Pending | JobState::Running { .. } => pods
            .iter()
            .find_map(|pod| pod::waiting(pod, now))
            .or_else(|| no_pod(job, pods, now)),
        // What Kueue says of a Job is asked for where there is a client.
        JobState::Suspended | JobState::Queued | JobState::Complete | JobState::Failed { .. } => {
            None
        }
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
        return match job.labels().contains_key(queue::LABEL) {
            true => JobState::Queued,
            false => JobState::Suspended,
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

/// What the Job controller cannot make it says in events alone, which the operator does not read.
fn no_pod(job: &Job, pods: &[&Pod], now: Timestamp) -> Option<Waiting> {
    let started = job
        .status
        .as_ref()
        .and_then(|status| status.start_time.as_ref())?;
    let name = job.metadata.name.as_deref().unwrap_or_default();
    (pods.is_empty() && now.duration_since(started.0) > NO_POD).then(|| Waiting {
        reason: Reason::PodRefused,
        message: format!(
            "Job {name} has no pod yet; its events say why (kubectl describe job {name}), as a \
             quota or an admission rule"
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
