//! Stories on a real node: the operator from its chart, the runner in restricted pods.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use darwinlm_tests::cluster::{Namespace, is_true, status_of, try_kubectl};
use darwinlm_tests::files::files_below;
use darwinlm_tests::local::{TINY_RUN, finish};
use darwinlm_tests::node::{
    a_running_worker, digest_of, finished, jobs_of, local_digest, longer_run, metric_of, own, pods,
    running_workers, tiny_volume, volume,
};
use darwinlm_tests::programs::{fetched, program, repository};
use serde_json::Value;

#[test]
fn the_same_yaml_ends_with_the_same_digest_on_this_machine_and_in_pods() {
    let yaml = smaller_demo();
    let here = volume();
    put_smollm2(here.path());
    let run = here.path().join("run.yaml");
    fs::write(&run, &yaml).expect("the YAML can be written");
    let child = Command::new(program("darwinlm"))
        .args(["run", "-f"])
        .arg(&run)
        .args(["--volume", &format!("darwinlm={}", here.path().display())])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("darwinlm can be started");
    let local = finish(child).digest();
    println!("on this machine: {local}");

    let there = volume();
    put_smollm2(there.path());
    let namespace = Namespace::new("same-yaml");
    namespace.claim("darwinlm", there.path());
    own(there.path());
    namespace.apply(&yaml);
    let mut survivors = BTreeSet::new();
    let mut most_workers = 0;
    let mut limits = BTreeMap::new();
    let end = namespace.await_run("smollm2-demo", Duration::from_secs(1200), |run| {
        survivors.extend(survivor_of(run));
        most_workers = most_workers.max(running_workers(&namespace, "search"));
        limits.extend(gpu_limits(&namespace, "search"));
        status_of(run, "Succeeded").is_some_and(|status| status != "Unknown") && finished(run)
    });
    assert!(
        is_true(&end, "Succeeded"),
        "{}",
        namespace.describe("smollm2-demo")
    );
    println!(
        "in pods: {}, survivors seen {survivors:?}, GPU limits {limits:?}",
        end["status"]["search"]["digest"]
    );
    assert_eq!(end["status"]["search"]["digest"], local);
    assert_eq!(most_workers, 2, "two workers at once");
    assert!(limits.len() >= 2, "two pods: {limits:?}");
    assert!(
        limits.values().all(|limit| limit == "1"),
        "a GPU each: {limits:?}"
    );
    assert!(
        survivors.len() > 1,
        "the survivor did not move: {survivors:?}"
    );
    assert!(
        end["status"]["search"]["survivor"]["genome"]["mlp"].is_string(),
        "{end}"
    );
    for condition in [
        "Accepted",
        "Prepared",
        "DatabaseReady",
        "SearchComplete",
        "Trained",
        "Evaluated",
        "Exported",
    ] {
        assert!(is_true(&end, condition), "{condition}: {end}");
    }
    let weights = |volume: &Path, namespace: &str| {
        let run = volume.join(format!("store/runs/{namespace}.smollm2-demo"));
        let trained = files_below(&run.join("checkpoints"));
        let manifest = trained
            .iter()
            .find(|file| file.ends_with("trained/manifest.json"));
        fs::read_to_string(manifest.expect("the trained weights are kept")).expect("it is text")
    };
    // The digest of every file: the same weights, bit for bit.
    assert_eq!(
        weights(here.path(), "local"),
        weights(there.path(), &namespace.name)
    );
    let exported = there.path().join("exports/smollm2-demo/transformers");
    assert!(
        exported.join("model.safetensors").exists(),
        "nothing was exported"
    );
}

#[test]
fn one_job_per_generation_moves_status_event_and_metric_after_each() {
    let namespace = Namespace::new("one-job");
    let there = tiny_volume(&namespace);
    let local = local_digest();
    namespace.apply(&TINY_RUN.replacen(
        "    workers: 2\n",
        "    workers: 2\n    generationsPerJob: 1\n",
        1,
    ));
    let mut seen = BTreeSet::new();
    let mut metric = BTreeSet::new();
    // Only the last few finished Jobs are kept: they are counted as they come.
    let mut jobs = BTreeSet::new();
    let end = namespace.await_run("tiny", Duration::from_secs(600), |run| {
        if let Some(generation) = run["status"]["search"]["generation"].as_i64() {
            seen.insert(generation);
        }
        jobs.extend(jobs_of(&namespace, "tiny", "search"));
        metric.extend(metric_of(&namespace.name, "darwinlm_run_generation"));
        finished(run)
    });
    assert!(is_true(&end, "Succeeded"), "{}", namespace.describe("tiny"));
    assert_eq!(end["status"]["search"]["digest"], local);
    println!("jobs {jobs:?}, generations in status {seen:?}, in the metric {metric:?}");
    let events = namespace.kubectl(&["get", "events.events.k8s.io", "-o", "json"]);
    let events: Value = serde_json::from_str(&events).expect("kubectl prints JSON");
    let done: u64 = events["items"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|event| event["reason"] == "GenerationDone")
        .map(|event| event["series"]["count"].as_u64().unwrap_or(1))
        .sum();
    let expected: BTreeSet<String> = (0..5)
        .map(|generation| format!("tiny-search-g{generation}-a1"))
        .collect();
    assert_eq!(jobs, expected, "one Job for each of five generations");
    assert_eq!(done, 5, "events of finished generations");
    seen.remove(&0);
    assert_eq!(seen, BTreeSet::from([1, 2, 3, 4, 5]), "status");
    assert!(metric.len() > 3, "the metric moved through {metric:?}");
    drop(there);
}

#[test]
fn a_worker_pod_deleted_three_times_changes_nothing() {
    let namespace = Namespace::new("deleted");
    let there = tiny_volume(&namespace);
    let yaml = longer_run(12);
    let local = digest_of(&yaml);
    namespace.apply(&yaml);
    let mut deleted = 0;
    let mut last = Instant::now();
    let end = namespace.await_run("tiny", Duration::from_secs(900), |run| {
        if deleted < 3
            && last.elapsed() > Duration::from_secs(3)
            && run["status"]["search"]["generation"]
                .as_i64()
                .is_some_and(|g| g > deleted)
            && let Some(pod) = a_running_worker(&namespace, "search")
        {
            println!("deleting {pod}");
            try_kubectl(
                &[
                    "-n",
                    &namespace.name,
                    "delete",
                    "pod",
                    &pod,
                    "--grace-period=0",
                    "--force",
                ],
                None,
            );
            deleted += 1;
            last = Instant::now();
        }
        finished(run)
    });
    assert!(is_true(&end, "Succeeded"), "{}", namespace.describe("tiny"));
    assert_eq!(deleted, 3, "the search ended after {deleted} deletions");
    assert_eq!(end["status"]["search"]["digest"], local);
    drop(there);
}

/// The demo, cut down so that two whole runs of it take minutes: same model, same text, same tasks.
fn smaller_demo() -> String {
    let demo = fs::read_to_string(repository().join("tests/demo.yaml")).expect("it is there");
    let smaller = [
        ("generations: 4", "generations: 2"),
        ("offspring: 8", "offspring: 4"),
        (
            "tokens: 16384, sequenceLength",
            "tokens: 4096, sequenceLength",
        ),
        ("fitness: {tokens: 16384}", "fitness: {tokens: 4096}"),
        ("validation: {tokens: 4096}", "validation: {tokens: 1024}"),
        (
            "trainingTokens: 0, fitnessTokens: 2048",
            "trainingTokens: 512, fitnessTokens: 512",
        ),
        ("    tokens: 4096\n", "    tokens: 1024\n"),
        ("memory: 6Gi}", "memory: 6Gi, nvidia.com/gpu: \"1\"}"),
    ];
    smaller.into_iter().fold(demo, |yaml, (from, to)| {
        assert!(yaml.contains(from), "the demo has no {from:?}");
        yaml.replacen(from, to, 1)
    })
}

fn put_smollm2(volume: &Path) {
    for (from, to) in [
        ("models/smollm2-135m", "models/smollm2-135m"),
        ("text/sotu.jsonl", "text/sotu.jsonl"),
    ] {
        let target = volume.join(to);
        fs::create_dir_all(target.parent().expect("it lies in a folder"))
            .expect("a folder can be made");
        let source: PathBuf = fetched(from);
        let copied = Command::new("cp")
            .arg("-rL")
            .arg(source)
            .arg(target)
            .status();
        assert!(copied.is_ok_and(|status| status.success()));
    }
}

/// What the pods of a task may use of `nvidia.com/gpu`, by pod.
fn gpu_limits(namespace: &Namespace, task: &str) -> Vec<(String, String)> {
    let limit = |pod: &Value| {
        let name = pod["metadata"]["name"].as_str()?.to_owned();
        let limits = &pod["spec"]["containers"][0]["resources"]["limits"];
        let gpus = limits["nvidia.com/gpu"].as_str().unwrap_or("none");
        Some((name, gpus.to_owned()))
    };
    pods(namespace, task).iter().filter_map(limit).collect()
}

/// The survivor as the status tells it: its fitness, and the generation it was born in.
fn survivor_of(run: &Value) -> Option<(String, i64)> {
    let survivor = &run["status"]["search"]["survivor"];
    let fitness = survivor["fitness"].as_str()?.to_owned();
    Some((fitness, survivor["bornInGeneration"].as_i64()?))
}
