//! The command about runs in a cluster, on a real API server: what it says and what it changes. Nobody
//! carries runs out here; their status is written as an operator would.

use std::process::{Command, Stdio};
use std::time::Duration;

use darwinlm_tests::cluster::{Namespace, is_true, status_of};
use darwinlm_tests::local::{Finished, Local, TINY_RUN, finish};
use darwinlm_tests::operator::{Access, Operator, install_definition, install_rights};
use darwinlm_tests::programs::program;
use serde_json::json;

fn darwinlm(arguments: &[&str]) -> Finished {
    let child = Command::new(program("darwinlm"))
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    finish(child.expect("darwinlm can be started"))
}

/// Writes the status as an operator would.
fn say(namespace: &Namespace, reason: &str, message: &str, succeeded: &str) {
    let condition = |type_: &str, status: &str, reason: &str, message: &str| {
        json!({"type": type_, "status": status, "reason": reason, "message": message,
            "lastTransitionTime": "2026-01-01T00:00:00Z"})
    };
    let progressing = if succeeded == "Unknown" {
        "True"
    } else {
        "False"
    };
    let status = json!({"status": {"stage": "Searching", "conditions": [
        condition("Progressing", progressing, reason, message),
        condition("Succeeded", succeeded, "InProgress", ""),
    ]}});
    let patch = status.to_string();
    let status = [
        "patch",
        "prun/tiny",
        "--subresource=status",
        "--type=merge",
        "-p",
    ];
    namespace.kubectl(&[&status[..], &[&patch]].concat());
}

#[test]
fn a_run_is_explained_suspended_resumed_and_watched_to_its_end() {
    install_definition();
    let namespace = Namespace::new("plugin");
    let of = |command: &[&str]| darwinlm(&[command, &["-n", "plugin"]].concat());
    let missing = of(&["explain", "tiny"]);
    assert_eq!(missing.code, Some(66), "{}", missing.stderr);
    assert!(
        missing
            .stderr
            .contains("namespace plugin has no PruningRun \"tiny\""),
        "{}",
        missing.stderr
    );
    namespace.apply(TINY_RUN);
    let nobody = of(&["explain", "tiny"]).stdout;
    assert!(
        nobody.contains("No operator has looked at it yet"),
        "{nobody}"
    );
    for (command, suspended) in [("suspend", true), ("suspend", true), ("resume", false)] {
        let told = of(&[command, "tiny"]);
        assert_eq!(told.code, Some(0), "{}", told.stderr);
        let is = namespace.get("prun/tiny")["spec"]["suspend"].as_bool();
        assert_eq!(is.unwrap_or_default(), suspended, "{}", told.stdout);
    }
    let words = "0/3 nodes are available: 3 Insufficient cpu. Remedy: add a node";
    say(&namespace, "Searching", words, "Unknown");
    let told = of(&["explain", "tiny"]).stdout;
    assert!(
        told.contains("  0/3 nodes are available: 3 Insufficient cpu\n"),
        "{told}"
    );
    assert!(told.contains("What to do\n  add a node\n"), "{told}");
    let none = of(&["logs", "tiny"]);
    assert_eq!(none.code, Some(66), "{}", none.stderr);
    assert!(
        none.stderr.contains("darwinlm explain tiny"),
        "{}",
        none.stderr
    );
    assert_eq!(of(&["logs", "tiny", "train"]).code, Some(64));
    let watched = std::thread::scope(|scope| {
        let watch = scope.spawn(|| of(&["watch", "tiny"]));
        std::thread::sleep(Duration::from_secs(2));
        assert!(!watch.is_finished(), "it ended before the run");
        say(&namespace, "Finished", "the run has its result", "True");
        watch.join().expect("the command ends")
    });
    assert_eq!(watched.code, Some(0), "{}", watched.stderr);
    assert!(watched.stdout.contains("What to do"), "{}", watched.stdout);
    assert!(watched.stdout.contains("Finished"), "{}", watched.stdout);
    say(&namespace, "OutOfMemory", "it does not fit", "False");
    let failed = of(&["watch", "tiny"]);
    assert_eq!(failed.code, Some(1), "{}", failed.stdout);
}

#[test]
fn a_plan_that_fits_is_applied_with_what_it_is_expected_to_take() {
    install_definition();
    let namespace = Namespace::new("planned");
    let world = Local::new();
    let (file, model) = (world.yaml(), world.path().join("model"));
    let text = |path: &std::path::Path| path.to_str().expect("the path is text").to_owned();
    let (file, model) = (text(&file), text(&model));
    let plan = |more: &[&str]| {
        let asked = [
            "plan", "-f", &file, "--model", &model, "--apply", "-n", "planned",
        ];
        darwinlm(&[&asked, more].concat())
    };
    let large = plan(&["--memory", "1Mi"]);
    assert_eq!(large.code, Some(12), "{}", large.stderr);
    let there = namespace.kubectl(&["get", "pruningruns", "-o", "name"]);
    assert_eq!(there, "", "what does not fit is not applied");
    let told = plan(&[]);
    assert_eq!(told.code, Some(0), "{}", told.stderr);
    assert!(told.stdout.contains("tiny is applied"), "{}", told.stdout);
    let run = namespace.get("prun/tiny");
    let expected = &run["metadata"]["annotations"]["darwinlm.io/forecast-gpu-seconds"];
    let seconds: Option<u64> = expected.as_str().and_then(|text| text.parse().ok());
    assert!(seconds.is_some_and(|seconds| seconds > 0), "{expected}");
    assert_eq!(run["spec"]["search"]["seed"], 3);
    // Its own field manager: who applies the file again meets no conflict with the operator.
    let shown = ["get", "prun/tiny", "--show-managed-fields", "-o", "json"];
    let shown = namespace.kubectl(&shown);
    assert!(shown.contains("\"manager\": \"darwinlm-cli\""), "{shown}");
    world.edit("name: tiny", "name: tiny\n  namespace: elsewhere");
    let torn = plan(&[]);
    assert_eq!(torn.code, Some(64), "{}", torn.stderr);
    world.edit("  namespace: elsewhere\n", "");
    let again = plan(&[]);
    assert_eq!(again.code, Some(0), "{}", again.stderr);
}

#[test]
fn a_forecast_that_is_no_number_is_refused_and_mended_lets_the_run_go_on() {
    install_rights();
    // One of its own: in the other namespaces nobody carries runs out.
    let operator = Operator::start(
        "forecast",
        Access::new(None),
        &["--namespaces", "forecasts"],
    );
    let namespace = Namespace::new("forecasts");
    namespace.apply(
        "apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: data}\nspec:\n  \
         accessModes: [ReadWriteMany]\n  storageClassName: none\n  resources: {requests: \
         {storage: 1Gi}}\n",
    );
    let annotated = "  name: tiny\n  annotations: {darwinlm.io/forecast-gpu-seconds: 12h}";
    namespace.apply(&TINY_RUN.replacen("  name: tiny", annotated, 1));
    let limit = Duration::from_secs(120);
    let refused = namespace.await_run("tiny", limit, |run| {
        status_of(run, "Accepted") == Some("False")
    });
    let conditions = refused["status"]["conditions"].to_string();
    assert!(
        conditions
            .contains("metadata.annotations[darwinlm.io/forecast-gpu-seconds] is \\\"12h\\\""),
        "{conditions}"
    );
    let mended = "darwinlm.io/forecast-gpu-seconds=43200";
    namespace.kubectl(&["annotate", "--overwrite", "prun/tiny", mended]);
    let goes_on = namespace.await_run("tiny", limit, |run| {
        is_true(run, "Accepted") && run["status"]["forecast"]["gpuSeconds"] == 43200
    });
    assert!(goes_on["status"]["forecast"]["errorPercent"].is_null());
    drop(operator);
}
