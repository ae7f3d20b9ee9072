//! Stories of what goes wrong around a run, on a real node: the operator killed at every write, the
//! API server killed, a run deleted in the middle of its search.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use darwinlm_tests::cluster::{Namespace, is_true, kubectl, try_kubectl};
use darwinlm_tests::deadly::{DeadlyProxy, Restarted};
use darwinlm_tests::local::TINY_RUN;
use darwinlm_tests::node::{
    digest_of, finished, jobs_of, local_digest, longer_run, running_workers, tiny_volume,
};
use darwinlm_tests::programs::{program, repository};
use serde_json::Value;

const OPERATOR: [&str; 3] = ["-n", "darwinlm-system", "deploy/darwinlm"];

/// The installed operator, away until this is dropped.
struct Away {
    replicas: String,
}

impl Away {
    fn send() -> Self {
        let [flag, namespace, deployment] = OPERATOR;
        let replicas = kubectl(&[
            flag,
            namespace,
            "get",
            deployment,
            "-o",
            "jsonpath={.spec.replicas}",
        ]);
        kubectl(&[flag, namespace, "scale", deployment, "--replicas=0"]);
        kubectl(&[
            flag,
            namespace,
            "wait",
            "--for=delete",
            "pod",
            "-l",
            "app.kubernetes.io/name=darwinlm",
            "--timeout=60s",
        ]);
        Self { replicas }
    }
}

impl Drop for Away {
    fn drop(&mut self) {
        let [flag, namespace, deployment] = OPERATOR;
        let replicas = format!("--replicas={}", self.replicas);
        try_kubectl(&[flag, namespace, "scale", deployment, &replicas], None);
        let status = ["rollout", "status", deployment, "--timeout=90s"];
        try_kubectl(&[&[flag, namespace], &status[..]].concat(), None);
    }
}

#[test]
fn the_operator_killed_before_and_after_every_write_ends_with_the_same_digest() {
    let local = local_digest();
    let _away = Away::send();
    let namespace = Namespace::new("killed");
    let there = tiny_volume(&namespace);
    let proxy = DeadlyProxy::start();
    let folder = tempfile::tempdir().expect("a folder can be made");
    let kubeconfig = folder.path().join("kubeconfig");
    fs::write(&kubeconfig, proxy.kubeconfig()).expect("it can be written");
    let mut command = Command::new(program("darwinlm-operator"));
    command
        .args(["--worker-image", "localhost/darwinlm-runner:dev"])
        .args(["--worker-pull-policy", "Never", "--poll-seconds", "1"])
        .args(["--status-seconds", "1", "--listen", "127.0.0.1:0"])
        // Who was killed would have to wait for the lease that it held, and each renewal would be
        // one more write to die at.
        .arg("--leader-elect=false")
        .env("KUBECONFIG", &kubeconfig);
    let mut operator = Restarted::start(command, folder.path().join("log"), &proxy);
    namespace.apply(TINY_RUN);
    let end = namespace.await_run("tiny", Duration::from_secs(600), |run| {
        operator.keep_alive(&proxy);
        finished(run)
    });
    // The last events come after the last status.
    let rest = Instant::now() + Duration::from_secs(10);
    while Instant::now() < rest {
        operator.keep_alive(&proxy);
        std::thread::sleep(Duration::from_millis(200));
    }
    let tried = proxy.tried();
    assert!(
        is_true(&end, "Succeeded"),
        "{}\n{}",
        namespace.describe("tiny"),
        operator.log()
    );
    println!(
        "killed {} times at {} different writes:",
        operator.restarts,
        tried.len()
    );
    for (write, times) in &tried {
        println!("  {times} × {write}");
    }
    assert_eq!(end["status"]["search"]["digest"], local);
    assert!(tried.len() >= 10 && operator.restarts >= 15, "{tried:?}");
    for task in ["prepare", "build-database", "search", "evaluate"] {
        let made = tried
            .keys()
            .any(|write| write.contains(&format!("tiny-{task}-")));
        assert!(made, "no Job of {task} was made: {tried:?}");
        let jobs = jobs_of(&namespace, "tiny", task);
        assert_eq!(jobs.len(), 1, "one Job of {task}: {jobs:?}");
    }
    drop(there);
}

#[test]
fn the_api_server_killed_in_the_middle_of_a_search_changes_nothing() {
    let yaml = longer_run(12);
    let local = digest_of(&yaml);
    let namespace = Namespace::new("api-server");
    let there = tiny_volume(&namespace);
    namespace.apply(&yaml);
    await_search(&namespace, 2);
    let before = jobs_of(&namespace, "tiny", "search");
    let cluster = repository().join("tests/cluster/cluster.sh");
    let restarted = Command::new(cluster)
        .args(["restart", "apiserver"])
        .status();
    assert!(restarted.is_ok_and(|status| status.success()));
    let killed = Instant::now();
    while !try_kubectl(&["get", "--raw", "/readyz"], None).0 {
        assert!(
            killed.elapsed() < Duration::from_secs(60),
            "it does not come back"
        );
        std::thread::sleep(Duration::from_millis(200));
    }
    println!(
        "the API server was away for {:.1} s",
        killed.elapsed().as_secs_f64()
    );
    let end = namespace.await_run("tiny", Duration::from_secs(600), finished);
    assert!(is_true(&end, "Succeeded"), "{}", namespace.describe("tiny"));
    assert_eq!(end["status"]["search"]["digest"], local);
    assert_eq!(
        jobs_of(&namespace, "tiny", "search"),
        before,
        "the search went on in its Job"
    );
    drop(there);
}

#[test]
fn deleting_a_run_in_the_middle_of_its_search_leaves_nothing() {
    let yaml = longer_run(12).replacen("  retain: All\n", "", 1);
    let namespace = Namespace::new("gone");
    let there = tiny_volume(&namespace);
    namespace.apply(&yaml);
    await_search(&namespace, 1);
    assert!(running_workers(&namespace, "search") > 0);
    let deleted = Instant::now();
    namespace.kubectl(&[
        "delete",
        "prun",
        "tiny",
        "--cascade=foreground",
        "--timeout=120s",
    ]);
    let seconds = deleted.elapsed().as_secs_f64();
    for what in ["pruningruns", "jobs", "pods", "services", "configmaps"] {
        let left = namespace.kubectl(&["get", what, "-o", "name"]);
        let ours: Vec<&str> = left
            .lines()
            .filter(|name| !name.contains("kube-root-ca"))
            .collect();
        assert!(ours.is_empty(), "{what} are left: {ours:?}");
    }
    println!("run, Jobs and pods were gone after {seconds:.1} s");
    let own = there.path().join("store/runs/gone.tiny");
    assert!(!own.exists(), "by default nothing of its own prefix stays");
    let shared = there.path().join("store/databases");
    assert!(shared.exists(), "what runs share stays");
}

fn generation(run: &Value) -> i64 {
    run["status"]["search"]["generation"].as_i64().unwrap_or(0)
}

fn await_search(namespace: &Namespace, generations: i64) {
    namespace.await_run("tiny", Duration::from_secs(300), |run| {
        assert!(
            !finished(run),
            "it ended too early: {}",
            namespace.describe("tiny")
        );
        generation(run) >= generations
    });
}
