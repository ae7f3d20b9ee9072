//! A release's life with a run in flight, on a real node: installed, upgraded, rolled back,
//! uninstalled and installed again; the run's Jobs and workers notice nothing.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use darwinlm_tests::cluster::{Namespace, is_true, kubectl, try_kubectl};
use darwinlm_tests::local::Local;
use darwinlm_tests::node::{finished, longer_run, running_workers, tiny_volume};
use darwinlm_tests::programs::repository;
use serde_json::Value;
use tempfile::TempDir;

const SYSTEM: &str = "darwinlm-system";
const VALUES: [&str; 6] = [
    "image.repository=localhost/darwinlm-operator",
    "image.tag=dev",
    "image.pullPolicy=Never",
    "worker.image.repository=localhost/darwinlm-runner",
    "worker.image.tag=dev",
    "worker.image.pullPolicy=Never",
];

fn helm(arguments: &[&str], chart: Option<&Path>) -> String {
    let mut helm = Command::new("helm");
    helm.args(arguments).args(["--namespace", SYSTEM]);
    if let Some(chart) = chart {
        helm.arg(chart);
        // As text: a tag may look like a number.
        for value in VALUES {
            helm.args(["--set-string", value]);
        }
        helm.args(["--set", "pollSeconds=2,statusSeconds=2"]);
        helm.args(["--wait", "--timeout", "3m"]);
    }
    let output = helm.output().expect("helm is on the PATH");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let pods = ["-n", SYSTEM, "describe", "pods"];
    let logs = [
        "-n",
        SYSTEM,
        "logs",
        "-l",
        "app.kubernetes.io/name=darwinlm",
    ];
    assert!(
        output.status.success(),
        "helm {arguments:?}: {said}\n{}\n{}",
        try_kubectl(&pods, None).1,
        try_kubectl(&logs, None).1
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The chart's own test: a pod of the operator's image asks the operators whether they are ready.
fn helm_test() {
    println!("{}", helm(&["test", "darwinlm", "--timeout", "2m"], None));
}

/// The chart of before. Nothing was released yet, so that it is this one under an older number:
/// what Helm and the Deployment do about it is the same.
fn previous(folder: &Path) -> PathBuf {
    let chart = folder.join("darwinlm");
    let copied = Command::new("cp")
        .arg("-r")
        .arg(repository().join("charts/darwinlm"))
        .arg(&chart)
        .status();
    assert!(copied.is_ok_and(|status| status.success()));
    let file = chart.join("Chart.yaml");
    let text = fs::read_to_string(&file).expect("a chart says what it is");
    let version = text.lines().find(|line| line.starts_with("version: "));
    let older = text.replacen(version.expect("it has a version"), "version: 0.0.1", 1);
    fs::write(&file, older).expect("the copy can be written");
    chart
}

/// The run's Jobs, and the pods of those that are at work.
#[derive(Debug)]
struct AtWork {
    jobs: BTreeSet<(String, String)>,
    pods: BTreeSet<(String, String)>,
}

fn at_work(namespace: &Namespace) -> AtWork {
    let ids = |objects: &[Value]| -> BTreeSet<(String, String)> {
        let id = |object: &Value, field: &str| {
            let text = object["metadata"][field].as_str();
            text.expect("every object has it").to_owned()
        };
        objects
            .iter()
            .map(|object| (id(object, "name"), id(object, "uid")))
            .collect()
    };
    let selector = "darwinlm.io/task=search";
    let pods: Vec<Value> = namespace
        .list("pods", selector)
        .into_iter()
        .filter(|pod| pod["status"]["phase"] == "Running")
        .collect();
    for pod in &pods {
        let restarts = &pod["status"]["containerStatuses"][0]["restartCount"];
        assert_eq!(*restarts, 0, "a worker was started anew: {pod}");
        assert!(
            pod["metadata"]["deletionTimestamp"].is_null(),
            "a worker is ended: {pod}"
        );
    }
    AtWork {
        jobs: ids(&namespace.list("jobs", selector)),
        pods: ids(&pods),
    }
}

/// The same Jobs and the same workers, and the search is not over: else nothing was shown.
fn nothing_happened_to(before: &AtWork, namespace: &Namespace, after_what: &str) {
    let run = namespace.get("pruningrun/tiny");
    assert_eq!(
        run["status"]["stage"],
        "Searching",
        "the run was too short to tell: {}",
        namespace.describe("tiny")
    );
    let after = at_work(namespace);
    println!("after {after_what}: {after:?}");
    assert_eq!(after.jobs, before.jobs, "after {after_what}");
    assert_eq!(after.pods, before.pods, "after {after_what}");
}

fn operator_pods() -> BTreeSet<String> {
    let selector = "app.kubernetes.io/component=operator";
    let names = ["-n", SYSTEM, "get", "pods", "-l", selector, "-o", "name"];
    kubectl(&names).lines().map(ToOwned::to_owned).collect()
}

fn generation(run: &Value) -> i64 {
    run["status"]["search"]["generation"]
        .as_i64()
        .unwrap_or_default()
}

#[test]
fn an_upgrade_a_rollback_and_an_uninstall_leave_a_run_at_work_alone() {
    let folder = TempDir::new().expect("a folder can be made");
    let before = previous(folder.path());
    let chart = repository().join("charts/darwinlm");
    helm(&["install", "darwinlm"], Some(&before));
    helm_test();

    // In one Job, whose two workers find room on a node of two cores.
    let yaml = longer_run(120)
        .replacen(
            "generations: 120",
            "generations: 120\n    generationsPerJob: 120",
            1,
        )
        .replacen("{limits: {cpu", "{requests: {cpu: 200m}, limits: {cpu", 1);
    assert!(
        yaml.contains("PerJob: 120") && yaml.contains("200m"),
        "{yaml}"
    );
    let namespace = Namespace::new("upgraded");
    let data = tiny_volume(&namespace);
    namespace.apply(&yaml);
    let long = Duration::from_secs(240);
    // One worker alone may finish a generation before the other one runs.
    namespace.await_run("tiny", long, |run| {
        generation(run) > 0 && running_workers(&namespace, "search") == 2
    });
    let work = at_work(&namespace);
    assert_eq!((work.jobs.len(), work.pods.len()), (1, 2), "{work:?}");

    let old = operator_pods();
    helm(&["upgrade", "darwinlm"], Some(&chart));
    assert_ne!(operator_pods(), old, "no operator was replaced");
    nothing_happened_to(&work, &namespace, "the upgrade");
    let reached = generation(&namespace.get("pruningrun/tiny"));
    namespace.await_run("tiny", long, |run| generation(run) > reached);

    helm(
        &["rollback", "darwinlm", "1", "--wait", "--timeout", "3m"],
        None,
    );
    nothing_happened_to(&work, &namespace, "the rollback");
    let reached = generation(&namespace.get("pruningrun/tiny"));
    namespace.await_run("tiny", long, |run| generation(run) > reached);

    helm(&["uninstall", "darwinlm", "--wait"], None);
    nothing_happened_to(&work, &namespace, "the uninstall");
    kubectl(&["get", "crd", "pruningruns.darwinlm.io"]);

    helm(&["install", "darwinlm"], Some(&chart));
    helm_test();
    let end = namespace.await_run("tiny", Duration::from_secs(600), finished);
    assert!(is_true(&end, "Succeeded"), "{}", namespace.describe("tiny"));
    let here = Local::new();
    fs::write(here.yaml(), &yaml).expect("the YAML can be written");
    let local = here.run(&["--workers", "2"]).digest();
    assert_eq!(
        end["status"]["search"]["digest"], local,
        "the result of an undisturbed run"
    );
    drop(data);
}
