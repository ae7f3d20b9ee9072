//! What one pod says: whether it works, why it waits, how it ended.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use darwinlm_api::conditions::Stall;
use darwinlm_task::{ExitCode, Outcome};
use k8s_openapi::{
    api::core::v1::{ContainerStateTerminated, ContainerStatus, Pod, PodCondition},
    jiff::{SignedDuration, Timestamp},
};
use kube::ResourceExt;

use super::{
    events::{self, Said},
    report,
};
use crate::run_controller::{
    build::CONTAINER,
    devices::devices,
    observed::{Held, Waiting, WorkerExit, sign_of_exit},
    said::said,
};

/// How long a pod may be leaving beyond its grace before its node counts as lost.
const LOST: SignedDuration = SignedDuration::from_mins(5);
/// How long a node may be silent before that is worth a word.
const UNREACHABLE: SignedDuration = SignedDuration::from_mins(1);
/// How long a scheduler and a kubelet may say nothing of a pod before somebody else is asked.
const SILENT: SignedDuration = SignedDuration::from_secs(30);
/// How long a pod that has a node may take to start when nobody says why.
const NOT_STARTED: SignedDuration = SignedDuration::from_mins(5);

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

fn condition<'a>(pod: &'a Pod, type_: &str) -> Option<&'a PodCondition> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    conditions.iter().find(|condition| condition.type_ == type_)
}

/// For how long a condition has stood as it stands; from the pod's making where it does not say.
fn lasts(pod: &Pod, condition: Option<&PodCondition>, now: Timestamp) -> SignedDuration {
    let since = condition.and_then(|condition| condition.last_transition_time.as_ref());
    let since = since.or(pod.metadata.creation_timestamp.as_ref());
    since.map_or(SignedDuration::ZERO, |since| now.duration_since(since.0))
}

fn node(pod: &Pod) -> &str {
    let spec = pod.spec.as_ref();
    let name = spec.and_then(|spec| spec.node_name.as_deref());
    name.unwrap_or("its node")
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

/// Whether its worker ended well.
pub(super) fn has_succeeded(pod: &Pod) -> bool {
    phase(pod) == "Succeeded"
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

/// When its worker started.
pub(super) fn started_at(pod: &Pod) -> Option<Timestamp> {
    let running = worker(pod)?.state.as_ref()?.running.as_ref()?;
    Some(running.started_at.as_ref()?.0)
}

/// Whether only events can say why it does not start: those of the autoscaler, and what the kubelet
/// says of volumes and networks.
pub(super) fn is_silent(pod: &Pod, now: Timestamp) -> bool {
    is_active(pod)
        && pod.metadata.deletion_timestamp.is_none()
        && !has_started(pod)
        && kubelets_words(pod).is_none()
        && lasts(pod, condition(pod, "PodScheduled"), now) > SILENT
}

/// Why it has not started, or does not leave; `events` are those of the pod, newest first.
pub(super) fn waiting(pod: &Pod, events: &[Said], now: Timestamp) -> Option<Waiting> {
    if !is_active(pod) {
        return None;
    }
    if let Some(leaving) = &pod.metadata.deletion_timestamp {
        // The time of deletion already lies at the end of the grace period.
        return (now.duration_since(leaving.0) > LOST).then(|| lost(pod, leaving.0));
    }
    if has_started(pod) {
        return unreachable(pod, now);
    }
    match condition(pod, "PodScheduled") {
        Some(scheduled) if scheduled.status == "True" => not_started(pod, scheduled, events, now),
        Some(scheduled) => Some(not_scheduled(pod, scheduled, events)),
        None if kubelets_words(pod).is_some() => kubelets_words(pod),
        None => (lasts(pod, None, now) > SILENT).then(|| Waiting {
            stall: Stall::SchedulerSilent,
            words: format!("no scheduler has looked at pod {}", pod.name_any()),
        }),
    }
}

fn lost(pod: &Pod, leaving: Timestamp) -> Waiting {
    let (name, node) = (pod.name_any(), node(pod));
    Waiting {
        stall: Stall::NodeLost,
        words: format!(
            "pod {name} should have left {node} at {leaving}; its replacement waits for it"
        ),
    }
}

/// A worker is ready as soon as it runs: it stops being so only when its node falls silent.
fn unreachable(pod: &Pod, now: Timestamp) -> Option<Waiting> {
    let ready = condition(pod, "Ready").filter(|ready| ready.status != "True")?;
    let is_running = terminated(pod).is_none() && phase(pod) == "Running";
    (is_running && lasts(pod, Some(ready), now) > UNREACHABLE).then(|| Waiting {
        stall: Stall::NodeUnreachable,
        words: format!(
            "{} does not answer, and pod {} is on it",
            node(pod),
            pod.name_any()
        ),
    })
}

fn not_scheduled(pod: &Pod, scheduled: &PodCondition, events: &[Said]) -> Waiting {
    let stall = match scheduled.reason.as_deref() {
        Some("SchedulingGated") => Stall::SchedulingGated,
        _ => Stall::Unschedulable,
    };
    let words = scheduled.message.as_deref().or(scheduled.reason.as_deref());
    let words = said(words.unwrap_or("no node yet"));
    let name = pod.name_any();
    let words = match events::autoscaler(events) {
        Some(autoscaler) => format!("pod {name}: {words} {autoscaler}"),
        None => format!("pod {name}: {words}"),
    };
    Waiting { stall, words }
}

fn not_started(
    pod: &Pod,
    scheduled: &PodCondition,
    events: &[Said],
    now: Timestamp,
) -> Option<Waiting> {
    let (name, node) = (pod.name_any(), node(pod));
    kubelets_words(pod)
        .or_else(|| events::no_start(&format!("{name} on {node}"), events))
        .or_else(|| {
            let newest = events.first().map_or(String::new(), |newest| {
                format!(": {}: {}", newest.reason, said(&newest.note))
            });
            (lasts(pod, Some(scheduled), now) > NOT_STARTED).then(|| Waiting {
                stall: Stall::PodNotStarted,
                words: format!(
                    "pod {name} has had {node} for 5 minutes and has not started{newest}"
                ),
            })
        })
}

/// What the kubelet says of a container that cannot start; also of one that others add to the pod.
fn kubelets_words(pod: &Pod) -> Option<Waiting> {
    let status = pod.status.as_ref()?;
    let inits = status.init_container_statuses.iter().flatten();
    let containers = status.container_statuses.iter().flatten();
    containers.chain(inits).find_map(|container| {
        let waiting = container.state.as_ref()?.waiting.as_ref()?;
        let word = waiting.reason.as_deref()?;
        let words = waiting.message.as_deref().unwrap_or_default();
        let words = format!(
            "pod {} on {}: {word}: {}",
            pod.name_any(),
            node(pod),
            said(words)
        );
        let stall = stall_of(word, waiting.message.as_deref().unwrap_or_default())?;
        Some(Waiting { stall, words })
    })
}

/// The cause that the kubelet's word tells; `None` while a container is only on its way.
fn stall_of(word: &str, message: &str) -> Option<Stall> {
    match word {
        "InvalidImageName" => Some(Stall::InvalidImageName),
        "ErrImageNeverPull" => Some(Stall::ImageNotOnNode),
        "ErrImagePull"
        | "ImagePullBackOff"
        | "ImageInspectError"
        | "RegistryUnavailable"
        | "SignatureValidationFailed" => Some(Stall::ImagePull),
        "CreateContainerConfigError" if events::is_reference(message) => {
            Some(Stall::SecretNotFound)
        }
        "CreateContainerConfigError" => Some(Stall::ContainerRefused),
        "CreateContainerError" | "RunContainerError" | "StartError" | "CrashLoopBackOff" => {
            Some(Stall::ContainerNotRun)
        }
        "CreatePodSandboxError" => Some(Stall::SandboxNotMade),
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
        message: said(&last_words(pod, terminated)),
        stall: sign(pod, terminated, code),
    };
    Some((time, exit))
}

/// What the end of a worker is a sign of.
fn sign(pod: &Pod, terminated: Option<&ContainerStateTerminated>, code: Option<i32>) -> Stall {
    match terminated.and_then(|ended| ended.reason.as_deref()) {
        Some("OOMKilled") => return Stall::ContainerOutOfMemory,
        Some("StartError" | "ContainerCannotRun") => return Stall::ContainerNotRun,
        _ => {}
    }
    let is_final = code
        .and_then(ExitCode::from_code)
        .is_some_and(ExitCode::is_final);
    // A worker that says that its spec is wrong is right about it on a node that is drained, too.
    if disruption(pod).is_some() && !is_final {
        return Stall::Interrupted;
    }
    sign_of_exit(code)
}

/// Who took the pod's place, and why.
fn disruption(pod: &Pod) -> Option<&PodCondition> {
    condition(pod, "DisruptionTarget").filter(|disruption| disruption.status == "True")
}

/// What it said itself, and what the kubelet or the node's controller said of it.
fn last_words(pod: &Pod, terminated: Option<&ContainerStateTerminated>) -> String {
    let report = terminated.and_then(|ended| report::read(ended.message.as_deref()?));
    let told = match report.map(|report| report.outcome) {
        Some(Outcome::Failed {
            reason, message, ..
        }) => Some(format!("{reason}: {message}")),
        Some(Outcome::Running | Outcome::Done | Outcome::BudgetSpent) | None => None,
    };
    let disruption = disruption(pod);
    let of_disruption = [
        disruption.and_then(|condition| condition.reason.as_deref()),
        disruption.and_then(|condition| condition.message.as_deref()),
    ];
    let words = match &told {
        Some(told) => vec![Some(told.as_str())],
        None => {
            let status = pod.status.as_ref();
            let reason = terminated.and_then(|ended| ended.reason.as_deref());
            vec![
                reason.filter(|word| *word != "Error"),
                terminated.and_then(|ended| ended.message.as_deref()),
                (reason == Some("OOMKilled"))
                    .then(|| memory_limit(pod))
                    .flatten(),
                status.and_then(|status| status.reason.as_deref()),
                status.and_then(|status| status.message.as_deref()),
            ]
        }
    };
    words
        .into_iter()
        .chain(of_disruption)
        .flatten()
        .map(str::trim)
        .collect::<Vec<_>>()
        .join(": ")
}

/// What its container may use of memory.
fn memory_limit(pod: &Pod) -> Option<&str> {
    let containers = &pod.spec.as_ref()?.containers;
    let worker = containers
        .iter()
        .find(|container| container.name == CONTAINER)?;
    let limits = worker.resources.as_ref()?.limits.as_ref()?;
    Some(&limits.get("memory")?.0)
}
