//! A story that a real Prometheus watches: every panel of the dashboards and every alert has something to say about it.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use darwinlm_tests::cluster::{Namespace, is_true, kubectl, try_kubectl};
use darwinlm_tests::node::{finished, longer_run, tiny_volume};
use darwinlm_tests::operator::SYSTEM;
use darwinlm_tests::panels::{alerts, queries, variables};
use darwinlm_tests::prometheus::{Prometheus, check_metrics};
use serde_json::{Value, json};
use tempfile::TempDir;

/// What may have nothing to say about this story, and why.
const NOTHING: &[(&str, &str)] = &[
    (
        "Looks that failed",
        "no look fails; one that meets a conflict may",
    ),
    ("Why it does not move", "the run that is looked at moves"),
    ("DarwinlmNoLeader", "there is a leader"),
    (
        "DarwinlmSeveralLeaders",
        "one release watches this namespace",
    ),
    ("DarwinlmLeaderChanges", "the leader stays"),
    ("DarwinlmReconcileErrors", "looks do not fail"),
    (
        "DarwinlmDefinitionOutdated",
        "the definition is the operator's",
    ),
    ("DarwinlmGpuSecondsWasted", "less than ten minutes are held"),
    (
        "DarwinlmWorkersFail",
        "a worker that cannot succeed is not tried again",
    ),
    ("DarwinlmStoreUnavailable", "the store is a folder"),
    (
        "DarwinlmBudgetNearlySpent",
        "an hour is more than this takes",
    ),
    (
        "Model FLOPs utilization (MFU)",
        "no data sheet gives the peak of this machine's CPU; the rate stands beside it",
    ),
    ("Device memory", "nobody counts bytes on a CPU"),
    (
        "Modules of the level database",
        "the tiny one is built before Prometheus learns of its worker, which takes it five seconds",
    ),
];

#[test]
fn every_panel_and_every_alert_has_something_to_say_or_a_reason_not_to() {
    let proxy = Proxy::start();
    let discovery = Discovery::start(&proxy.address);
    let prometheus = Prometheus::start(&discovery.scrape_configs());
    let namespace = Namespace::new("watched");
    let there = tiny_volume(&namespace);
    // Its claim is missing: it waits.
    namespace.apply(&named(
        "waits",
        &run().replace("pvc://data/model", "pvc://none/model"),
    ));
    // Its model is missing: it fails.
    namespace.apply(&named(
        "fails",
        &run().replace("pvc://data/model", "pvc://data/none"),
    ));
    namespace.apply(&run());

    let mut checked = None;
    let end = namespace.await_run("tiny", Duration::from_secs(900), |run| {
        checked = checked.take().or_else(|| workers_text(&namespace));
        finished(run)
    });
    assert!(is_true(&end, "Succeeded"), "{}", namespace.describe("tiny"));
    namespace.await_run("fails", Duration::from_secs(300), finished);
    // The last status is scraped.
    std::thread::sleep(Duration::from_secs(5));

    let worker = checked.expect("a worker told of itself while the run was at work");
    for text in [operators_text(), worker] {
        check_metrics(&text).unwrap_or_else(|said| panic!("{said}\n{text}"));
    }
    for (of, label) in variables() {
        let of = of.replace("$namespace", &namespace.name);
        let values = prometheus.label_values(&label, &of);
        let values = values.unwrap_or_else(|said| panic!("{of}: {said}"));
        let expected = if label == "name" { "tiny" } else { "watched" };
        assert!(
            values.iter().any(|value| value == expected),
            "{of}: {values:?}"
        );
    }
    let mut silent = Vec::new();
    for question in queries().into_iter().chain(alerts()) {
        let expression = question.of(&namespace.name, "tiny");
        let place = format!("{}: {}: {expression}", question.place, question.title);
        let series = prometheus.ever(&expression);
        let series = series.unwrap_or_else(|said| panic!("{place}: {said}"));
        let said = series.iter().filter(|(_, finite)| *finite).count();
        let reason = NOTHING.iter().find(|(title, _)| *title == question.title);
        println!("{said:4} series  {place}");
        if ["Tokens trained on", "Model FLOP/s"].contains(&question.title.as_str()) {
            assert!(
                said >= 2,
                "each worker of the search is a series of its own"
            );
        }
        match reason {
            Some((_, why)) if said == 0 => {
                println!("             nothing: {why}");
                silent.extend(unknown(&prometheus, &question.expression));
            }
            None if said == 0 => silent.push(place),
            _ => {}
        }
    }
    assert!(
        silent.is_empty(),
        "nothing is said by\n{}",
        silent.join("\n")
    );
    drop(there);
}

/// What nobody serves here, and may be asked for all the same.
const NOT_SERVED: &[&str] = &[
    // It begins with the first look that fails.
    "darwinlm_reconcile_errors_total",
    // Of a GPU alone.
    "darwinlm_worker_device_memory_bytes",
    "darwinlm_worker_device_memory_peak_bytes",
    "darwinlm_worker_peak_flops_per_second",
];

/// Metrics of an expression that nobody served: what is silent for a reason is silent for no other.
fn unknown(prometheus: &Prometheus, expression: &str) -> Vec<String> {
    expression
        .split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
        .filter(|word| word.starts_with("darwinlm_") && !word.starts_with("darwinlm_io_"))
        .filter(|word| !NOT_SERVED.contains(word))
        .filter(|name| !prometheus.ever(name).is_ok_and(|series| !series.is_empty()))
        .map(|name| format!("{name}, of {expression}"))
        .collect()
}

/// A run that has everything that a panel tells of.
fn run() -> String {
    let evaluation = "evaluation: {latency: {batch: 2, promptTokens: 16, newTokens: 4}}";
    let more = "retain: All
  budget: {gpuHours: 1}
  postTraining: {tokens: 65536, batchSequences: 4}";
    let forecast = "name: tiny\n  annotations: {darwinlm.io/forecast-gpu-seconds: \"600\"}";
    let changes = [
        ("name: tiny", forecast),
        ("evaluation: {}", evaluation),
        ("retain: All", more),
        // Both workers have a place on a node of two cores.
        ("{limits:", "{requests: {cpu: 100m}, limits:"),
    ];
    changes
        .into_iter()
        .fold(longer_run(24), |yaml, (from, to)| {
            assert!(yaml.contains(from), "the tiny run has no {from:?}");
            yaml.replacen(from, to, 1)
        })
}

fn named(name: &str, yaml: &str) -> String {
    yaml.replacen("  name: tiny\n", &format!("  name: {name}\n"), 1)
}

/// Finds the pods that the chart's monitors select, labels them as those do, and writes them where Prometheus looks: Debian's
/// has no discovery of Kubernetes. Pods are reached through the API server.
struct Discovery {
    folder: Arc<TempDir>,
    looking: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Discovery {
    fn start(proxy: &str) -> Self {
        let folder = Arc::new(TempDir::with_prefix("darwinlm-targets-").expect("a folder"));
        let looking = Arc::new(AtomicBool::new(true));
        let (there, goes_on, proxy) = (folder.clone(), looking.clone(), proxy.to_owned());
        let thread = std::thread::spawn(move || {
            while goes_on.load(Ordering::Relaxed) {
                look(there.path(), &proxy);
                std::thread::sleep(Duration::from_millis(500));
            }
        });
        Self {
            folder,
            looking,
            thread: Some(thread),
        }
    }

    fn scrape_configs(&self) -> String {
        let folder = self.folder.path().display();
        format!(
            "
- {{job_name: operator, honor_labels: true, file_sd_configs: [{{files: ['{folder}/operator.json']}}]}}
- {{job_name: workers, file_sd_configs: [{{files: ['{folder}/workers.json']}}]}}
"
        )
    }
}

impl Drop for Discovery {
    fn drop(&mut self) {
        self.looking.store(false, Ordering::Relaxed);
        // What it panicked with was printed.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// One look at all pods; when the API server does not answer, what was found before stays.
fn look(folder: &Path, proxy: &str) {
    let (answered, text) = try_kubectl(&["get", "pods", "-A", "-o", "json"], None);
    let Ok(list) = serde_json::from_str::<Value>(&text) else {
        return;
    };
    let Some(pods) = list["items"].as_array().filter(|_| answered) else {
        return;
    };
    let (mut operators, mut workers) = (Vec::new(), Vec::new());
    for pod in pods
        .iter()
        .filter(|pod| pod["status"]["phase"] == "Running")
    {
        let labels = &pod["metadata"]["labels"];
        let port = pod["spec"]["containers"][0]["ports"].as_array();
        let port = port.and_then(|ports| ports.iter().find(|port| port["name"] == "metrics"));
        let (Some(port), Some(namespace), Some(name)) = (
            port.and_then(|port| port["containerPort"].as_u64()),
            pod["metadata"]["namespace"].as_str(),
            pod["metadata"]["name"].as_str(),
        ) else {
            continue;
        };
        let path = format!("/api/v1/namespaces/{namespace}/pods/{name}:{port}/proxy/metrics");
        let mut target = json!({"targets": [proxy], "labels": {
            "__metrics_path__": path, "namespace": namespace, "pod": name,
            "instance": format!("{name}:{port}"),
        }});
        if labels["app.kubernetes.io/component"] == "operator" {
            operators.push(target);
        } else if labels["app.kubernetes.io/managed-by"] == "darwinlm-operator" {
            target["labels"]["darwinlm_io_run"] = labels["darwinlm.io/run"].clone();
            target["labels"]["darwinlm_io_task"] = labels["darwinlm.io/task"].clone();
            workers.push(target);
        }
    }
    for (file, targets) in [("operator.json", operators), ("workers.json", workers)] {
        let text = serde_json::to_string(&targets).expect("it is JSON");
        let path = folder.join(file);
        if fs::read_to_string(&path).is_ok_and(|before| before == text) {
            continue;
        }
        // Prometheus sees the old file or the new one, whole.
        let part = folder.join("part");
        fs::write(&part, text).expect("targets can be written");
        fs::rename(&part, &path).expect("targets can be replaced");
    }
}

/// What the leader serves.
fn operators_text() -> String {
    let selector = "app.kubernetes.io/component=operator";
    let pods = kubectl(&["-n", SYSTEM, "get", "pods", "-o", "name", "-l", selector]);
    let mut texts = pods.lines().filter_map(|pod| {
        let pod = pod.trim_start_matches("pod/");
        let path = format!("/api/v1/namespaces/{SYSTEM}/pods/{pod}:8080/proxy/metrics");
        let (answered, text) = try_kubectl(&["get", "--raw", &path], None);
        (answered && text.contains("darwinlm_leader 1")).then_some(text)
    });
    texts.next_back().expect("one operator leads")
}

/// What a worker at work serves, if one answers now.
fn workers_text(namespace: &Namespace) -> Option<String> {
    let pods = namespace.list("pods", "darwinlm.io/run=tiny");
    let running = pods
        .iter()
        .find(|pod| pod["status"]["phase"] == "Running")?;
    let pod = running["metadata"]["name"].as_str()?;
    let path = format!(
        "/api/v1/namespaces/{}/pods/{pod}:9090/proxy/metrics",
        namespace.name
    );
    let (answered, text) = try_kubectl(&["get", "--raw", &path], None);
    answered.then_some(text)
}

/// The API server without its keys, on loopback.
struct Proxy {
    child: Child,
    address: String,
}

impl Proxy {
    fn start() -> Self {
        let mut child = Command::new("kubectl")
            .args(["proxy", "--port=0"])
            .stdout(Stdio::piped())
            .spawn()
            .expect("kubectl is on the PATH: run this through `make e2e-dashboards`");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("standard output is piped");
        BufReader::new(stdout)
            .read_line(&mut line)
            .expect("it says where it listens");
        let address = line.trim().rsplit(' ').next().expect("it ends with that");
        let address = address.to_owned();
        Self { child, address }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
