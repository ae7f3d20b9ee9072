//! What nodes and kubelets do to a run: drained, silent, stuck, out of memory, out of reach; the same
//! digest in the end, and said why it did not move.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use darwinlm_tests::chart::ChartValue;
use darwinlm_tests::cluster::{Namespace, is_true, kubectl, try_kubectl};
use darwinlm_tests::local::TINY_RUN;
use darwinlm_tests::node::{
    a_running_worker, digest_of, finished, jobs_of, longer_run, pods, tiny_volume,
};
use darwinlm_tests::programs::repository;
use serde_json::Value;

const LONG: Duration = Duration::from_secs(600);

#[test]
fn a_drained_node_costs_no_attempt_and_changes_nothing() {
    let yaml = longer_run(10);
    let local = digest_of(&yaml);
    let namespace = Namespace::new("drained");
    let there = tiny_volume(&namespace);
    namespace.apply(&yaml);
    let worker = await_worker(&namespace);
    let node = node_of(&namespace, &worker);
    let cordoned = Cordoned::new(&node);
    let before = pods(&namespace, "search");
    let evicted = Command::new("kubectl")
        .args(["drain", &node, "--pod-selector=darwinlm.io/run=tiny"])
        .args(["--delete-emptydir-data", "--timeout=90s"])
        .spawn()
        .expect("kubectl can be started");
    // The pods go with their eviction: how they ended is seen on the way out.
    let codes = exit_codes(&namespace, before.len(), evicted);
    println!("evicted workers ended with {codes:?}");
    let stopped = !codes.is_empty() && codes.iter().all(|code| *code == 75);
    assert!(stopped, "{codes:?}");
    let (reason, message) = await_reason(&namespace, "Unschedulable");
    println!("drained: {reason}: {message}");
    assert!(message.contains("were unschedulable"), "{message}");
    drop(cordoned);
    let end = succeeded(&namespace);
    assert_eq!(end["status"]["search"]["digest"], local);
    let jobs = jobs_of(&namespace, "tiny", "search");
    println!("search Jobs: {jobs:?}");
    assert!(jobs.iter().all(|job| job.ends_with("-a1")), "{jobs:?}");
    for job in namespace.list("jobs", "darwinlm.io/task=search") {
        assert!(job["status"]["failed"].as_i64().unwrap_or(0) == 0, "{job}");
    }
    drop(there);
}

#[test]
fn a_node_that_falls_silent_is_told_of_and_the_run_goes_on_when_it_is_back() {
    let yaml = longer_run(10);
    let local = digest_of(&yaml);
    let namespace = Namespace::new("silent-node");
    let there = tiny_volume(&namespace);
    namespace.apply(&yaml);
    await_worker(&namespace);
    let started = Instant::now();
    let silent = Silent::new("kubelet");
    let (_, message) = await_reason(&namespace, "NodeLost");
    println!("after {} s: {message}", started.elapsed().as_secs());
    assert!(
        message.contains("does not answer") && message.contains("Remedy: "),
        "{message}"
    );
    drop(silent);
    let end = succeeded(&namespace);
    assert_eq!(end["status"]["search"]["digest"], local);
    drop(there);
}

#[test]
fn workers_that_are_stuck_are_told_of_and_untold_when_they_move() {
    let yaml = longer_run(10);
    let local = digest_of(&yaml);
    let namespace = Namespace::new("stuck");
    let there = tiny_volume(&namespace);
    let soon = ChartValue::set("stallSeconds", "20");
    namespace.apply(&yaml);
    let worker = await_worker(&namespace);
    let started = Instant::now();
    signal_workers(&namespace, "STOP");
    let (_, message) = await_reason(&namespace, "NoProgress");
    println!("after {} s: {message}", started.elapsed().as_secs());
    let first = pods(&namespace, "search");
    let named = first
        .iter()
        .filter_map(|pod| pod["metadata"]["name"].as_str())
        .any(|name| message.contains(name));
    assert!(named, "{message} names no worker such as {worker}");
    assert!(message.contains(": search"), "{message}");
    signal_workers(&namespace, "CONT");
    let (reason, message) = await_reason(&namespace, "Searching");
    println!("let go: {reason}: {message}");
    let end = succeeded(&namespace);
    assert_eq!(end["status"]["search"]["digest"], local);
    drop(soon);
    drop(there);
}

#[test]
fn an_image_that_is_nowhere_is_told_in_the_kubelets_words() {
    let namespace = Namespace::new("no-image");
    let there = tiny_volume(&namespace);
    namespace.apply(&with_worker("image: \"localhost/none:1\""));
    let (_, message) = await_reason(&namespace, "ImagePull");
    println!("no image: {message}");
    assert!(message.contains("localhost/none:1"), "{message}");
    drop(there);
}

#[test]
fn a_secret_that_is_missing_is_told_by_name_and_the_run_goes_on_once_it_is_there() {
    let namespace = Namespace::new("no-secret");
    let there = tiny_volume(&namespace);
    namespace.apply(&TINY_RUN.replacen(
        "store: pvc://data/store",
        "store: pvc://data/store, credentialsSecretRef: {name: keys}",
        1,
    ));
    let (_, message) = await_reason(&namespace, "ReferenceNotFound");
    println!("no Secret: {message}");
    assert!(message.contains("secret \"keys\" not found"), "{message}");
    namespace.kubectl(&[
        "create",
        "secret",
        "generic",
        "keys",
        "--from-literal=UNUSED=x",
    ]);
    succeeded(&namespace);
    drop(there);
}

#[test]
fn a_container_that_needs_more_memory_is_told_with_its_limit() {
    let namespace = Namespace::new("no-memory");
    let there = tiny_volume(&namespace);
    namespace.apply(&with_worker("resources: {limits: {cpu: 1, memory: 40Mi}}"));
    let (_, message) = await_reason(&namespace, "OutOfMemory");
    println!("no memory: {message}");
    assert!(message.contains("OOMKilled: 40Mi"), "{message}");
    drop(there);
}

#[test]
fn a_suspended_run_holds_no_pod_and_resumed_ends_with_the_same_digest() {
    let yaml = longer_run(10);
    let local = digest_of(&yaml);
    let namespace = Namespace::new("suspended");
    let there = tiny_volume(&namespace);
    namespace.apply(&yaml);
    await_worker(&namespace);
    let suspend = |is: bool| {
        let patch = format!("{{\"spec\":{{\"suspend\":{is}}}}}");
        namespace.kubectl(&["patch", "prun/tiny", "--type=merge", "-p", &patch]);
    };
    let started = Instant::now();
    suspend(true);
    let is_active = |pod: &Value| {
        !matches!(
            pod["status"]["phase"].as_str(),
            Some("Succeeded" | "Failed")
        )
    };
    namespace.await_run("tiny", Duration::from_secs(60), |run| {
        is_true(run, "Suspended") && !pods(&namespace, "search").iter().any(is_active)
    });
    println!(
        "no pod {} s after spec.suspend",
        started.elapsed().as_secs()
    );
    suspend(false);
    let end = succeeded(&namespace);
    assert_eq!(end["status"]["search"]["digest"], local);
    drop(there);
}

#[test]
fn where_the_pod_network_refuses_progress_is_read_from_logs() {
    let yaml = longer_run(10);
    let local = digest_of(&yaml);
    let namespace = Namespace::new("no-network");
    let there = tiny_volume(&namespace);
    let refused = Refused::new("9090");
    namespace.apply(&yaml);
    let mut seen = std::collections::BTreeSet::new();
    let end = namespace.await_run("tiny", LONG, |run| {
        seen.extend(run["status"]["search"]["generation"].as_i64());
        finished(run)
    });
    let rules = nft("list table inet story").unwrap_or_else(|said| panic!("{said}"));
    drop(refused);
    let rejected = rules
        .split("packets ")
        .nth(1)
        .and_then(|rest| rest.split(' ').next());
    println!("generations seen {seen:?}, packets rejected {rejected:?}");
    assert!(rejected.is_some_and(|packets| packets != "0"), "{rules}");
    assert!(is_true(&end, "Succeeded"), "{}", namespace.describe("tiny"));
    assert_eq!(end["status"]["search"]["digest"], local);
    assert!(seen.len() > 2, "the status moved through {seen:?}");
    drop(there);
}

/// The tiny run with a line in `spec.worker`, instead of what it says there.
fn with_worker(line: &str) -> String {
    let before = TINY_RUN
        .split("  worker:")
        .next()
        .expect("a text has a beginning");
    format!("{before}  worker:\n    {line}\n")
}

/// A worker of the search, some generations into it.
fn await_worker(namespace: &Namespace) -> String {
    let mut worker = None;
    namespace.await_run("tiny", LONG, |run| {
        assert!(!finished(run), "the search is over: {run}");
        worker = a_running_worker(namespace, "search");
        worker.is_some() && run["status"]["search"]["generation"].as_i64() >= Some(1)
    });
    worker.expect("it was waited for")
}

fn await_reason(namespace: &Namespace, expected: &str) -> (String, String) {
    let mut told = (String::new(), String::new());
    namespace.await_run("tiny", Duration::from_secs(240), |run| {
        let conditions = run["status"]["conditions"].as_array();
        let progressing = conditions
            .into_iter()
            .flatten()
            .find(|condition| condition["type"] == "Progressing");
        let word = |key: &str| {
            let word = progressing.and_then(|found| found[key].as_str());
            word.unwrap_or_default().to_owned()
        };
        told = (word("reason"), word("message"));
        told.0 == expected
    });
    told
}

fn succeeded(namespace: &Namespace) -> Value {
    let end = namespace.await_run("tiny", LONG, finished);
    assert!(is_true(&end, "Succeeded"), "{}", namespace.describe("tiny"));
    end
}

fn node_of(namespace: &Namespace, pod: &str) -> String {
    namespace.kubectl(&["get", "pod", pod, "-o", "jsonpath={.spec.nodeName}"])
}

/// How so many workers end, as their pods say before they are gone.
fn exit_codes(namespace: &Namespace, workers: usize, mut drain: std::process::Child) -> Vec<i64> {
    let mut codes = std::collections::BTreeMap::new();
    let deadline = Instant::now() + Duration::from_secs(100);
    while codes.len() < workers && Instant::now() < deadline {
        for pod in pods(namespace, "search") {
            let state = &pod["status"]["containerStatuses"][0]["state"];
            if let Some(code) = state["terminated"]["exitCode"].as_i64() {
                codes.insert(pod["metadata"]["name"].to_string(), code);
            }
        }
        if drain
            .try_wait()
            .expect("kubectl can be waited for")
            .is_some()
        {
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    let drained = drain.wait().expect("kubectl can be waited for");
    assert!(drained.success(), "the node was not drained");
    codes.into_values().collect()
}

/// A node that takes no pods until this is dropped.
struct Cordoned(String);

impl Cordoned {
    fn new(node: &str) -> Self {
        kubectl(&["cordon", node]);
        Self(node.to_owned())
    }
}

impl Drop for Cordoned {
    fn drop(&mut self) {
        try_kubectl(&["uncordon", &self.0], None);
    }
}

/// A part of the node that does nothing until this is dropped.
struct Silent(&'static str);

impl Silent {
    fn new(part: &'static str) -> Self {
        let silent = Self(part);
        let pids = pids(part);
        assert!(!pids.is_empty(), "there is no {part}");
        for pid in pids {
            assert!(send(&pid, "STOP"), "{part} {pid} goes on");
        }
        silent
    }
}

impl Drop for Silent {
    fn drop(&mut self) {
        for pid in pids(self.0) {
            send(&pid, "CONT");
        }
    }
}

/// A port that no pod of the node reaches on another until this is dropped.
struct Refused;

impl Refused {
    fn new(port: &str) -> Self {
        let refused = Self;
        for words in [
            "add table inet story",
            "add chain inet story forward { type filter hook forward priority 0 ; }",
            &format!("add rule inet story forward tcp dport {port} counter reject"),
        ] {
            nft(words).unwrap_or_else(|said| panic!("{said}"));
        }
        refused
    }
}

impl Drop for Refused {
    fn drop(&mut self) {
        if let Err(said) = nft("delete table inet story") {
            eprintln!("{said}");
        }
    }
}

/// The processes of one part of the node.
fn pids(part: &str) -> Vec<String> {
    let output = Command::new(repository().join("tests/cluster/cluster.sh"))
        .args(["pids", part])
        .output();
    let pids = output.map(|output| output.stdout).unwrap_or_default();
    let pids = String::from_utf8_lossy(&pids).into_owned();
    pids.split_whitespace().map(ToOwned::to_owned).collect()
}

/// Sends a signal to every search worker of the run: a process is known by its pod's UID.
fn signal_workers(namespace: &Namespace, signal: &str) {
    let mut sent = 0;
    for pod in pods(namespace, "search") {
        let uid = pod["metadata"]["uid"].as_str().unwrap_or_default();
        let own = format!("DARWINLM_WORKER={uid}");
        for entry in fs::read_dir("/proc").expect("there is /proc").flatten() {
            let environ = fs::read(entry.path().join("environ")).unwrap_or_default();
            if environ
                .split(|byte| *byte == 0)
                .any(|variable| variable == own.as_bytes())
            {
                let pid = entry.file_name().to_string_lossy().into_owned();
                assert!(send(&pid, signal), "kill -{signal} {pid}");
                sent += 1;
            }
        }
    }
    assert!(sent > 0, "no worker is there for {signal}");
}

/// Whether the signal was sent.
fn send(pid: &str, signal: &str) -> bool {
    let sent = Command::new("kill")
        .args([&format!("-{signal}"), pid])
        .status();
    sent.is_ok_and(|status| status.success())
}

/// Runs `nft` in the node's network: what it prints, or what went wrong.
fn nft(words: &str) -> Result<String, String> {
    let pids = pids("kubelet");
    let kubelet = pids.first().ok_or("the kubelet does not run")?;
    let output = Command::new("nsenter")
        .args(["-t", kubelet, "-n", "-m", "nft"])
        .args(words.split(' '))
        .env("PATH", path_of(kubelet)?)
        .output()
        .map_err(|error| format!("nsenter cannot be started: {error}"))?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(format!("nft {words}: {output:?}"))
    }
}

/// Where the kubelet finds its programs.
fn path_of(pid: &str) -> Result<String, String> {
    let environ = fs::read(format!("/proc/{pid}/environ"))
        .map_err(|error| format!("root may read the kubelet's environment: {error}"))?;
    let environ = String::from_utf8_lossy(&environ).into_owned();
    let path = environ
        .split('\0')
        .find_map(|variable| variable.strip_prefix("PATH="));
    Ok(path.ok_or("the kubelet has no PATH")?.to_owned())
}
