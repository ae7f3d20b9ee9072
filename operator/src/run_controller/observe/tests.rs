//! What is seen of Jobs and pods as an API server hands them out.

use darwinlm_api::conditions::{Reason, Stall};
use darwinlm_task::{Outcome, TaskKind};
use serde_json::{Value, json};

use super::events::Said;
use super::*;
use crate::run_controller::{
    made_from::{self, MadeFrom},
    observed::{Held, JobState},
};

const KEY: JobKey = JobKey {
    task: TaskKind::Search,
    first_generation: 0,
    attempt: 1,
};

fn identity() -> RunIdentity {
    RunIdentity {
        namespace: "ns".to_owned(),
        name: "demo".to_owned(),
        uid: "run-uid".to_owned(),
    }
}

fn now() -> Timestamp {
    "2026-01-01T12:00:00Z".parse().unwrap()
}

fn owner(kind: &str, name: &str, uid: &str) -> Value {
    json!([{"apiVersion": "x/v1", "kind": kind, "name": name, "uid": uid, "controller": true}])
}

fn job(spec: Value, status: Value) -> Job {
    serde_json::from_value(json!({
        "metadata": {
            "name": KEY.job_name("demo"), "namespace": "ns", "uid": "job-uid",
            "labels": KEY.labels("demo"), "ownerReferences": owner("PruningRun", "demo", "run-uid"),
        },
        "spec": spec, "status": status,
    }))
    .unwrap()
}

fn pod(name: &str, status: Value) -> Pod {
    serde_json::from_value(json!({
        "metadata": {
            "name": name, "namespace": "ns", "uid": name, "labels": KEY.labels("demo"),
            "ownerReferences": owner("Job", "demo-search-g0-a1", "job-uid"),
        },
        "spec": {"containers": [], "nodeName": "node-a"}, "status": status,
    }))
    .unwrap()
}

fn running(name: &str) -> Pod {
    let status = json!({
        "phase": "Running", "podIP": "10.0.0.1",
        "conditions": [{"type": "Ready", "status": "True"}],
        "containerStatuses": [container(json!({"running": {}}))],
    });
    pod(name, status)
}

fn container(state: Value) -> Value {
    json!({
        "name": "worker", "ready": false, "restartCount": 0, "image": "i", "imageID": "",
        "state": state,
    })
}

fn ended(name: &str, terminated: Value) -> Pod {
    let status = json!({
        "phase": "Failed",
        "containerStatuses": [container(json!({"terminated": terminated}))],
    });
    pod(name, status)
}

fn report(outcome: Outcome) -> TaskReport {
    TaskReport {
        outcome,
        ..TaskReport::running(&identity(), "w", TaskKind::Search)
    }
}

fn failed(code: u8, message: &str) -> TaskReport {
    let (reason, message) = ("Why".to_owned(), message.to_owned());
    report(Outcome::Failed {
        code,
        reason,
        message,
    })
}

fn seen(job: Job, pods: &[Pod]) -> crate::run_controller::observed::ObservedJob {
    seen_with(job, pods, &Events::new())
}

fn seen_with(
    job: Job,
    pods: &[Pod],
    events: &Events,
) -> crate::run_controller::observed::ObservedJob {
    let jobs = owned_jobs(vec![job], &identity());
    let status = PruningRunStatus::default();
    let observed = see(&jobs, pods, &identity(), status, events, now());
    observed.jobs.into_iter().next().unwrap()
}

/// One event on an object.
fn told(uid: &str, by: &str, reason: &str, note: &str) -> Events {
    let said = Said {
        at: now(),
        by: by.to_owned(),
        reason: reason.to_owned(),
        note: note.to_owned(),
    };
    Events::from([(uid.to_owned(), vec![said])])
}

#[test]
fn a_job_of_another_owner_is_not_seen() {
    let mut foreign = job(json!({}), json!({}));
    foreign.metadata.owner_references = None;
    assert!(owned_jobs(vec![foreign], &identity()).is_empty());
    let recreated = RunIdentity {
        uid: "newer".to_owned(),
        ..identity()
    };
    assert!(owned_jobs(vec![job(json!({}), json!({}))], &recreated).is_empty());
}

#[test]
fn a_job_says_what_it_was_made_from() {
    let run = include_str!("../../../tests/fixtures/cluster-run.yaml");
    let run: PruningRun = serde_saphyr::from_str(run).unwrap();
    let made = MadeFrom::spec(&run.spec).of_task(TaskKind::Search);
    let mut job = job(json!({}), json!({}));
    assert_eq!(seen(job.clone(), &[]).made_from, MadeFrom::default());
    let annotations = [(made_from::ANNOTATION.to_owned(), made.to_annotation())];
    job.metadata.annotations = Some(annotations.into());
    assert_eq!(seen(job, &[]).made_from, made);
}

#[test]
fn a_job_that_its_queue_holds_back_is_not_suspended_by_us() {
    let mut job = job(json!({"suspend": true}), json!({}));
    assert_eq!(seen(job.clone(), &[]).state, JobState::Suspended);
    let queue = ("kueue.x-k8s.io/queue-name".to_owned(), "gpus".to_owned());
    job.metadata.labels.get_or_insert_default().extend([queue]);
    let waits = seen(job.clone(), &[running("a")]);
    assert_eq!(
        (waits.state, waits.queue.as_deref()),
        (JobState::Queued, Some("gpus"))
    );
    job.spec.as_mut().unwrap().suspend = Some(false);
    let works = seen(job, &[running("a")]);
    assert_eq!(works.queue.as_deref(), Some("gpus"));
    assert!(matches!(works.state, JobState::Running { .. }));
}

#[test]
fn a_jobs_state_follows_its_conditions_its_spec_and_its_pods() {
    let is = |type_: &str| {
        json!({"conditions": [
        {"type": type_, "status": "True", "reason": "R", "message": "m"}]})
    };
    assert_eq!(
        seen(job(json!({}), json!({})), &[]).state,
        JobState::Pending
    );
    assert_eq!(
        seen(job(json!({"suspend": true}), json!({})), &[]).state,
        JobState::Suspended
    );
    assert_eq!(
        seen(job(json!({}), is("Complete")), &[]).state,
        JobState::Complete
    );
    let state = seen(job(json!({}), is("Failed")), &[]).state;
    assert_eq!(
        state,
        JobState::Failed {
            reason: "R".to_owned(),
            message: "m".to_owned()
        }
    );
    // Workers are still leaving: the next task must wait for their devices.
    let leaving = seen(job(json!({}), is("FailureTarget")), &[running("a")]).state;
    assert_eq!(
        leaving,
        JobState::Running {
            active: 1,
            ready: 1
        }
    );
}

#[test]
fn workers_are_counted_by_what_they_hold_and_by_what_they_do() {
    let pending = pod("b", json!({"phase": "Pending"}));
    let gone = ended("c", json!({"exitCode": 1}));
    let state = seen(
        job(json!({"parallelism": 3}), json!({})),
        &[running("a"), pending, gone],
    );
    assert_eq!(
        state.state,
        JobState::Running {
            active: 2,
            ready: 1
        }
    );
    assert_eq!(state.parallelism, 3);
}

#[test]
fn a_final_report_is_read_from_the_termination_message() {
    let done = report(Outcome::Done);
    let pods = [
        ended(
            "a",
            json!({"exitCode": 75, "message": failed(75, "stopped").to_json()}),
        ),
        ended("b", json!({"exitCode": 0, "message": done.to_json()})),
    ];
    assert_eq!(seen(job(json!({}), json!({})), &pods).report, Some(done));
}

#[test]
fn a_report_of_another_run_or_task_is_none() {
    let mut foreign = report(Outcome::Done);
    foreign.run_uid = "other".to_owned();
    let mut other_task = report(Outcome::Done);
    other_task.task = TaskKind::Prepare;
    for text in [
        foreign.to_json(),
        other_task.to_json(),
        "{}".to_owned(),
        "no".to_owned(),
    ] {
        let pods = [ended("a", json!({"exitCode": 0, "message": text}))];
        assert_eq!(seen(job(json!({}), json!({})), &pods).report, None);
    }
}

#[test]
fn exits_are_told_newest_first_in_the_workers_own_words() {
    let pods = [
        ended(
            "old",
            json!({"exitCode": 70, "finishedAt": "2026-01-01T10:00:00Z",
            "message": failed(70, "a trial raised").to_json()}),
        ),
        ended(
            "new",
            json!({"exitCode": 137, "reason": "OOMKilled",
            "finishedAt": "2026-01-01T11:00:00Z"}),
        ),
        ended(
            "fine",
            json!({"exitCode": 0, "finishedAt": "2026-01-01T11:30:00Z"}),
        ),
        pod(
            "evicted",
            json!({"phase": "Failed", "reason": "Evicted", "message": "disk"}),
        ),
    ];
    let exits = seen(job(json!({}), json!({})), &pods).exits;
    let told: Vec<_> = exits
        .iter()
        .map(|e| (e.worker.as_str(), e.code, e.message.as_str()))
        .collect();
    assert_eq!(
        told,
        [
            ("new", None, "OOMKilled"),
            ("old", Some(70), "Why: a trial raised"),
            ("evicted", None, "Evicted: disk"),
        ]
    );
}

#[test]
fn thousands_of_exits_are_bounded() {
    let pods: Vec<_> = (0..3000)
        .map(|n| ended(&format!("w{n}"), json!({"exitCode": 75})))
        .collect();
    assert_eq!(seen(job(json!({}), json!({})), &pods).exits.len(), 10);
}

/// A pod that the scheduler has a node for since long before [`now`].
fn scheduled(name: &str, since: &str, containers: Value) -> Pod {
    let status = json!({
        "phase": "Pending", "containerStatuses": containers,
        "conditions": [{"type": "PodScheduled", "status": "True", "lastTransitionTime": since}],
    });
    pod(name, status)
}

/// A pod whose container waits for what the kubelet says.
fn stopped(name: &str, word: &str, message: &str) -> Pod {
    let waiting = json!({"waiting": {"reason": word, "message": message}});
    scheduled(name, "2026-01-01T11:59:00Z", json!([container(waiting)]))
}

/// A pod that the scheduler does not place.
fn unplaced(name: &str, reason: &str, message: &str) -> Pod {
    let status = json!({"phase": "Pending", "conditions": [{"type": "PodScheduled",
        "status": "False", "reason": reason, "message": message,
        "lastTransitionTime": "2026-01-01T11:58:00Z"}]});
    pod(name, status)
}

/// The cause that is seen of a Job with this pod and these events, with its words.
fn cause(pods: &[Pod], events: &Events) -> Option<(Stall, String)> {
    let started = json!({"startTime": "2026-01-01T11:00:00Z"});
    let waiting = seen_with(job(json!({}), started), pods, events).waiting?;
    Some((waiting.stall, waiting.words))
}

#[test]
fn each_cause_is_told_in_the_words_of_who_makes_a_pod_wait() {
    let quiet = || scheduled("p", "2026-01-01T11:50:00Z", json!([]));
    let mut silent = running("p");
    silent.status.as_mut().unwrap().conditions = serde_json::from_value(json!([{"type": "Ready",
        "status": "False", "lastTransitionTime": "2026-01-01T11:58:00Z"}]))
    .unwrap();
    let mut unseen = pod("p", json!({"phase": "Pending"}));
    unseen.metadata.creation_timestamp =
        Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(
            "2026-01-01T11:59:00Z".parse().unwrap(),
        ));
    let none = Events::new;
    let of_job = |note: &str| told("job-uid", "job-controller", "FailedCreate", note);
    let of_pod = |reason: &str, note: &str| told("p", "kubelet", reason, note);
    let table: Vec<(Vec<Pod>, Events, Stall, &str)> = vec![
        (
            vec![unplaced(
                "p",
                "Unschedulable",
                "0/3 nodes are available: 3 Insufficient nvidia.com/gpu.",
            )],
            told(
                "p",
                "cluster-autoscaler",
                "NotTriggerScaleUp",
                "pod didn't trigger scale-up",
            ),
            Stall::Unschedulable,
            "pod p: 0/3 nodes are available: 3 Insufficient nvidia.com/gpu. cluster-autoscaler: pod didn't \
             trigger scale-up",
        ),
        (
            vec![unplaced(
                "p",
                "SchedulingGated",
                "Scheduling is blocked due to non-empty scheduling gates",
            )],
            none(),
            Stall::SchedulingGated,
            "non-empty scheduling gates",
        ),
        (
            vec![unseen],
            none(),
            Stall::SchedulerSilent,
            "no scheduler has looked at pod p",
        ),
        (
            vec![stopped(
                "p",
                "ImagePullBackOff",
                "Back-off pulling image \"runner:none\"",
            )],
            none(),
            Stall::ImagePull,
            "pod p on node-a: ImagePullBackOff: Back-off pulling image \"runner:none\"",
        ),
        (
            vec![stopped(
                "p",
                "ErrImagePull",
                "failed to pull and unpack image",
            )],
            none(),
            Stall::ImagePull,
            "ErrImagePull",
        ),
        (
            vec![stopped(
                "p",
                "InvalidImageName",
                "couldn't parse image name \"Runner\"",
            )],
            none(),
            Stall::InvalidImageName,
            "couldn't parse",
        ),
        (
            vec![stopped(
                "p",
                "ErrImageNeverPull",
                "Container image \"r\" is not present with pull policy of Never",
            )],
            none(),
            Stall::ImageNotOnNode,
            "is not present",
        ),
        (
            vec![stopped(
                "p",
                "CreateContainerConfigError",
                "secret \"s3\" not found",
            )],
            none(),
            Stall::SecretNotFound,
            "secret \"s3\" not found",
        ),
        (
            vec![stopped(
                "p",
                "CreateContainerConfigError",
                "couldn't find key token in Secret team/s3",
            )],
            none(),
            Stall::SecretNotFound,
            "couldn't find key token",
        ),
        (
            vec![stopped(
                "p",
                "CreateContainerConfigError",
                "container has runAsNonRoot and image will run as root",
            )],
            none(),
            Stall::ContainerRefused,
            "image will run as root",
        ),
        (
            vec![stopped(
                "p",
                "RunContainerError",
                "exec: \"darwinlm-runner\": executable file not found in $PATH",
            )],
            none(),
            Stall::ContainerNotRun,
            "executable file not found",
        ),
        (
            vec![quiet()],
            of_pod(
                "FailedCreatePodSandBox",
                "no runtime for \"gvisor\" is configured",
            ),
            Stall::SandboxNotMade,
            "no runtime for",
        ),
        (
            vec![quiet()],
            of_pod(
                "FailedAttachVolume",
                "Multi-Attach error for volume \"pvc-1\"",
            ),
            Stall::VolumeNotMounted,
            "pod p on node-a: Multi-Attach error",
        ),
        (
            vec![quiet()],
            of_pod(
                "FailedMount",
                "MountVolume.SetUp failed for volume \"pvc-1\" : timed out",
            ),
            Stall::VolumeNotMounted,
            "timed out",
        ),
        (
            vec![quiet()],
            of_pod("Pulling", "Pulling image \"runner:large\""),
            Stall::PodNotStarted,
            "has not started: Pulling: Pulling image \"runner:large\"",
        ),
        (
            vec![silent],
            none(),
            Stall::NodeUnreachable,
            "node-a does not answer, and pod p is on it",
        ),
        (
            vec![],
            of_job(
                "Error creating: pods \"p\" is forbidden: exceeded quota: small, requested: pods=1",
            ),
            Stall::QuotaExceeded,
            "Job demo-search-g0-a1 cannot make a pod: Error creating: pods \"p\" is forbidden: exceeded \
             quota: small",
        ),
        (
            vec![],
            of_job("violates PodSecurity \"restricted:latest\""),
            Stall::PodSecurity,
            "violates",
        ),
        (
            vec![],
            none(),
            Stall::PodsNotCreated,
            "has no pod, and its events do not say why",
        ),
    ];
    for (pods, events, stall, words) in table {
        let (found, said) =
            cause(&pods, &events).unwrap_or_else(|| panic!("{stall:?} is not seen"));
        assert_eq!(found, stall, "{said}");
        assert!(said.contains(words), "{stall:?}: {said:?} has no {words:?}");
    }
}

#[test]
fn what_is_only_on_its_way_is_no_cause() {
    for pods in [
        vec![stopped("p", "ContainerCreating", "")],
        vec![scheduled("p", "2026-01-01T11:57:00Z", json!([]))],
        vec![running("p")],
        vec![ended("p", json!({"exitCode": 0}))],
    ] {
        let pods: Vec<_> = pods;
        assert_eq!(cause(&pods, &Events::new()), None, "{pods:?}");
    }
}

#[test]
fn of_several_causes_the_weightiest_is_told_and_of_equals_the_first_pods() {
    let unplaced = |name| unplaced(name, "Unschedulable", "0/3 nodes are available");
    let pods = [
        unplaced("a"),
        stopped("b", "ImagePullBackOff", "words"),
        stopped("c", "ImagePullBackOff", "words"),
    ];
    let (stall, words) = cause(&pods, &Events::new()).unwrap();
    assert_eq!(stall, Stall::ImagePull);
    assert!(words.starts_with("pod b on node-a"), "{words}");
    let events = told(
        "job-uid",
        "job-controller",
        "FailedCreate",
        "exceeded quota: small",
    );
    let job = job(
        json!({"parallelism": 4}),
        json!({"startTime": "2026-01-01T11:00:00Z"}),
    );
    let waiting = seen_with(job, &pods, &events).waiting.unwrap();
    assert_eq!(waiting.stall, Stall::QuotaExceeded);
    // Once the cause is gone, so is the word.
    assert_eq!(cause(&[running("a")], &Events::new()), None);
}

#[test]
fn only_what_stands_still_in_silence_is_asked_for_its_events() {
    let asked = |job: Job, pods: &[Pod]| silent(&owned_jobs(vec![job], &identity()), pods, now());
    let old = || json!({"startTime": "2026-01-01T11:00:00Z"});
    assert_eq!(asked(job(json!({}), old()), &[]), ["job-uid"]);
    assert_eq!(asked(job(json!({"suspend": true}), old()), &[]), [""; 0]);
    let young = json!({"startTime": "2026-01-01T11:59:50Z"});
    assert_eq!(asked(job(json!({}), young), &[]), [""; 0]);
    assert_eq!(asked(job(json!({}), old()), &[running("a")]), [""; 0]);
    let loud = stopped("a", "ImagePullBackOff", "words");
    assert_eq!(asked(job(json!({}), old()), &[loud]), [""; 0]);
    let quiet = |name| scheduled(name, "2026-01-01T11:59:00Z", json!([]));
    let two = job(json!({"parallelism": 2}), old());
    assert_eq!(asked(two.clone(), &[quiet("a"), quiet("b")]), ["a"]);
    let unplaced = unplaced("b", "Unschedulable", "0/3 nodes are available");
    assert_eq!(asked(two.clone(), &[running("a"), unplaced]), ["b"]);
    assert_eq!(asked(two, &[running("a")]), ["job-uid"]);
    // A work queue whose first worker has succeeded makes no more pods.
    let over = [running("a"), pod("b", json!({"phase": "Succeeded"}))];
    assert_eq!(asked(job(json!({"parallelism": 3}), old()), &over), [""; 0]);
}

#[test]
fn the_end_of_a_worker_is_a_sign_of_its_cause() {
    let disrupted = |code: i32| {
        let mut pod = ended("w", json!({"exitCode": code}));
        pod.status.as_mut().unwrap().conditions = serde_json::from_value(json!([{
            "type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler",
            "message": "preempted by pod x"}]))
        .unwrap();
        pod
    };
    let killed = json!({"exitCode": 137, "reason": "OOMKilled"});
    let mut full = ended("w", killed);
    full.spec = serde_json::from_value(json!({"containers": [{"name": "worker",
        "resources": {"limits": {"memory": "6Gi"}}}]}))
    .unwrap();
    let told = |pod: Pod| {
        let exits = seen(job(json!({}), json!({})), &[pod]).exits;
        (exits[0].stall, exits[0].message.clone())
    };
    let exit = |code: i32| ended("w", json!({"exitCode": code}));
    let store = ended(
        "w",
        json!({"exitCode": 69, "message": failed(69, "no answer").to_json()}),
    );
    let start = json!({"exitCode": 128, "reason": "StartError", "message": "no such file"});
    let table = [
        (full, Stall::ContainerOutOfMemory, "OOMKilled: 6Gi"),
        (store, Stall::StoreUnavailable, "Why: no answer"),
        (exit(12), Stall::DeviceOutOfMemory, ""),
        (exit(65), Stall::BadData, ""),
        (exit(66), Stall::InputMissing, ""),
        (exit(77), Stall::PermissionDenied, ""),
        (exit(78), Stall::InvalidSpec, ""),
        (exit(70), Stall::WorkerFailing, ""),
        (exit(75), Stall::Interrupted, ""),
        (
            disrupted(137),
            Stall::Interrupted,
            "PreemptionByScheduler: preempted by pod x",
        ),
        (disrupted(78), Stall::InvalidSpec, "PreemptionByScheduler"),
        (
            ended("w", start),
            Stall::ContainerNotRun,
            "StartError: no such file",
        ),
    ];
    for (pod, stall, words) in table {
        let (found, said) = told(pod);
        assert_eq!(found, stall, "{said}");
        assert!(said.contains(words), "{stall:?}: {said}");
    }
}

#[test]
fn pods_of_a_suspended_job_that_are_not_told_to_leave_are_told_of() {
    let status = |since: &str| PruningRunStatus {
        conditions: serde_json::from_value(json!([{"type": "Suspended", "status": "True",
            "reason": "Suspended", "message": "", "lastTransitionTime": since}]))
        .unwrap(),
        ..PruningRunStatus::default()
    };
    let waiting = |pods: &[Pod], since: &str| {
        let jobs = owned_jobs(vec![job(json!({"suspend": true}), json!({}))], &identity());
        let none = Events::new();
        let observed = see(&jobs, pods, &identity(), status(since), &none, now());
        observed.jobs.into_iter().next().unwrap().waiting
    };
    let stays = waiting(&[running("p")], "2026-01-01T11:58:00Z").unwrap();
    assert_eq!(stays.stall, Stall::WorkersStay);
    assert!(
        stays.words.contains("its pod p was not told to leave"),
        "{}",
        stays.words
    );
    assert_eq!(waiting(&[running("p")], "2026-01-01T11:59:30Z"), None);
    assert_eq!(
        waiting(
            &[ended("p", json!({"exitCode": 75}))],
            "2026-01-01T11:58:00Z"
        ),
        None
    );
    let mut leaving = running("p");
    let mut at = |time: &str| {
        leaving.metadata.deletion_timestamp = Some(
            k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(time.parse().unwrap()),
        );
        waiting(std::slice::from_ref(&leaving), "2026-01-01T11:40:00Z").map(|found| found.stall)
    };
    assert_eq!(at("2026-01-01T11:59:00Z"), None);
    assert_eq!(at("2026-01-01T11:50:00Z"), Some(Stall::NodeLost));
}

#[test]
fn a_job_that_somebody_deletes_is_waited_for_by_name() {
    let mut leaving = job(json!({}), json!({}));
    leaving.metadata.deletion_timestamp =
        Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(now()));
    assert_eq!(seen(leaving.clone(), &[]).waiting, None);
    leaving.metadata.deletion_timestamp =
        Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(
            "2026-01-01T11:59:00Z".parse().unwrap(),
        ));
    let waiting = seen(leaving, &[]).waiting.unwrap();
    assert_eq!(waiting.stall, Stall::JobDeleted);
    assert!(
        waiting.words.contains("demo-search-g0-a1"),
        "{}",
        waiting.words
    );
}

#[test]
fn a_pod_that_never_leaves_its_node_is_lost() {
    let mut leaving = running("p");
    let mut at = |time: &str| {
        leaving.metadata.deletion_timestamp = Some(
            k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(time.parse().unwrap()),
        );
        seen(job(json!({}), json!({})), std::slice::from_ref(&leaving)).waiting
    };
    assert_eq!(at("2026-01-01T11:58:00Z"), None);
    let lost = at("2026-01-01T11:50:00Z").unwrap();
    assert_eq!(lost.stall.reason(), Reason::NodeLost);
    assert!(lost.words.contains("node-a"), "{}", lost.words);
    assert!(
        lost.message().contains("out-of-service"),
        "{}",
        lost.message()
    );
}

#[test]
fn a_job_without_a_pod_is_spoken_of_after_a_while() {
    let started = |time: &str| json!({"startTime": time});
    let young = seen(job(json!({}), started("2026-01-01T11:59:50Z")), &[]);
    assert_eq!(young.waiting, None);
    let old = seen(job(json!({}), started("2026-01-01T11:59:00Z")), &[])
        .waiting
        .unwrap();
    assert_eq!(old.stall, Stall::PodsNotCreated);
    assert!(
        old.message().contains("kubectl describe job"),
        "{}",
        old.message()
    );
    // A Job that no controller has looked at has no time of start.
    let mut unseen = job(json!({}), json!({}));
    unseen.metadata.creation_timestamp =
        Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(
            "2026-01-01T11:00:00Z".parse().unwrap(),
        ));
    let unseen = seen(unseen, &[]).waiting.unwrap();
    assert!(
        unseen.words.contains("no controller has looked at"),
        "{}",
        unseen.words
    );
}

#[test]
fn one_worker_at_work_is_asked() {
    let jobs = owned_jobs(vec![job(json!({}), json!({}))], &identity());
    let mut leaving = running("a");
    leaving.metadata.deletion_timestamp =
        Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(now()));
    let pods = [
        running("c"),
        leaving,
        running("b"),
        pod("d", json!({"phase": "Pending"})),
    ];
    let (status, events) = (PruningRunStatus::default(), Events::new());
    let observed = see(&jobs, &pods, &identity(), status, &events, now());
    let (key, workers) = workers_at_work(&observed, &pods, &identity()).unwrap();
    let names: Vec<_> = workers.iter().map(|worker| worker.name_any()).collect();
    assert_eq!((key, names), (KEY, vec!["b".to_owned(), "c".to_owned()]));
}

#[test]
fn a_worker_at_work_is_heard_over_one_that_was_stopped() {
    let jobs = owned_jobs(vec![job(json!({}), json!({}))], &identity());
    let stopped = ended(
        "a",
        json!({"exitCode": 75, "message": failed(75, "").to_json()}),
    );
    let pods = [stopped, running("b")];
    let (status, events) = (PruningRunStatus::default(), Events::new());
    let mut observed = see(&jobs, &pods, &identity(), status, &events, now());
    hear(&mut observed, KEY, Some(report(Outcome::Running)));
    assert_eq!(observed.jobs[0].report, Some(report(Outcome::Running)));
    hear(&mut observed, KEY, None);
    assert_eq!(observed.jobs[0].report, Some(report(Outcome::Running)));
}

#[tokio::test]
async fn a_worker_is_asked_over_http() {
    let text = report(Outcome::Running).to_json();
    let router = axum::Router::new().route("/progress", axum::routing::get(|| async { text }));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(async { axum::serve(listener, router).await });
    let http = reqwest::Client::new();
    let said = progress(&http, &format!("http://{address}/progress")).await;
    assert_eq!(said, Some(report(Outcome::Running)));
    assert_eq!(
        progress(&http, &format!("http://{address}/elsewhere")).await,
        None
    );
    server.abort();
}

/// A pod of one worker with two GPUs, scheduled at 11:00:00.
fn with_gpus(name: &str, phase: &str, state: Value) -> Pod {
    let scheduled = json!({"type": "PodScheduled", "status": "True",
        "lastTransitionTime": "2026-01-01T11:00:00Z"});
    let mut status = json!({"phase": phase, "conditions": [scheduled]});
    if !state.is_null() {
        status["containerStatuses"] = json!([container(state)]);
    }
    let mut pod = pod(name, status);
    pod.spec = serde_json::from_value(json!({"containers": [{"name": "worker",
        "resources": {"limits": {"nvidia.com/gpu": "2", "cpu": "8"}}}]}))
    .unwrap();
    pod
}

fn held_by(pods: &[Pod]) -> Vec<(String, bool, i64, i64)> {
    let held = seen(job(json!({}), json!({})), pods).held;
    let told = held.into_iter().map(|held| {
        let Held {
            worker,
            is_over,
            starting_seconds,
            seconds,
        } = held;
        (worker, is_over, starting_seconds, seconds)
    });
    told.collect()
}

#[test]
fn a_pod_holds_its_devices_from_its_node_to_its_end() {
    let at = |minute: u32| format!("2026-01-01T11:{minute:02}:00Z");
    let pulling = with_gpus("pulling", "Pending", json!({"waiting": {}}));
    let working = with_gpus(
        "working",
        "Running",
        json!({"running": {"startedAt": at(5)}}),
    );
    let ended = json!({"terminated":
        {"exitCode": 137, "startedAt": at(5), "finishedAt": at(15)}});
    let ended = with_gpus("ended-and-more", "Failed", ended);
    // Evicted before it started: nothing but a condition says when.
    let mut evicted = with_gpus("evicted", "Failed", Value::Null);
    let disrupted = json!({"type": "DisruptionTarget", "status": "True",
        "lastTransitionTime": at(2)});
    let conditions = evicted
        .status
        .as_mut()
        .unwrap()
        .conditions
        .as_mut()
        .unwrap();
    conditions.push(serde_json::from_value(disrupted).unwrap());
    let nowhere = pod("nowhere", json!({"phase": "Pending"}));
    let pods = [pulling, working, ended, evicted, nowhere];
    // Now is 12:00:00, and each second counts twice.
    assert_eq!(
        held_by(&pods),
        [
            ("pulling".to_owned(), false, 7200, 7200),
            ("working".to_owned(), false, 600, 7200),
            ("ended-an".to_owned(), true, 600, 1800),
            ("evicted".to_owned(), true, 240, 240),
        ]
    );
}

#[test]
fn a_task_without_a_device_holds_none() {
    let mut job = job(json!({}), json!({}));
    let key = JobKey {
        task: TaskKind::Prepare,
        ..KEY
    };
    job.metadata.name = Some(key.job_name("demo"));
    job.metadata.labels = Some(key.labels("demo"));
    let working = with_gpus("a", "Running", json!({"running": {}}));
    assert_eq!(seen(job, &[working]).held, []);
}

#[test]
fn the_newest_sum_of_seconds_counts_whoever_told_it() {
    let told = |useful: u64, outcome: Outcome| {
        let mut report = report(outcome);
        report.gpu_seconds = Some(darwinlm_task::GpuSeconds {
            useful,
            ..Default::default()
        });
        let message = report.to_json();
        ended("a", json!({"exitCode": 0, "message": message}))
    };
    let stopped = failed(75, "stopped").outcome;
    let pods = [
        told(7, Outcome::Done),
        told(9, stopped),
        told(8, Outcome::Done),
    ];
    let report = seen(job(json!({}), json!({})), &pods).report.unwrap();
    assert_eq!(report.outcome, Outcome::Done);
    assert_eq!(report.gpu_seconds.unwrap().useful, 9);
}
