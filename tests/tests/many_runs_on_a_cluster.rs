//! Stories of several runs and of runs that cannot be, on a real node: a database that two share,
//! fifty at once, a Job of somebody else with our name, specs that cannot be carried out.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use darwinlm_tests::cluster::{Namespace, is_true, status_of};
use darwinlm_tests::files::files_below;
use darwinlm_tests::local::TINY_RUN;
use darwinlm_tests::node::{finished, local_digest, tiny_volume};
use serde_json::Value;

#[test]
fn two_runs_of_one_model_share_one_database_that_is_built_once() {
    let namespace = Namespace::new("shared");
    let there = tiny_volume(&namespace);
    for (name, seed) in [("one", 3), ("other", 4)] {
        namespace.apply(
            &TINY_RUN
                .replacen("name: tiny", &format!("name: {name}"), 1)
                .replacen("seed: 3", &format!("seed: {seed}"), 1),
        );
    }
    let ends =
        ["one", "other"].map(|name| namespace.await_run(name, Duration::from_secs(600), finished));
    let digests: BTreeSet<_> = ends
        .iter()
        .map(|end| {
            assert!(is_true(end, "Succeeded"), "{end}");
            end["status"]["search"]["digest"].to_string()
        })
        .collect();
    assert_eq!(digests.len(), 2, "two searches");
    let store = there.path().join("store");
    for prefix in ["databases", "teachers", "models"] {
        let folders = std::fs::read_dir(store.join(prefix))
            .expect("it is there")
            .count();
        assert_eq!(folders, 1, "{prefix} is shared");
    }
    let files = files_below(&store.join("databases"));
    let claims: Vec<&str> = files
        .iter()
        .filter_map(|file| file.to_str()?.split("/claims/").nth(1))
        .filter(|claim| !claim.ends_with(".beat"))
        .collect();
    println!("claims of the database: {claims:?}");
    let ranges: BTreeSet<&str> = claims
        .iter()
        .filter_map(|claim| claim.split('/').next())
        .collect();
    assert_eq!(
        claims.len(),
        ranges.len(),
        "each range of blocks was claimed once"
    );
}

#[test]
fn fifty_runs_at_once_all_end_and_do_not_starve_each_other() {
    const RUNS: usize = 50;
    let local = local_digest();
    let namespace = Namespace::new("fifty");
    let _there = tiny_volume(&namespace);
    let began = Instant::now();
    let runs: Vec<String> = (0..RUNS)
        .map(|run| {
            TINY_RUN
                .replacen("name: tiny", &format!("name: tiny-{run}"), 1)
                .replacen("workers: 2", "workers: 1", 1)
                .replacen("cpu: \"1\"", "cpu: 200m", 1)
                .replacen("  evaluation: {}\n", "", 1)
        })
        .collect();
    namespace.apply(&runs.join("---\n"));
    let mut accepted = None;
    let deadline = Instant::now() + Duration::from_secs(1500);
    let all = loop {
        let all = namespace.list("pruningruns", "");
        let heard = all.iter().filter(|run| is_true(run, "Accepted")).count();
        if heard == RUNS && accepted.is_none() {
            accepted = Some(began.elapsed());
        }
        let ended = all.iter().filter(|run| finished(run)).count();
        if ended == RUNS {
            break all;
        }
        assert!(Instant::now() < deadline, "{ended} of {RUNS} have ended");
        std::thread::sleep(Duration::from_secs(1));
    };
    println!(
        "{RUNS} runs were accepted after {:.1} s and ended after {:.0} s",
        accepted.unwrap_or_default().as_secs_f64(),
        began.elapsed().as_secs_f64()
    );
    for run in &all {
        assert!(is_true(run, "Succeeded"), "{run}");
        assert_eq!(run["status"]["search"]["digest"], local, "the same search");
    }
}

#[test]
fn a_job_of_somebody_else_with_our_name_is_left_alone_and_named() {
    let namespace = Namespace::new("foreign");
    let _there = tiny_volume(&namespace);
    namespace.apply(
        "\
apiVersion: batch/v1
kind: Job
metadata: {name: tiny-prepare-a1}
spec:
  suspend: true
  template:
    spec:
      restartPolicy: Never
      securityContext: {runAsNonRoot: true, seccompProfile: {type: RuntimeDefault}}
      containers:
        - name: work
          image: localhost/darwinlm-runner:dev
          securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}
",
    );
    let before = namespace.get("job/tiny-prepare-a1");
    namespace.apply(TINY_RUN);
    let run = namespace.await_run("tiny", Duration::from_secs(60), |run| {
        message(run, "Progressing").contains("belongs to another owner")
    });
    println!("{}", message(&run, "Progressing"));
    assert_eq!(status_of(&run, "Progressing"), Some("False"));
    let after = namespace.get("job/tiny-prepare-a1");
    assert_eq!(after["metadata"]["uid"], before["metadata"]["uid"]);
    assert_eq!(
        after["metadata"]["resourceVersion"],
        before["metadata"]["resourceVersion"]
    );
    namespace.kubectl(&["delete", "job", "tiny-prepare-a1"]);
    let end = namespace.await_run("tiny", Duration::from_secs(600), finished);
    assert!(is_true(&end, "Succeeded"), "{}", namespace.describe("tiny"));
}

#[test]
fn specs_that_cannot_be_carried_out_say_so_and_cost_no_pod() {
    let namespace = Namespace::new("refused-specs");
    let there = tiny_volume(&namespace);
    for (name, from, to, field) in [
        (
            "file",
            "pvc://data/model",
            "file:///data/model",
            "spec.model.source",
        ),
        (
            "store",
            "pvc://data/store",
            "file:///data/store",
            "spec.artifacts.store",
        ),
        (
            "claim",
            "pvc://data/model",
            "pvc://nothing/model",
            "nothing",
        ),
    ] {
        let yaml = TINY_RUN
            .replacen("name: tiny", &format!("name: {name}"), 1)
            .replacen(from, to, 1);
        namespace.apply(&yaml);
        let run = namespace.await_run(name, Duration::from_secs(60), |run| {
            status_of(run, "Accepted").is_some_and(|status| status != "Unknown")
                && message(run, "Accepted").contains(field)
        });
        println!("{name}: {}", message(&run, "Accepted"));
        assert_eq!(status_of(&run, "Accepted"), Some("False"), "{run}");
    }
    std::thread::sleep(Duration::from_secs(5));
    assert!(namespace.list("pods", "darwinlm.io/run").is_empty());
    namespace.kubectl(&["delete", "prun", "file", "store"]);
    // What was missing comes: the run goes on by itself, and ends as any other.
    namespace.claim("nothing", there.path());
    let run = namespace.await_run("claim", Duration::from_secs(120), |run| {
        is_true(run, "Accepted")
    });
    println!("claim: {}", message(&run, "Accepted"));
    let end = namespace.await_run("claim", Duration::from_secs(300), finished);
    assert!(
        is_true(&end, "Succeeded"),
        "{}",
        namespace.describe("claim")
    );
    assert_eq!(end["status"]["search"]["digest"], local_digest());
    drop(there);
}

fn message<'a>(run: &'a Value, condition: &str) -> &'a str {
    let conditions = run["status"]["conditions"].as_array();
    let found = conditions
        .into_iter()
        .flatten()
        .find(|found| found["type"] == condition);
    found
        .and_then(|found| found["message"].as_str())
        .unwrap_or_default()
}
