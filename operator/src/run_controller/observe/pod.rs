//! What one pod says: whether it works, why it waits, how it ended.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use darwinlm_api::conditions::Reason;
use darwinlm_task::Outcome;
use k8s_openapi::{
    api::core::v1::{ContainerStateTerminated, ContainerStatus, Pod},
    jiff::{SignedDuration, Timestamp},
};
use kube::ResourceExt;

use super::report;
use crate::run_controller::{
    build::CONTAINER,
    devices::devices,
    observed::{Held, Waiting, WorkerExit},
};

/// How long a pod may be leaving beyond its grace before its node counts as lost.
const LOST: SignedDuration = SignedDuration::from_mins(5);
/// Longest words of a container that stand in a condition.
const WORDS_BYTES: usize = 512;

fn phase(pod: &Pod) -> &str {
    pod.status
        .as_ref()
        .and_then(|status| status.phase.as_deref())
        .unwrap_or("Pending")
}

fn worker(pod: &Pod) -> Option<&ContainerStatus> {
    let statuses = pod.status.as_ref()?.container_statuses.as_ref()?;
    statuses.iter().find(|status| status.name == CONTAINER)
}

fn terminated(pod: &Pod) -> Option<&ContainerStateTerminated> {
    let status = worker(pod)?;
    let now = status
        .state
        .as_ref()
        .and_then(|state| state.terminated.as_ref());
    let before = status
        .last_state
        .as_ref()
        .and_then(|state| state.terminated.as_ref());
    now.or(before)
}

fn condition<'a>(
    pod: &'a Pod,
    type_: &str,
) -> Option<&'a k8s_openapi::api::core::v1::PodCondition> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    conditions.iter().find(|condition| condition.type_ == type_)
}

/// Whether it holds or asks for a node.
pub(super) fn is_active(pod: &Pod) -> bool {
    !matches!(phase(pod), "Succeeded" | "Failed")
}

/// Whether its worker runs and is not leaving.
pub(super) fn is_at_work(pod: &Pod) -> bool {
    is_active(pod)
        && pod.metadata.deletion_timestamp.is_none()
        && condition(pod, "Ready").is_some_and(|ready| ready.status == "True")
}

/// Whether its worker runs or has run.
pub(super) fn has_started(pod: &Pod) -> bool {
    !is_active(pod)
        || terminated(pod).is_some()
        || worker(pod)
            .and_then(|status| status.state.as_ref())
            .is_some_and(|state| state.running.is_some())
}

/// Where its server listens.
pub(super) fn address(pod: &Pod, port: u16) -> Option<SocketAddr> {
    let address: IpAddr = pod.status.as_ref()?.pod_ip.as_deref()?.parse().ok()?;
    Some(SocketAddr::new(address, port))
}

/// What its worker left when it ended.
pub(super) fn final_message(pod: &Pod) -> Option<&str> {
    terminated(pod)?.message.as_deref()
}

/// What it holds, from the moment it has a node: its devices are nobody else's from then on.
pub(super) fn held(pod: &Pod, now: Timestamp) -> Option<Held> {
    let scheduled = condition(pod, "PodScheduled").filter(|is| is.status == "True")?;
    let scheduled = scheduled.last_transition_time.as_ref()?.0;
    let ended = match terminated(pod) {
        Some(ended) => ended.finished_at.as_ref().map(|time| time.0),
        None => last_change(pod),
    };
    let ended = ended.filter(|_| !is_active(pod));
    let until = ended.unwrap_or(now).max(scheduled);
    let started = started(pod).unwrap_or(until).clamp(scheduled, until);
    let spec = pod.spec.as_ref()?;
    let claims = spec.resource_claims.as_ref().map_or(0, Vec::len);
    let limits = spec
        .containers
        .iter()
        .filter(|container| container.name == CONTAINER)
        .find_map(|container| container.resources.as_ref()?.limits.as_ref());
    let none = BTreeMap::new();
    let devices = i64::from(devices(limits.unwrap_or(&none), claims));
    let seconds = |from: Timestamp, to: Timestamp| devices * to.duration_since(from).as_secs();
    Some(Held {
        worker: short(pod.metadata.uid.as_deref()?),
        is_over: !is_active(pod),
        starting_seconds: seconds(scheduled, started),
        seconds: seconds(scheduled, until),
    })
}

/// Enough of a UID to tell the pods of one run apart.
fn short(uid: &str) -> String {
    uid.chars().take(8).collect()
}

/// When its worker's process started.
fn started(pod: &Pod) -> Option<Timestamp> {
    let state = worker(pod)?.state.as_ref()?;
    let running = state.running.as_ref().and_then(|is| is.started_at.as_ref());
    let ended = terminated(pod).and_then(|was| was.started_at.as_ref());
    running.or(ended).map(|time| time.0)
}

/// When something last happened to a pod whose container left no word, as on a node that was lost.
fn last_change(pod: &Pod) -> Option<Timestamp> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    let times = conditions
        .iter()
        .filter_map(|is| is.last_transition_time.as_ref());
    times.map(|time| time.0).max()
}

/// Why it has not started, or does not leave.
pub(super) fn waiting(pod: &Pod, now: Timestamp) -> Option<Waiting> {
    if !is_active(pod) {
        return None;
    }
    let name = pod.name_any();
    let node = pod
        .spec
        .as_ref()
        .and_then(|spec| spec.node_name.as_deref())
        .unwrap_or("its node");
    // The time of deletion already lies at the end of the grace period.
    if let Some(leaving) = &pod.metadata.deletion_timestamp
        && now.duration_since(leaving.0) > LOST
    {
        return Some(Waiting {
            reason: Reason::NodeLost,
            message: format!(
                "pod {name} should have left {node} at {}; its replacement waits for it",
                leaving.0
            ),
        });
    }
    if let Some(scheduled) = condition(pod, "PodScheduled")
        && scheduled.status == "False"
    {
        let words = scheduled.message.as_deref().or(scheduled.reason.as_deref());
        return Some(Waiting {
            reason: Reason::Unschedulable,
            message: format!("pod {name}: {}", bounded(words.unwrap_or("no node yet"))),
        });
    }
    let state = worker(pod)?.state.as_ref()?.waiting.as_ref()?;
    let word = state.reason.as_deref()?;
    let words = bounded(state.message.as_deref().unwrap_or_default());
    Some(Waiting {
        reason: waiting_reason(word)?,
        message: format!("pod {name} on {node}: {word}: {words}"),
    })
}

/// The API's word for the kubelet's; `None` while a pod is only on its way.
fn waiting_reason(word: &str) -> Option<Reason> {
    match word {
        "ErrImagePull"
        | "ImagePullBackOff"
        | "InvalidImageName"
        | "ErrImageNeverPull"
        | "ImageInspectError"
        | "RegistryUnavailable"
        | "SignatureValidationFailed" => Some(Reason::ImagePull),
        "CreateContainerConfigError"
        | "CreateContainerError"
        | "RunContainerError"
        | "CreatePodSandboxError" => Some(Reason::PodRefused),
        _ => None,
    }
}

/// How it ended, with the time, if it did not succeed.
pub(super) fn exit(pod: &Pod) -> Option<(Timestamp, WorkerExit)> {
    if phase(pod) == "Succeeded" || (is_active(pod) && terminated(pod).is_none()) {
        return None;
    }
    let terminated = terminated(pod);
    if terminated.is_some_and(|ended| ended.exit_code == 0) {
        return None;
    }
    // Above 128 the number is a signal's.
    let code = terminated
        .filter(|ended| ended.signal.is_none() && (1..=128).contains(&ended.exit_code))
        .map(|ended| ended.exit_code);
    let time = terminated
        .and_then(|ended| ended.finished_at.as_ref())
        .or(pod.metadata.creation_timestamp.as_ref())
        .map_or(Timestamp::UNIX_EPOCH, |time| time.0);
    let exit = WorkerExit {
        worker: pod.name_any(),
        code,
        message: bounded(&last_words(pod, terminated)).to_owned(),
    };
    Some((time, exit))
}

/// What it said itself, else what the kubelet or the node's controller said of it.
fn last_words(pod: &Pod, terminated: Option<&ContainerStateTerminated>) -> String {
    if let Some(report) = terminated.and_then(|ended| report::read(ended.message.as_deref()?))
        && let Outcome::Failed {
            reason, message, ..
        } = report.outcome
    {
        return format!("{reason}: {message}");
    }
    let status = pod.status.as_ref();
    let disruption = condition(pod, "DisruptionTarget");
    let words = [
        terminated
            .and_then(|ended| ended.reason.as_deref())
            .filter(|word| *word != "Error"),
        terminated.and_then(|ended| ended.message.as_deref()),
        status.and_then(|status| status.reason.as_deref()),
        status.and_then(|status| status.message.as_deref()),
        disruption.and_then(|condition| condition.message.as_deref()),
    ];
    words
        .into_iter()
        .flatten()
        .map(str::trim)
        .collect::<Vec<_>>()
        .join(": ")
}

fn bounded(words: &str) -> &str {
    let mut keep = words.len().min(WORDS_BYTES);
    while !words.is_char_boundary(keep) {
        keep -= 1;
    }
    &words[..keep]
}
