//! Why a worker does not start, does not leave or gets no further.

use super::*;

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
        let jobs = owned_jobs(vec![suspended()], &identity());
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
