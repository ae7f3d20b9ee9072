//! Why a run does not move, on a real API server: each cause is made to happen, told with its words
//! and its remedy, and untold once it is gone.
//!
//! Quotas, admission, classes, claims and the scheduler are the real ones. What a kubelet would say is
//! written into the status of pods on a node without one, in the kubelet's own words; the stories
//! of the real node have the kubelet itself.

use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use darwinlm_tests::cluster::{Namespace, eventually, kubectl, kubectl_with, try_kubectl};
use darwinlm_tests::operator::{Access, Operator, install_rights};
use serde_json::{Value, json};

/// A node that only these runs tolerate, with nothing behind it.
const NODE: &str = "hollow";

/// One cause.
struct Story {
    /// The namespace.
    name: &'static str,
    /// Lines of `spec.worker`, beyond those of every run.
    worker: &'static str,
    /// What is applied before the run; cluster-wide objects are named like the namespace.
    before: &'static str,
    /// What the API server has to refuse before the run is applied: rules take a moment to hold.
    probe: &'static str,
    /// What happens to the run's first pod, or to nothing where the cause keeps it from being made.
    then: fn(&Namespace),
    /// Reason, words and remedy that have to be told.
    told: [&'static str; 3],
    /// What takes the cause away.
    cure: fn(&Namespace),
    /// The reason that follows.
    after: &'static str,
}

fn nothing(_: &Namespace) {}

fn delete(namespace: &Namespace, what: &str) {
    namespace.kubectl(&["delete", what, "--all"]);
}

/// Objects that belong to the whole cluster have the namespace's name.
fn delete_global(namespace: &Namespace, kinds: &[&str]) {
    for kind in kinds {
        kubectl(&["delete", kind, &namespace.name]);
    }
}

/// A pod that `restricted` admits.
const POD: &str = "{apiVersion: v1, kind: Pod, metadata: {name: probe}, spec: {securityContext: \
                   {runAsNonRoot: true, seccompProfile: {type: RuntimeDefault}}, containers: [{name: c, \
                   image: i, securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: \
                   [ALL]}}}]}}";
const JOB: &str = "{apiVersion: batch/v1, kind: Job, metadata: {name: probe}, spec: {template: {spec: \
                   {restartPolicy: Never, containers: [{name: c, image: i}]}}}}";

const STORIES: &[Story] = &[
    Story {
        name: "unschedulable",
        worker: "",
        before: "",
        probe: "",
        then: |namespace| {
            let pod = the_pod(namespace);
            say(namespace, &pod, "cluster-autoscaler", "Normal", "NotTriggerScaleUp",
                "pod didn't trigger scale-up: 1 max node group size reached");
        },
        told: ["Unschedulable", "cluster-autoscaler: pod didn't trigger scale-up", "add or free a node"],
        cure: nothing,
        after: "Unschedulable",
    },
    Story {
        name: "quota-of-pods",
        worker: "",
        before: "{apiVersion: v1, kind: ResourceQuota, metadata: {name: small}, spec: {hard: {pods: 0}}}",
        probe: POD,
        then: nothing,
        told: ["QuotaExceeded", "exceeded quota: small", "free or raise the quota"],
        cure: |namespace| delete(namespace, "resourcequota"),
        after: "Unschedulable",
    },
    Story {
        name: "quota-of-jobs",
        worker: "",
        before: "{apiVersion: v1, kind: ResourceQuota, metadata: {name: no-jobs}, \
                 spec: {hard: {count/jobs.batch: 0}}}",
        probe: JOB,
        then: nothing,
        told: ["QuotaExceeded", "refuses Job r-prepare-a1", "free or raise the quota"],
        cure: |namespace| delete(namespace, "resourcequota"),
        after: "Unschedulable",
    },
    Story {
        name: "limit-range",
        worker: "",
        before: "{apiVersion: v1, kind: LimitRange, metadata: {name: tight}, \
                 spec: {limits: [{type: Container, max: {memory: 1Mi}}]}}",
        probe: "",
        then: nothing,
        told: ["LimitExceeded", "maximum memory usage per Container is 1Mi", "change the LimitRange"],
        cure: |namespace| delete(namespace, "limitrange"),
        after: "Unschedulable",
    },
    Story {
        name: "pod-security",
        worker: "",
        before: "\
{apiVersion: admissionregistration.k8s.io/v1, kind: MutatingAdmissionPolicy, metadata: {name: pod-security},
 spec: {failurePolicy: Fail, reinvocationPolicy: Never,
  matchConstraints: {namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: pod-security}},
   resourceRules: [{apiGroups: [''], apiVersions: [v1], operations: [CREATE], resources: [pods]}]},
  mutations: [{patchType: ApplyConfiguration,
   applyConfiguration: {expression: 'Object{spec: Object.spec{hostNetwork: true}}'}}]}}
---
{apiVersion: admissionregistration.k8s.io/v1, kind: MutatingAdmissionPolicyBinding,
 metadata: {name: pod-security}, spec: {policyName: pod-security}}",
        probe: POD,
        then: nothing,
        told: ["PodSecurity", "violates PodSecurity \"restricted:latest\": host namespaces", "find the webhook"],
        cure: |namespace| {
            delete_global(namespace, &["mutatingadmissionpolicybinding", "mutatingadmissionpolicy"]);
        },
        after: "Unschedulable",
    },
    Story {
        name: "policy-on-pods",
        worker: "",
        before: "\
{apiVersion: admissionregistration.k8s.io/v1, kind: ValidatingAdmissionPolicy, metadata: {name: policy-on-pods},
 spec: {failurePolicy: Fail,
  matchConstraints: {namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: policy-on-pods}},
   resourceRules: [{apiGroups: [''], apiVersions: [v1], operations: [CREATE], resources: [pods]}]},
  validations: [{expression: \"'team' in object.metadata.labels\", message: every pod needs a team}]}}
---
{apiVersion: admissionregistration.k8s.io/v1, kind: ValidatingAdmissionPolicyBinding,
 metadata: {name: policy-on-pods}, spec: {policyName: policy-on-pods, validationActions: [Deny]}}",
        probe: POD,
        then: nothing,
        told: ["AdmissionRefused", "every pod needs a team", "satisfy the rule"],
        cure: |namespace| {
            delete_global(namespace, &["validatingadmissionpolicybinding", "validatingadmissionpolicy"]);
        },
        after: "Unschedulable",
    },
    Story {
        name: "policy-on-jobs",
        worker: "",
        before: "\
{apiVersion: admissionregistration.k8s.io/v1, kind: ValidatingAdmissionPolicy, metadata: {name: policy-on-jobs},
 spec: {failurePolicy: Fail,
  matchConstraints: {namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: policy-on-jobs}},
   resourceRules: [{apiGroups: [batch], apiVersions: [v1], operations: [CREATE], resources: [jobs]}]},
  validations: [{expression: 'false', message: no Jobs on Sundays}]}}
---
{apiVersion: admissionregistration.k8s.io/v1, kind: ValidatingAdmissionPolicyBinding,
 metadata: {name: policy-on-jobs}, spec: {policyName: policy-on-jobs, validationActions: [Deny]}}",
        probe: JOB,
        then: nothing,
        told: ["AdmissionRefused", "no Jobs on Sundays", "satisfy the rule"],
        cure: |namespace| {
            delete_global(namespace, &["validatingadmissionpolicybinding", "validatingadmissionpolicy"]);
        },
        after: "Unschedulable",
    },
    Story {
        name: "webhook-away",
        worker: "",
        before: "\
{apiVersion: admissionregistration.k8s.io/v1, kind: ValidatingWebhookConfiguration, metadata: {name: webhook-away},
 webhooks: [{name: images.example.org, failurePolicy: Fail, sideEffects: None, admissionReviewVersions: [v1],
  timeoutSeconds: 2, clientConfig: {url: 'https://127.0.0.1:1/'},
  namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: webhook-away}},
  rules: [{apiGroups: [''], apiVersions: [v1], operations: [CREATE], resources: [pods]}]}]}",
        probe: POD,
        then: nothing,
        told: ["AdmissionUnavailable", "failed calling webhook \"images.example.org\"", "bring the service"],
        cure: |namespace| delete_global(namespace, &["validatingwebhookconfiguration"]),
        after: "Unschedulable",
    },
    Story {
        name: "no-account",
        worker: "serviceAccountName: gone",
        before: "",
        probe: "",
        then: nothing,
        told: ["ReferenceNotFound", "serviceaccount \"gone\" not found", "create the service account"],
        cure: |namespace| {
            namespace.kubectl(&["create", "serviceaccount", "gone"]);
        },
        after: "Unschedulable",
    },
    Story {
        name: "no-priority-class",
        worker: "priorityClassName: no-priority-class",
        before: "",
        probe: "",
        then: nothing,
        told: ["ReferenceNotFound", "no PriorityClass with name no-priority-class", "create the PriorityClass"],
        cure: |namespace| {
            kubectl(&["create", "priorityclass", &namespace.name, "--value=7"]);
        },
        after: "Unschedulable",
    },
    Story {
        name: "no-runtime-class",
        worker: "runtimeClassName: no-runtime-class",
        before: "",
        probe: "",
        then: nothing,
        told: ["ReferenceNotFound", "RuntimeClass \"no-runtime-class\" not found", "create the RuntimeClass"],
        cure: |_| {
            kubectl_with(
                &["apply", "-f", "-"],
                "{apiVersion: node.k8s.io/v1, kind: RuntimeClass, metadata: {name: no-runtime-class}, \
                 handler: other}",
            );
        },
        after: "Unschedulable",
    },
    Story {
        name: "name-taken",
        worker: "",
        before: "{apiVersion: batch/v1, kind: Job, metadata: {name: r-prepare-a1}, spec: {suspend: true, \
                 template: {spec: {restartPolicy: Never, containers: [{name: c, image: i}]}}}}",
        probe: "",
        then: nothing,
        told: ["NameTaken", "name-taken/r-prepare-a1 exists and belongs to another owner", "delete that Job"],
        cure: |namespace| delete(namespace, "job"),
        after: "Unschedulable",
    },
    Story {
        name: "no-claim",
        worker: "",
        before: "",
        probe: "",
        then: nothing,
        told: ["ReferenceNotFound", "names the claim \"models\"", "goes on once it is there"],
        cure: |namespace| {
            namespace.apply(
                "{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: models}, spec: \
                 {accessModes: [ReadWriteMany], storageClassName: fast, resources: {requests: {storage: 1Gi}}}}",
            );
        },
        // The claim is there, and has no volume: the next cause.
        after: "VolumeNotBound",
    },
    Story {
        name: "image-pull",
        worker: ON_NODE,
        before: "",
        probe: "",
        then: |namespace| wait(namespace, "ImagePullBackOff", "Back-off pulling image \"runner:none\""),
        told: ["ImagePull", "Back-off pulling image", "push the image that is named"],
        cure: start,
        after: "Preparing",
    },
    Story {
        name: "image-name",
        worker: ON_NODE,
        before: "",
        probe: "",
        then: |namespace| wait(namespace, "InvalidImageName", "couldn't parse image name \"Runner\""),
        told: ["ImagePull", "couldn't parse image name", "a correct spec.worker.image"],
        cure: start,
        after: "Preparing",
    },
    Story {
        name: "no-secret",
        worker: ON_NODE,
        before: "",
        probe: "",
        then: |namespace| wait(namespace, "CreateContainerConfigError", "secret \"store-keys\" not found"),
        told: ["ReferenceNotFound", "secret \"store-keys\" not found", "create what is named"],
        cure: start,
        after: "Preparing",
    },
    Story {
        name: "not-run",
        worker: ON_NODE,
        before: "",
        probe: "",
        then: |namespace| wait(namespace, "RunContainerError", "exec: \"darwinlm-runner\": not found in $PATH"),
        told: ["ContainerNotStarted", "not found in $PATH", "use an image with darwinlm-runner"],
        cure: start,
        after: "Preparing",
    },
    Story {
        name: "no-mount",
        worker: ON_NODE,
        before: "",
        probe: "",
        then: |namespace| {
            let pod = the_pod(namespace);
            say(namespace, &pod, "kubelet", "Warning", "FailedAttachVolume",
                "Multi-Attach error for volume \"pvc-1\": already used by pod(s) other");
        },
        told: ["VolumeNotMounted", "Multi-Attach error for volume", "free the volume"],
        cure: start,
        after: "Preparing",
    },
    Story {
        name: "out-of-memory",
        worker: ON_NODE,
        before: "",
        probe: "",
        then: |namespace| end(namespace, json!({"exitCode": 137, "reason": "OOMKilled"})),
        told: ["OutOfMemory", "OOMKilled: 64Mi", "higher spec.worker.resources.limits.memory"],
        cure: start_next,
        after: "Preparing",
    },
    Story {
        name: "store-away",
        worker: ON_NODE,
        before: "",
        probe: "",
        then: |namespace| end(namespace, json!({"exitCode": 69, "message": "the store does not answer"})),
        told: ["StoreUnavailable", "the store does not answer", "bring back the store"],
        cure: start_next,
        after: "Preparing",
    },
    Story {
        name: "job-deleted",
        worker: ON_NODE,
        before: "",
        probe: "",
        then: |namespace| {
            the_pod(namespace);
            let hold = r#"{"metadata":{"finalizers":["story.example.org/hold"]}}"#;
            namespace.kubectl(&["patch", "job", "r-prepare-a1", "--type=merge", "-p", hold]);
            namespace.kubectl(&["delete", "job", "r-prepare-a1", "--wait=false"]);
        },
        told: ["JobDeleted", "Job r-prepare-a1 was deleted at", "another Job is made once it is gone"],
        cure: |namespace| {
            let free = r#"{"metadata":{"finalizers":null}}"#;
            namespace.kubectl(&["patch", "job", "r-prepare-a1", "--type=merge", "-p", free]);
        },
        after: "Starting",
    },
    Story {
        name: "node-silent",
        worker: ON_NODE,
        before: "",
        probe: "",
        then: start,
        told: ["NodeLost", "hollow does not answer, and pod r-prepare-a1-", "look at the node"],
        cure: nothing,
        after: "NodeLost",
    },
];

const ON_NODE: &str = "tolerations: [{key: hollow, operator: Exists}]";

#[test]
fn each_cause_is_told_with_its_words_and_its_remedy_and_untold_when_it_is_gone() {
    install_rights();
    let access = Access::new(None);
    let operator = Operator::start("why-not-moving", access, &["--status-seconds", "1"]);
    operator.await_lead(Duration::from_secs(60));
    let beating = AtomicBool::new(true);
    hollow_node();
    std::thread::scope(|scope| {
        // A scope waits for its threads, also when what follows fails.
        let heart = StopsWhenDropped(&beating);
        let beats = scope.spawn(|| beat(&beating));
        let namespaces: Vec<_> = STORIES.iter().map(begin).collect();
        for (story, namespace) in STORIES.iter().zip(&namespaces) {
            (story.then)(namespace);
        }
        let (silent, others): (Vec<_>, Vec<_>) = STORIES
            .iter()
            .zip(&namespaces)
            .partition(|(story, _)| story.name == "node-silent");
        for (story, namespace) in &others {
            is_told(story, namespace, &operator);
        }
        for (story, namespace) in &others {
            (story.cure)(namespace);
        }
        for (story, namespace) in &others {
            let (reason, message) =
                await_reason(namespace, &operator, |reason, _| reason == story.after);
            println!("{}: then {reason}: {message}", story.name);
        }
        drop(heart);
        for (story, namespace) in &silent {
            is_told(story, namespace, &operator);
        }
        beats.join().expect("the node's heart does not fail");
        // No kubelet says that the hollow node's pods have ended.
        let all = [
            "-A",
            "-l",
            "darwinlm.io/run",
            "--grace-period=0",
            "--force",
            "--wait=false",
        ];
        kubectl(&[&["delete", "pods"], &all[..]].concat());
        // One after the other, they would take minutes.
        let names: Vec<_> = namespaces.iter().map(|n| n.name.as_str()).collect();
        kubectl(&[&["delete", "namespace", "--wait=false"], &names[..]].concat());
        drop(namespaces);
        let gone = metrics(&operator);
        assert!(!gone.contains("darwinlm_run_stalled{"), "{gone}");
    });
    for leftover in [
        "priorityclass/no-priority-class",
        "runtimeclass/no-runtime-class",
        "node/hollow",
    ] {
        try_kubectl(&["delete", leftover], None);
    }
}

/// What the operator serves at `/metrics`.
fn metrics(operator: &Operator) -> String {
    operator.await_answer("/metrics", 200, Duration::from_secs(20))
}

fn begin(story: &Story) -> Namespace {
    let namespace = Namespace::new(story.name);
    if !story.before.is_empty() {
        namespace.apply(story.before);
    }
    let model = match story.name {
        "no-claim" => "pvc://models/tiny",
        _ => "s3://models/tiny",
    };
    // An account is there a moment after its namespace, and pods are refused until it is.
    eventually(&["-n", story.name, "get", "serviceaccount", "default"]);
    await_refusal(story);
    namespace.apply(&format!(
        "\
apiVersion: darwinlm.io/v1alpha1
kind: PruningRun
metadata: {{name: r}}
spec:
  model: {{source: {model}}}
  data: {{calibration: {{source: s3://data/text.jsonl}}}}
  target: {{level: 5}}
  artifacts: {{store: s3://store/prefix}}
  worker:
    resources: {{limits: {{memory: 64Mi, cpu: 1}}}}
    {}
",
        story.worker
    ));
    namespace
}

fn await_refusal(story: &Story) {
    let dry = ["-n", story.name, "create", "--dry-run=server", "-f", "-"];
    let deadline = Instant::now() + Duration::from_secs(60);
    while !story.probe.is_empty() {
        let (accepted, said) = try_kubectl(&dry, Some(story.probe));
        if !accepted && !said.contains("status unknown for quota") {
            return;
        }
        assert!(Instant::now() < deadline, "{}: {said}", story.name);
        std::thread::sleep(Duration::from_millis(500));
    }
}

/// Waits for the cause, and checks what is told of it: condition, event, metric.
fn is_told(story: &Story, namespace: &Namespace, operator: &Operator) {
    let [expected, words, remedy] = story.told;
    let (reason, message) = await_reason(namespace, operator, |reason, message| {
        reason == expected && message.contains(words)
    });
    println!("{}: {reason}: {message}", story.name);
    assert!(
        message.contains(remedy),
        "{remedy:?} is no part of {message:?}"
    );
    assert!(message.len() <= 1024, "{message}");
    let series = format!(
        "darwinlm_run_stalled{{name=\"r\",namespace=\"{}\",reason=\"{expected}\"}} 1",
        story.name
    );
    let deadline = Instant::now() + Duration::from_secs(10);
    while !metrics(operator).contains(&series) {
        assert!(Instant::now() < deadline, "{series}: {}", metrics(operator));
        std::thread::sleep(Duration::from_millis(200));
    }
    let events = namespace.kubectl(&["get", "events.events.k8s.io", "-o", "json"]);
    let events: Value = serde_json::from_str(&events).expect("kubectl prints JSON");
    let told = events["items"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|event| {
            let of_run = event["regarding"]["kind"] == "PruningRun";
            // What the spec names and is not there is told by an event of its own.
            let accepted = event["reason"] == "RunRejected" && story.name == "no-claim";
            of_run && (accepted || event["reason"] == "Stalled" && event["action"] == expected)
        });
    let told: Vec<_> = told.collect();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0]["series"].is_null(), "told twice: {told:?}");
}

fn await_reason(
    namespace: &Namespace,
    operator: &Operator,
    is_it: impl Fn(&str, &str) -> bool,
) -> (String, String) {
    let deadline = Instant::now() + Duration::from_secs(180);
    loop {
        let run = namespace.get("pruningrun/r");
        let conditions = run["status"]["conditions"].as_array();
        let progressing = conditions
            .into_iter()
            .flatten()
            .find(|condition| condition["type"] == "Progressing");
        let word = |key: &str| {
            progressing
                .and_then(|found| found[key].as_str())
                .unwrap_or_default()
                .to_owned()
        };
        let (reason, message) = (word("reason"), word("message"));
        if is_it(&reason, &message) {
            return (reason, message);
        }
        assert!(
            Instant::now() < deadline,
            "{}: {reason}: {message}\n{}\n{}",
            namespace.name,
            namespace.describe("r"),
            operator.log()
        );
        std::thread::sleep(Duration::from_millis(500));
    }
}

/// The run's newest pod, once it is there and, where it may, on the node.
fn the_pod(namespace: &Namespace) -> Value {
    newest_pod(namespace, |_| true)
}

fn newest_pod(namespace: &Namespace, fits: impl Fn(&Value) -> bool) -> Value {
    let deadline = Instant::now() + Duration::from_secs(90);
    loop {
        let pods = namespace.list("pods", "darwinlm.io/run=r");
        let settled = |pod: &&Value| {
            let conditions = pod["status"]["conditions"].as_array();
            conditions.is_some_and(|all| all.iter().any(|c| c["type"] == "PodScheduled"))
                && fits(pod)
        };
        if let Some(pod) = pods.iter().find(settled) {
            return pod.clone();
        }
        assert!(
            Instant::now() < deadline,
            "no pod: {}",
            namespace.describe("r")
        );
        std::thread::sleep(Duration::from_millis(300));
    }
}

fn patch_status(namespace: &Namespace, pod: &Value, status: &Value) {
    let name = pod["metadata"]["name"].as_str().expect("a pod has a name");
    let patch = json!({ "status": status }).to_string();
    namespace.kubectl(&["patch", "pod", name, "--subresource=status", "-p", &patch]);
}

fn container(state: &Value) -> Value {
    json!([{"name": "worker", "ready": false, "restartCount": 0, "image": "i", "imageID": "",
        "state": state}])
}

/// The kubelet says why the container waits.
fn wait(namespace: &Namespace, word: &str, message: &str) {
    let state = json!({"waiting": {"reason": word, "message": message}});
    patch_status(
        namespace,
        &the_pod(namespace),
        &json!({"containerStatuses": container(&state)}),
    );
}

/// The kubelet says that the worker runs.
fn start(namespace: &Namespace) {
    start_pod(namespace, &the_pod(namespace));
}

fn start_next(namespace: &Namespace) {
    let next = newest_pod(namespace, |pod| pod["status"]["phase"] == "Pending");
    start_pod(namespace, &next);
}

fn start_pod(namespace: &Namespace, pod: &Value) {
    let state = json!({"running": {"startedAt": "2026-01-01T00:00:00Z"}});
    let status = json!({"phase": "Running", "containerStatuses": container(&state),
        "conditions": [{"type": "Ready", "status": "True"}]});
    patch_status(namespace, pod, &status);
}

/// The kubelet says how the worker ended.
fn end(namespace: &Namespace, terminated: Value) {
    let status = json!({"phase": "Failed",
        "containerStatuses": container(&json!({"terminated": terminated}))});
    patch_status(namespace, &the_pod(namespace), &status);
}

/// Somebody says something of a pod in an event.
fn say(namespace: &Namespace, pod: &Value, by: &str, kind: &str, reason: &str, note: &str) {
    let metadata = &pod["metadata"];
    let now = Command::new("date")
        .args(["-u", "+%Y-%m-%dT%H:%M:%SZ"])
        .output();
    let now = String::from_utf8(now.expect("there is a clock").stdout).expect("it is text");
    let event = json!({"apiVersion": "v1", "kind": "Event", "metadata": {"generateName": "story-"},
        "involvedObject": {"apiVersion": "v1", "kind": "Pod", "name": metadata["name"],
            "namespace": namespace.name, "uid": metadata["uid"]},
        "type": kind, "reason": reason, "message": note, "source": {"component": by}, "count": 1,
        "firstTimestamp": now.trim(), "lastTimestamp": now.trim()});
    kubectl_with(
        &["-n", &namespace.name, "create", "-f", "-"],
        &event.to_string(),
    );
}

/// A node that is ready as long as [`beat`] says so.
fn hollow_node() {
    kubectl_with(
        &["apply", "-f", "-"],
        &format!(
            "{{apiVersion: v1, kind: Node, metadata: {{name: {NODE}}}, \
             spec: {{taints: [{{key: hollow, effect: NoSchedule}}]}}}}"
        ),
    );
    let status = json!({"status": {"capacity": {"cpu": "64", "memory": "64Gi", "pods": "110"},
        "allocatable": {"cpu": "64", "memory": "64Gi", "pods": "110"},
        "conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "story"}]}});
    kubectl(&[
        "patch",
        "node",
        NODE,
        "--subresource=status",
        "-p",
        &status.to_string(),
    ]);
}

/// What stops a heart, however its story ends.
struct StopsWhenDropped<'a>(&'a AtomicBool);

impl Drop for StopsWhenDropped<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

/// Renews the node's lease, as a kubelet would.
fn beat(beating: &AtomicBool) {
    let lease = json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": {"name": NODE, "namespace": "kube-node-lease"},
        "spec": {"holderIdentity": NODE, "leaseDurationSeconds": 40}});
    kubectl_with(&["apply", "-f", "-"], &lease.to_string());
    while beating.load(Ordering::Relaxed) {
        let now = Command::new("date")
            .args(["-u", "+%Y-%m-%dT%H:%M:%S.%6NZ"])
            .output();
        let now = String::from_utf8(now.expect("there is a clock").stdout).expect("it is text");
        let renewed = json!({"spec": {"renewTime": now.trim()}}).to_string();
        kubectl(&[
            "-n",
            "kube-node-lease",
            "patch",
            "lease",
            NODE,
            "--type=merge",
            "-p",
            &renewed,
        ]);
        std::thread::sleep(Duration::from_secs(5));
    }
}
