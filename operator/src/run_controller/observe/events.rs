//! Client: what others say of an object in events, where they say it nowhere else.

use std::collections::BTreeMap;

use k8s_openapi::{api::events::v1::Event, jiff::Timestamp};
use kube::{Api, Client, api::ListParams};

use darwinlm_api::conditions::Stall;

use crate::run_controller::{observed::Waiting, refusal::refusal, said::said};

/// Events of one object that are read at most; the API server keeps them for an hour.
const EVENTS: u32 = 100;
/// What tells that a pod's start goes on, so that older complaints are over.
const GOES_ON: [&str; 5] = [
    "SuccessfulAttachVolume",
    "Pulling",
    "Pulled",
    "Created",
    "Started",
];

/// One event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) at: Timestamp,
    pub(super) by: String,
    pub(super) reason: String,
    pub(super) note: String,
}

/// Events, newest first, by the UID of their object.
pub(super) type Events = BTreeMap<String, Vec<Said>>;

/// What is said of the object with this UID, newest first. Nothing where the operator may not read
/// events, or they cannot be read now: they explain, and decide nothing.
pub(super) async fn said_of(client: &Client, namespace: &str, uid: &str) -> Vec<Said> {
    let api = Api::<Event>::namespaced(client.clone(), namespace);
    let of_object = ListParams::default()
        .fields(&format!("regarding.uid={uid}"))
        .limit(EVENTS);
    match api.list(&of_object).await {
        Ok(list) => newest_first(list.items),
        Err(error) => {
            tracing::debug!(uid, %error, "events cannot be read");
            Vec::new()
        }
    }
}

fn newest_first(events: Vec<Event>) -> Vec<Said> {
    let mut said: Vec<_> = events.into_iter().map(told).collect();
    said.sort_by_key(|said| std::cmp::Reverse(said.at));
    said
}

/// Older reporters fill in other fields than newer ones.
fn told(event: Event) -> Said {
    let series = event.series.map(|series| series.last_observed_time.0);
    let deprecated = event.deprecated_last_timestamp.map(|time| time.0);
    let first = event.event_time.map(|time| time.0);
    let component = event.deprecated_source.and_then(|source| source.component);
    let reporter = event.reporting_controller.filter(|name| !name.is_empty());
    Said {
        at: series
            .or(deprecated)
            .or(first)
            .unwrap_or(Timestamp::UNIX_EPOCH),
        by: reporter.or(component).unwrap_or_default(),
        reason: event.reason.unwrap_or_default(),
        note: event.note.unwrap_or_default(),
    }
}

/// Why the Job controller could not make a pod the last time that it tried.
pub(super) fn no_pod(job: &str, events: &[Said]) -> Option<Waiting> {
    let newest = events
        .iter()
        .find(|said| ["FailedCreate", "SuccessfulCreate"].contains(&said.reason.as_str()))?;
    (newest.reason == "FailedCreate").then(|| Waiting {
        stall: refusal(&newest.note, Stall::PodRefused),
        words: format!("Job {job} cannot make a pod: {}", said(&newest.note)),
    })
}

/// What an autoscaler says of a pod that the scheduler has no node for.
pub(super) fn autoscaler(events: &[Said]) -> Option<String> {
    let newest = events.iter().find(|said| said.by != "default-scheduler")?;
    Some(format!("{}: {}", newest.by, said(&newest.note)))
}

/// Why a pod that has a node does not start: its volumes, its network, its runtime.
pub(super) fn no_start(pod: &str, events: &[Said]) -> Option<Waiting> {
    let stall = |said: &Said| match said.reason.as_str() {
        "FailedMount" if is_reference(&said.note) => Some(Stall::SecretNotFound),
        "FailedMount" | "FailedAttachVolume" | "FailedMapVolume" => Some(Stall::VolumeNotMounted),
        "FailedCreatePodSandBox" | "NetworkNotReady" => Some(Stall::SandboxNotMade),
        _ => None,
    };
    events
        .iter()
        .take_while(|said| !GOES_ON.contains(&said.reason.as_str()))
        .find_map(|event| {
            Some(Waiting {
                stall: stall(event)?,
                words: format!("pod {pod}: {}", said(&event.note)),
            })
        })
}

/// Whether the kubelet misses a Secret or a ConfigMap, or a key in it.
pub(super) fn is_reference(words: &str) -> bool {
    let lower = words.to_lowercase();
    let names_one = lower.contains("secret") || lower.contains("configmap");
    names_one && (lower.contains("not found") || lower.contains("couldn't find key"))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn event(reason: &str, note: &str, at: &str) -> Value {
        json!({"metadata": {}, "reason": reason, "note": note, "eventTime": null,
            "deprecatedLastTimestamp": at, "deprecatedSource": {"component": "kubelet"}})
    }

    fn heard(events: Vec<Value>) -> Vec<Said> {
        let events = events
            .into_iter()
            .map(|event| serde_json::from_value(event).unwrap());
        newest_first(events.collect())
    }

    #[test]
    fn the_newest_word_on_pods_of_a_job_counts() {
        let failed = event(
            "FailedCreate",
            "Error creating: pods \"p\" is forbidden: exceeded quota: small",
            "2026-01-01T11:00:00Z",
        );
        let created = event("SuccessfulCreate", "Created pod: p", "2026-01-01T11:30:00Z");
        let waiting = no_pod("j", &heard(vec![failed.clone()])).unwrap();
        assert_eq!(waiting.stall, Stall::QuotaExceeded);
        assert!(waiting.words.contains("Job j") && waiting.words.contains("quota: small"));
        assert_eq!(no_pod("j", &heard(vec![failed, created])), None);
        assert_eq!(no_pod("j", &[]), None);
    }

    #[test]
    fn a_complaint_of_the_kubelet_is_over_when_the_start_goes_on() {
        let mount = event(
            "FailedMount",
            "MountVolume.SetUp failed for volume \"store\" : timed out",
            "2026-01-01T11:00:00Z",
        );
        let pulling = event("Pulling", "Pulling image \"i\"", "2026-01-01T11:01:00Z");
        let waiting = no_start("p", &heard(vec![mount.clone()])).unwrap();
        assert_eq!(waiting.stall, Stall::VolumeNotMounted);
        assert_eq!(no_start("p", &heard(vec![mount, pulling])), None);
        for (reason, note, expected) in [
            (
                "FailedMount",
                "MountVolume.SetUp failed for volume \"ca\" : configmap \"ca\" not found",
                Stall::SecretNotFound,
            ),
            (
                "FailedAttachVolume",
                "Multi-Attach error for volume \"pvc-1\"",
                Stall::VolumeNotMounted,
            ),
            (
                "FailedCreatePodSandBox",
                "no runtime for \"gvisor\" is configured",
                Stall::SandboxNotMade,
            ),
        ] {
            let events = heard(vec![event(reason, note, "2026-01-01T11:00:00Z")]);
            assert_eq!(no_start("p", &events).unwrap().stall, expected, "{note}");
        }
    }

    #[test]
    fn an_autoscaler_is_heard_beside_the_scheduler() {
        let scheduler = json!({"metadata": {}, "reason": "FailedScheduling", "note": "0/3 nodes",
            "eventTime": "2026-01-01T11:00:05.000000Z", "reportingController": "default-scheduler"});
        let scaler = json!({"metadata": {}, "reason": "NotTriggerScaleUp",
            "note": "pod didn't trigger scale-up: 1 max node group size reached", "eventTime": null,
            "deprecatedLastTimestamp": "2026-01-01T11:00:00Z", "reportingController": "",
            "deprecatedSource": {"component": "cluster-autoscaler"}});
        assert_eq!(autoscaler(&heard(vec![scheduler.clone()])), None);
        assert_eq!(
            autoscaler(&heard(vec![scheduler, scaler])).unwrap(),
            "cluster-autoscaler: pod didn't trigger scale-up: 1 max node group size reached"
        );
    }
}
