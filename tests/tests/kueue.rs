//! Stories on a real node with a real Kueue: a run that waits, is cut, gives way and comes back.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use darwinlm_tests::cluster::{Namespace, eventually, is_true};
use darwinlm_tests::local::{Local, TINY_RUN};
use darwinlm_tests::node::{finished, jobs_of, running_workers, tiny_volume};
use darwinlm_tests::programs::repository;
use serde_json::Value;

/// One GPU for everybody, and enough of the rest.
const QUEUES: &str = "\
apiVersion: kueue.x-k8s.io/v1beta2
kind: ResourceFlavor
metadata: {name: node}
---
apiVersion: kueue.x-k8s.io/v1beta2
kind: ClusterQueue
metadata: {name: gpus}
spec:
  namespaceSelector: {}
  preemption: {withinClusterQueue: LowerPriority}
  resourceGroups:
    - coveredResources: [cpu, nvidia.com/gpu]
      flavors:
        - name: node
          resources:
            - {name: cpu, nominalQuota: 100}
            - {name: nvidia.com/gpu, nominalQuota: 1}
---
apiVersion: kueue.x-k8s.io/v1beta2
kind: WorkloadPriorityClass
metadata: {name: research}
value: 100
---
apiVersion: kueue.x-k8s.io/v1beta2
kind: WorkloadPriorityClass
metadata: {name: urgent}
value: 1000
";

/// Somebody else's work: it holds the GPU until it is deleted.
const OTHER: &str = "\
apiVersion: batch/v1
kind: Job
metadata:
  name: other
  labels: {kueue.x-k8s.io/queue-name: team, kueue.x-k8s.io/priority-class: urgent}
spec:
  suspend: true
  template:
    spec:
      restartPolicy: Never
      terminationGracePeriodSeconds: 1
      securityContext: {runAsNonRoot: true, runAsUser: 65532, seccompProfile: {type: RuntimeDefault}}
      containers:
        - name: holds
          image: localhost/busybox:1
          imagePullPolicy: Never
          command: [sleep, '3600']
          resources: {limits: {cpu: 10m, nvidia.com/gpu: 1}}
          securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}
";

/// The tiny run in the queue, long enough to be interrupted twice.
fn queued_run() -> String {
    let changes = [
        ("generations: 5", "generations: 10"),
        ("trainingTokens: 64", "trainingTokens: 1024"),
        ("trainingTokens: 128", "trainingTokens: 2048"),
        (
            "resources: {limits: {cpu: \"1\"}}}",
            "resources: {limits: {cpu: \"1\", nvidia.com/gpu: \"1\"}, requests: {cpu: 100m}}}\n  \
             queueName: team\n  queuePriorityClass: research",
        ),
    ];
    changes
        .iter()
        .fold(TINY_RUN.to_owned(), |yaml, (from, to)| {
            assert!(yaml.contains(from), "the tiny run has no {from:?}");
            yaml.replacen(from, to, 1)
        })
}

fn install_kueue() {
    let installed = Command::new(repository().join("tests/cluster/kueue.sh")).status();
    assert!(
        installed.is_ok_and(|status| status.success()),
        "Kueue cannot be installed"
    );
    // Its webhooks answer a little later than its probes.
    let file = tempfile::NamedTempFile::new().expect("a file can be made");
    fs::write(&file, QUEUES).expect("the queues can be written");
    let path = file.path().to_str().expect("the path is text");
    eventually(&["apply", "-f", path]);
}

/// A namespace with a local queue, and a volume with the tiny model.
fn team(name: &str) -> (Namespace, tempfile::TempDir) {
    let namespace = Namespace::new(name);
    let volume = tiny_volume(&namespace);
    namespace.apply(
        "apiVersion: kueue.x-k8s.io/v1beta2\nkind: LocalQueue\nmetadata: {name: team}\n\
         spec: {clusterQueue: gpus}\n",
    );
    (namespace, volume)
}

/// What `Progressing` says: its reason and its message.
fn progressing(run: &Value) -> (&str, &str) {
    let conditions = run["status"]["conditions"].as_array();
    let found = conditions
        .into_iter()
        .flatten()
        .find(|condition| condition["type"] == "Progressing");
    let text = |key: &str| {
        found
            .and_then(|found| found[key].as_str())
            .unwrap_or_default()
    };
    (text("reason"), text("message"))
}

fn is_queued(run: &Value, words: &str) -> bool {
    let (reason, message) = progressing(run);
    run["status"]["stage"] == "Queued" && reason == "Queued" && message.contains(words)
}

/// Objects of these kinds that the run still has.
fn left(namespace: &Namespace, kinds: &str) -> usize {
    let list = namespace.kubectl(&["get", kinds, "-o", "name"]);
    list.lines().filter(|line| line.contains("tiny")).count()
}

fn wait_until(what: &str, within: Duration, mut done: impl FnMut() -> bool) -> Duration {
    let began = Instant::now();
    while !done() {
        assert!(began.elapsed() < within, "{what}: not within {within:?}");
        std::thread::sleep(Duration::from_millis(250));
    }
    began.elapsed()
}

fn suspend(namespace: &Namespace, suspend: bool) {
    let patch = format!(r#"{{"spec":{{"suspend":{suspend}}}}}"#);
    namespace.kubectl(&["patch", "prun/tiny", "--type=merge", "-p", &patch]);
}

#[test]
fn a_run_in_a_queue_waits_is_cut_gives_way_comes_back_and_ends_with_the_same_digest() {
    let yaml = queued_run();
    let here = Local::new();
    fs::write(here.yaml(), &yaml).expect("the YAML can be written");
    let undisturbed = here.run(&["--workers", "1"]).digest();

    install_kueue();
    let (namespace, _volume) = team("queued");
    let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
    namespace.apply(OTHER);
    wait_until("the other Job starts", minutes(1), || {
        namespace.get("job/other")["spec"]["suspend"] == false
    });

    // It waits, first without the right to know why.
    namespace.apply(&yaml);
    let run = namespace.await_run("tiny", minutes(2), |run| {
        is_queued(run, "kueue.enabled=true")
    });
    println!("without the right: {}", progressing(&run).1);
    let upgrade = [
        "upgrade",
        "darwinlm",
        "charts/darwinlm",
        "-n",
        "darwinlm-system",
    ];
    let upgraded = Command::new("helm")
        .current_dir(repository())
        .args(upgrade)
        .args(["--reuse-values", "--set", "kueue.enabled=true"])
        .status();
    assert!(
        upgraded.is_ok_and(|status| status.success()),
        "the chart cannot be upgraded"
    );
    let run = namespace.await_run("tiny", minutes(1), |run| is_queued(run, "insufficient"));
    println!("waiting: {}", progressing(&run).1);

    // It is admitted, the search with one worker of two.
    namespace.kubectl(&["delete", "job/other"]);
    let run = namespace.await_run("tiny", minutes(2), |run| {
        progressing(run).1.contains("gave 1 of 2")
            && run["status"]["search"]["generation"].as_i64() >= Some(1)
    });
    println!("cut: {}", progressing(&run).1);
    let search = namespace.get("job/tiny-search-g0-a1");
    assert_eq!(search["spec"]["parallelism"], 1, "{search}");

    // It gives way to somebody with a higher priority, and comes back as the same Job.
    namespace.apply(OTHER);
    let run = namespace.await_run("tiny", minutes(1), |run| is_queued(run, "reempted"));
    println!("preempted: {}", progressing(&run).1);
    wait_until("its pods leave", Duration::from_secs(70), || {
        running_workers(&namespace, "search") == 0
    });
    namespace.kubectl(&["delete", "job/other"]);
    let before = run["status"]["search"]["generation"].as_i64();
    let run = namespace.await_run("tiny", minutes(2), |run| {
        run["status"]["stage"] == "Searching"
            && run["status"]["search"]["generation"].as_i64() > before
    });
    println!(
        "back: generation {} after {before:?}",
        run["status"]["search"]["generation"]
    );
    let again = namespace.get("job/tiny-search-g0-a1");
    assert_eq!(
        again["metadata"]["uid"], search["metadata"]["uid"],
        "another Job"
    );
    assert!(
        again["status"]["failed"].is_null(),
        "an eviction was counted: {}",
        again["status"]
    );

    // Suspended by its owner it gives everything back, and goes on as the same attempt.
    suspend(&namespace, true);
    let took = wait_until(
        "the Job, its pods and its Workload go",
        Duration::from_secs(70),
        || {
            running_workers(&namespace, "search") == 0
                && namespace.get("job/tiny-search-g0-a1").is_null()
                && namespace
                    .kubectl(&["get", "workloads"])
                    .matches("tiny-search")
                    .count()
                    == 0
        },
    );
    println!("suspended: everything was given back in {took:?}");
    namespace.await_run("tiny", minutes(1), |run| {
        run["status"]["stage"] == "Suspended" && progressing(run).0 == "Suspended"
    });
    suspend(&namespace, false);
    let end = namespace.await_run("tiny", minutes(4), finished);
    assert!(is_true(&end, "Succeeded"), "{}", namespace.describe("tiny"));
    assert_eq!(end["status"]["search"]["digest"], undisturbed);
    let jobs = jobs_of(&namespace, "tiny", "search");
    assert!(
        jobs.iter().all(|job| job.ends_with("-a1")),
        "attempts were counted: {jobs:?}"
    );
    println!("in the queue and undisturbed: {undisturbed}; search Jobs {jobs:?}");

    // Deleted while it waits, a run leaves nothing in the queue.
    namespace.kubectl(&["delete", "prun/tiny"]);
    wait_until("what the first run had goes", minutes(1), || {
        left(&namespace, "jobs,pods,workloads") == 0
    });
    namespace.apply(OTHER);
    namespace.apply(&yaml.replacen("pvc://data/store", "pvc://data/another", 1));
    namespace.await_run("tiny", minutes(2), |run| is_queued(run, "insufficient"));
    namespace.kubectl(&["delete", "prun/tiny"]);
    let took = wait_until("Jobs, pods and Workloads go", minutes(1), || {
        left(&namespace, "jobs,pods,workloads") == 0
    });
    println!("deleted while queued: nothing is left after {took:?}");
    namespace.kubectl(&["delete", "job/other"]);
}
