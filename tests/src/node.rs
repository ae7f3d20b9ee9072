//! What stories on a real node share: volumes that pods see, and what a run's pods and Jobs are.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use crate::cluster::{Namespace, try_kubectl};
use crate::local::{Local, TINY_RUN};
use crate::tiny;

/// The user that workers run as; a hostPath volume ignores `fsGroup`.
const WORKER: &str = "65532:65532";

/// A folder that pods see; not below `/run`, which is the node's own.
///
/// # Panics
/// When it cannot be made.
pub fn volume() -> TempDir {
    let folder = TempDir::with_prefix("darwinlm-volume-").expect("a folder can be made");
    let open = <fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o755);
    fs::set_permissions(folder.path(), open).expect("the folder can be opened to others");
    folder
}

/// Gives a folder to the user that workers run as: a hostPath volume ignores `fsGroup`.
///
/// # Panics
/// Without root.
pub fn own(folder: &Path) {
    let owned = Command::new("chown")
        .arg("-R")
        .arg(WORKER)
        .arg(folder)
        .status();
    assert!(
        owned.is_ok_and(|status| status.success()),
        "chown needs root"
    );
}

/// The tiny model and its tokens in a volume that the claim `data` is bound to.
pub fn tiny_volume(namespace: &Namespace) -> TempDir {
    let folder = volume();
    tiny::write(folder.path());
    own(folder.path());
    namespace.claim("data", folder.path());
    folder
}

/// The tiny run with so long steps, and so many of them, that something can happen to its search.
pub fn longer_run(generations: u32) -> String {
    TINY_RUN
        .replacen("trainingTokens: 64", "trainingTokens: 1024", 1)
        .replacen("trainingTokens: 128", "trainingTokens: 2048", 1)
        .replacen("generations: 5", &format!("generations: {generations}"), 1)
}

/// The digest of the tiny run on this machine.
pub fn local_digest() -> String {
    digest_of(TINY_RUN)
}

/// The digest of a run's YAML on this machine.
///
/// # Panics
/// When it cannot be written, or the run fails.
pub fn digest_of(yaml: &str) -> String {
    let here = Local::new();
    fs::write(here.yaml(), yaml).expect("the YAML can be written");
    here.run(&["--workers", "1"]).digest()
}

/// Whether a run has ended.
pub fn finished(run: &Value) -> bool {
    matches!(
        run["status"]["stage"].as_str(),
        Some("Succeeded" | "Failed" | "Rejected")
    )
}

/// Pods of a task that run now.
pub fn running_workers(namespace: &Namespace, task: &str) -> usize {
    pods(namespace, task)
        .iter()
        .filter(|pod| pod["status"]["phase"] == "Running")
        .count()
}

/// The Jobs of a task that exist now.
pub fn jobs_of(namespace: &Namespace, run: &str, task: &str) -> Vec<String> {
    let selector = format!("darwinlm.io/run={run},darwinlm.io/task={task}");
    namespace
        .list("jobs", &selector)
        .iter()
        .filter_map(|job| job["metadata"]["name"].as_str().map(ToOwned::to_owned))
        .collect()
}

/// A pod of a task that runs and is not about to go.
pub fn a_running_worker(namespace: &Namespace, task: &str) -> Option<String> {
    let pods = pods(namespace, task);
    let running = pods.iter().find(|pod| {
        pod["status"]["phase"] == "Running" && pod["metadata"]["deletionTimestamp"].is_null()
    })?;
    running["metadata"]["name"].as_str().map(ToOwned::to_owned)
}

/// The pods of a task.
pub fn pods(namespace: &Namespace, task: &str) -> Vec<Value> {
    namespace.list("pods", &format!("darwinlm.io/task={task}"))
}

/// The value of a run's metric, as Prometheus would scrape it from each operator: the leader alone
/// tells of runs.
pub fn metric_of(namespace: &str, name: &str) -> Option<u64> {
    let operators = ["-n", "darwinlm-system", "get", "pods", "-o", "name", "-l"];
    let selector = "app.kubernetes.io/component=operator";
    let (_, pods) = try_kubectl(&[&operators[..], &[selector]].concat(), None);
    let scraped = pods.lines().map(|pod| {
        let pod = pod.trim_start_matches("pod/");
        let path = format!("/api/v1/namespaces/darwinlm-system/pods/{pod}:8080/proxy/metrics");
        let (answered, text) = try_kubectl(&["get", "--raw", &path], None);
        if answered { text } else { String::new() }
    });
    let text: String = scraped.collect();
    let line = text.lines().find(|line| {
        line.starts_with(name) && line.contains(&format!("namespace=\"{namespace}\""))
    })?;
    line.rsplit(' ')
        .next()?
        .parse::<f64>()
        .ok()
        .map(|value| value as u64)
}
