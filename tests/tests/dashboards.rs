//! A story that a real Prometheus watches: every panel of the dashboards and every alert has something to say about it.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use darwinlm_tests::cluster::{Namespace, is_true, kubectl, try_kubectl};
use darwinlm_tests::node::{finished, longer_run, tiny_volume};
use darwinlm_tests::operator::SYSTEM;
use darwinlm_tests::panels::{alerts, queries, variables};
use darwinlm_tests::prometheus::{Prometheus, check_metrics};

/// What has nothing to say about this story, and why.
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
];

#[test]
fn every_panel_and_every_alert_has_something_to_say_or_a_reason_not_to() {
    let proxy = Proxy::start();
    let prometheus = Prometheus::start(&scrapes(&proxy.address));
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
        match reason {
            Some((_, why)) if said == 0 => println!("             nothing: {why}"),
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

/// A run that has everything that a panel tells of.
fn run() -> String {
    let run = longer_run(12)
        .replacen("  evaluation: {}\n", "  evaluation: {latency: {batch: 2, promptTokens: 16, newTokens: 4}}\n", 1)
        .replacen("  retain: All\n", "  retain: All\n  budget: {gpuHours: 1}\n  postTraining: {tokens: 65536, batchSequences: 4}\n", 1);
    for part in ["latency:", "budget:"] {
        assert!(run.contains(part), "the tiny run has changed: no {part}");
    }
    run
}

fn named(name: &str, yaml: &str) -> String {
    yaml.replacen("  name: tiny\n", &format!("  name: {name}\n"), 1)
}

/// What the chart's monitors tell Prometheus to scrape, in its own words; pods are reached through the API server.
fn scrapes(address: &str) -> String {
    let pods = format!("kubernetes_sd_configs: [{{role: pod, api_server: 'http://{address}'}}]");
    let through = format!(
        "
  - {{source_labels: [__meta_kubernetes_pod_phase], regex: Running, action: keep}}
  - {{source_labels: [__meta_kubernetes_pod_container_port_name], regex: metrics, action: keep}}
  - {{source_labels: [__meta_kubernetes_namespace], target_label: namespace}}
  - {{source_labels: [__meta_kubernetes_pod_name], target_label: pod}}
  - source_labels: [__meta_kubernetes_namespace, __meta_kubernetes_pod_name, __meta_kubernetes_pod_container_port_number]
    regex: (.*);(.*);(.*)
    replacement: /api/v1/namespaces/$1/pods/$2:$3/proxy/metrics
    target_label: __metrics_path__
  - {{target_label: __address__, replacement: '{address}'}}
"
    );
    format!(
        "
- job_name: operator
  honor_labels: true
  {pods}
  relabel_configs:
  - {{source_labels: [__meta_kubernetes_pod_label_app_kubernetes_io_component], regex: operator, action: keep}}{through}
- job_name: workers
  {pods}
  relabel_configs:
  - {{source_labels: [__meta_kubernetes_pod_label_app_kubernetes_io_managed_by], regex: darwinlm-operator, action: keep}}
  - {{source_labels: [__meta_kubernetes_pod_label_darwinlm_io_run], target_label: darwinlm_io_run}}
  - {{source_labels: [__meta_kubernetes_pod_label_darwinlm_io_task], target_label: darwinlm_io_task}}{through}"
    )
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
