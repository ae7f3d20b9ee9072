//! Stories of how runs end on a real node: stores that are buckets, secrets that stay secret, seconds that
//! add up, and what deletion leaves.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use darwinlm_tests::chart::ChartValue;
use darwinlm_tests::cluster::{Namespace, is_true, kubectl, kubectl_with, try_kubectl};
use darwinlm_tests::files::files_below;
use darwinlm_tests::gateway::Gateway;
use darwinlm_tests::local::TINY_RUN;
use darwinlm_tests::node::{finished, local_digest};
use darwinlm_tests::tiny;
use serde_json::Value;
use tempfile::TempDir;

const OF_THE_SOURCE: &str = "canary of the source";
const OF_THE_STORE: &str = "canary of the store";
/// How long the operator holds a deleted run back in these stories.
const TIME_BOX: Duration = Duration::from_secs(60);

/// This machine as pods see it: the first address of the node's network.
fn this_machine() -> String {
    let address = "jsonpath={.items[0].status.addresses[?(@.type==\"InternalIP\")].address}";
    let node = kubectl(&["get", "nodes", "-o", address]);
    let (network, _) = node.trim().rsplit_once('.').expect("it is an address");
    format!("{network}.1")
}

fn give(namespace: &Namespace, name: &str, variables: &[(String, String)]) {
    let data: serde_json::Map<String, Value> = variables
        .iter()
        .map(|(name, value)| (name.clone(), value.clone().into()))
        .collect();
    let secret = serde_json::json!({"apiVersion": "v1", "kind": "Secret",
        "metadata": {"name": name}, "stringData": data});
    let arguments = ["-n", &namespace.name, "apply", "-f", "-"];
    kubectl_with(&arguments, &secret.to_string());
}

/// The tiny run between two buckets.
fn between_buckets() -> String {
    let edits = [
        (
            "model: {source: pvc://data/model}",
            "model: {source: s3://bucket/models/tiny, credentialsSecretRef: {name: of-the-source}}",
        ),
        (
            "pvc://data/tokens.safetensors",
            "s3://bucket/text/tokens.safetensors",
        ),
        (
            "{store: pvc://data/store}",
            "{store: s3://bucket/runs, credentialsSecretRef: {name: of-the-store}}",
        ),
        // The default keeps the page that tells of the run, and what was exported, which is nothing.
        ("  retain: All\n", ""),
    ];
    edits
        .into_iter()
        .fold(TINY_RUN.to_owned(), |yaml, (from, to)| {
            assert!(yaml.contains(from), "{from}");
            yaml.replacen(from, to, 1)
        })
}

fn fill(source: &Gateway) {
    let folder = TempDir::with_prefix("darwinlm-source-").expect("a folder can be made");
    tiny::write(folder.path());
    let to = source.bucket().join("models/tiny");
    let text = source.bucket().join("text");
    fs::create_dir_all(&to).expect("a folder can be made");
    fs::create_dir_all(&text).expect("a folder can be made");
    for file in files_below(&folder.path().join("model")) {
        let name = file.file_name().expect("it is a file");
        fs::copy(&file, to.join(name)).expect("a file can be copied");
    }
    let tokens = folder.path().join("tokens.safetensors");
    fs::copy(tokens, text.join("tokens.safetensors")).expect("a file can be copied");
}

/// Everything that anybody may read of a namespace but its Secrets, the operator's log included.
fn readable(namespace: &Namespace) -> String {
    let own =
        |arguments: &[&str]| try_kubectl(&[&["-n", &namespace.name], arguments].concat(), None).1;
    let objects = "jobs,pods,pruningruns,events.events.k8s.io,configmaps,persistentvolumeclaims";
    let mut text = own(&["get", objects, "-o", "yaml", "--show-managed-fields"]);
    text += &own(&["describe", "pods,jobs,pruningruns"]);
    for pod in own(&["get", "pods", "-o", "name"]).lines() {
        text += &own(&["logs", pod]);
    }
    let operators = "app.kubernetes.io/component=operator";
    let logs = [
        "-n",
        "darwinlm-system",
        "logs",
        "-l",
        operators,
        "--tail=-1",
    ];
    text + &try_kubectl(&logs, None).1
}

/// The files that hold a word.
fn holding(word: &str, folder: &Path) -> String {
    let found = Command::new("grep")
        .args(["-rlF", word])
        .arg(folder)
        .output();
    let found = found.expect("grep can be started").stdout;
    String::from_utf8_lossy(&found).into_owned()
}

/// What the pods of tasks that compute held, from their nodes to their ends, in seconds.
fn held(namespace: &Namespace) -> (f64, usize) {
    let seconds = |text: &Value| {
        let text = text.as_str().expect("it is a time");
        let said = Command::new("date").args(["-d", text, "+%s"]).output();
        let said = String::from_utf8(said.expect("date can be started").stdout).unwrap_or_default();
        said.trim().parse::<f64>().expect("date prints seconds")
    };
    let pods = namespace.list("pods", "darwinlm.io/task notin (prepare,export,clean-up)");
    let each = pods.iter().map(|pod| {
        let conditions = pod["status"]["conditions"].as_array().expect("it has some");
        let scheduled = conditions.iter().find(|is| is["type"] == "PodScheduled");
        let scheduled = &scheduled.expect("it had a node")["lastTransitionTime"];
        let ended = &pod["status"]["containerStatuses"][0]["state"]["terminated"]["finishedAt"];
        seconds(ended) - seconds(scheduled)
    });
    (each.sum(), pods.len())
}

fn is_gone(namespace: &Namespace, run: &str, within: Duration) -> Duration {
    let started = Instant::now();
    while !namespace.get(&format!("pruningrun/{run}")).is_null() {
        assert!(started.elapsed() < within, "{}", namespace.describe(run));
        std::thread::sleep(Duration::from_millis(500));
    }
    started.elapsed()
}

#[test]
fn runs_of_one_name_share_a_bucket_keep_their_secrets_and_leave_as_they_were_asked() {
    let seconds = TIME_BOX.as_secs().to_string();
    let _time_box = ChartValue::set("cleanUpSeconds", &seconds);
    let digest = local_digest();
    let machine = this_machine();
    let source = Gateway::start_on(&machine, OF_THE_SOURCE);
    let store = Gateway::start_on(&machine, OF_THE_STORE);
    fill(&source);
    let both = [Namespace::new("bucket-a"), Namespace::new("bucket-b")];
    for namespace in &both {
        give(namespace, "of-the-source", &source.variables());
        give(namespace, "of-the-store", &store.variables());
        namespace.apply(&between_buckets());
    }
    for namespace in &both {
        let end = namespace.await_run("tiny", Duration::from_secs(300), finished);
        assert!(is_true(&end, "Succeeded"), "{}", namespace.describe("tiny"));
        assert_eq!(end["status"]["search"]["digest"], digest);
        // The seconds of all causes are those that pods held: to a second a pod, as Kubernetes counts.
        let (held, pods) = held(namespace);
        let page = format!("s3://bucket/runs/runs/{}.tiny/report.html", namespace.name);
        assert_eq!(end["status"]["artifacts"]["report"], page);
        let causes = end["status"]["gpuSeconds"].as_object().expect("it is told");
        let told: f64 = causes.values().filter_map(Value::as_f64).sum();
        println!(
            "{}: held {held} s by {pods} pods, told {told} s: {causes:?}",
            namespace.name
        );
        assert!(
            (held - told).abs() <= 0.01 * held + pods as f64,
            "{held} {told}"
        );
        assert!(causes["useful"].as_f64() > Some(0.0), "{causes:?}");
    }
    for namespace in &both {
        let text = readable(namespace);
        assert!(text.contains("of-the-store") && text.contains("the operator starts"));
        assert!(
            !text.contains("canary"),
            "a secret can be read in {}",
            namespace.name
        );
    }
    for folder in [store.bucket(), source.bucket()] {
        assert_eq!(holding("canary", &folder), "", "a secret was written down");
    }
    let files = |namespace: &str| {
        let runs = store.bucket().join("runs/runs");
        files_below(&runs.join(format!("{namespace}.tiny")))
    };
    let runs = |namespace: &str| files(namespace).len();
    let before = runs("bucket-b");
    assert!(runs("bucket-a") > 10 && before > 10);
    // One is deleted, in the foreground even: its prefix goes, the other's and what they share stay.
    both[0].kubectl(&[
        "delete",
        "prun/tiny",
        "--cascade=foreground",
        "--wait=false",
    ]);
    let took = is_gone(&both[0], "tiny", TIME_BOX + Duration::from_secs(10));
    println!("gone after {took:?}");
    assert_eq!((runs("bucket-a"), runs("bucket-b")), (1, before));
    assert!(files("bucket-a")[0].ends_with("bucket-a.tiny/report.html"));
    assert!(!files_below(&store.bucket().join("runs/databases")).is_empty());
    assert!(
        both[0]
            .kubectl(&["get", "events.events.k8s.io"])
            .contains("CleanedUp")
    );
    // The other one while its store is down: it goes all the same, and says what it leaves.
    let bucket = store.bucket();
    let kept = files_below(&bucket).len();
    assert!(kept > 0);
    store.pause();
    both[1].kubectl(&["delete", "prun/tiny", "--wait=false"]);
    let took = is_gone(&both[1], "tiny", TIME_BOX + Duration::from_secs(30));
    println!("gone after {took:?} without its store");
    let events = both[1].kubectl(&["get", "events.events.k8s.io", "-o", "yaml"]);
    assert!(
        events.contains("LeftBehind") && events.contains("runs/bucket-b.tiny stays"),
        "{events}"
    );
    assert_eq!(runs("bucket-b"), before);
}

#[test]
fn a_namespace_goes_with_a_run_at_work_in_it_and_a_finished_run_after_its_time() {
    let machine = this_machine();
    let (source, store) = (
        Gateway::start_on(&machine, OF_THE_SOURCE),
        Gateway::start_on(&machine, OF_THE_STORE),
    );
    fill(&source);
    let namespace = Namespace::new("expires");
    give(&namespace, "of-the-source", &source.variables());
    give(&namespace, "of-the-store", &store.variables());
    let elsewhere = Namespace::new("elsewhere");
    // The Secrets of another namespace are nobody else's.
    // Its worker waits on the node, and leaves room there for others.
    let small = between_buckets().replacen("cpu: \"1\"", "cpu: 50m", 1);
    assert!(small.contains("cpu: 50m"), "{small}");
    elsewhere.apply(&small);
    elsewhere.await_run("tiny", Duration::from_secs(60), |run| {
        let conditions = run["status"]["conditions"].as_array();
        let mut conditions = conditions.into_iter().flatten();
        conditions.any(|is| is["type"] == "Progressing" && is["reason"] == "ReferenceNotFound")
    });
    namespace.apply(&format!(
        "{}  ttlSecondsAfterFinished: 3600\n",
        between_buckets()
    ));
    let end = namespace.await_run("tiny", Duration::from_secs(300), finished);
    assert!(is_true(&end, "Succeeded"), "{}", namespace.describe("tiny"));
    let patch = r#"{"spec":{"ttlSecondsAfterFinished":5}}"#;
    namespace.kubectl(&["patch", "prun/tiny", "--type=merge", "-p", patch]);
    let took = is_gone(&namespace, "tiny", Duration::from_secs(60));
    println!("expired and gone after {took:?}");
    let left = files_below(&store.bucket().join("runs/runs/expires.tiny"));
    assert!(
        left.len() == 1 && left[0].ends_with("expires.tiny/report.html"),
        "{left:?}"
    );
    // At work, and with its namespace: no Job can be made any more, and nothing is stuck.
    namespace.apply(&between_buckets());
    namespace.await_run("tiny", Duration::from_secs(120), |run| {
        is_true(run, "Prepared")
    });
    for name in [&namespace.name, &elsewhere.name] {
        let started = Instant::now();
        kubectl(&["delete", "namespace", name, "--wait=true", "--timeout=100s"]);
        println!("namespace {name} gone after {:?}", started.elapsed());
    }
}
