//! `darwinlm plan` on one machine: what it says beforehand is what a run then does, and what cannot fit is
//! refused before anything is held.

use std::fs;
use std::path::Path;

use darwinlm_tests::local::{Finished, Local};
use serde_json::Value;

fn plan(world: &Local, arguments: &[&str]) -> Finished {
    let data = format!("data={}", world.path().display());
    let file = world.yaml();
    let file = file.to_str().expect("the path is text");
    world.ask(&[&["plan", "-f", file, "--volume", &data], arguments].concat())
}

fn forecast(told: &Finished) -> Value {
    assert_eq!(told.code, Some(0), "{}", told.stderr);
    serde_json::from_str(&told.stdout).expect("it is JSON")
}

/// Bytes of all files below a folder, and how many there are.
fn weigh(folder: &Path) -> (u64, u64) {
    let entries = fs::read_dir(folder).expect("the folder is there").flatten();
    entries.fold((0, 0), |(bytes, files), entry| {
        let about = entry.metadata().expect("it is there");
        let (more, many) = match about.is_dir() {
            true => weigh(&entry.path()),
            false => (about.len(), 1),
        };
        (bytes + more, files + many)
    })
}

/// Trials in the entries of a finished ledger.
fn trials_of(world: &Local, generations: u32) -> usize {
    let of = |generation| {
        let entry = world.store().join(Local::ledger_entry(generation));
        let text = fs::read_to_string(entry).expect("the generation is finished");
        let entry: Value = serde_json::from_str(&text).expect("it is JSON");
        let steps = entry["entry"]["Generation"]["steps"].clone();
        let steps = steps.as_array().expect("it has steps").clone();
        let counts = steps
            .iter()
            .map(|step| step["trials"].as_array().map_or(0, Vec::len));
        counts.sum::<usize>()
    };
    (1..=generations).map(of).sum()
}

#[test]
fn what_is_planned_is_what_ledger_and_store_hold_afterwards() {
    let world = Local::new();
    let before = forecast(&plan(&world, &["--json", "--save-rates", "rates.json"]));
    assert!(
        !world.store().exists(),
        "a plan leaves nothing in the store"
    );
    let digest = world.run(&[]).digest();
    assert!(digest.starts_with("sha256:"));
    let trials = trials_of(&world, 5);
    assert_eq!(before["search"]["trials"].as_u64(), Some(trials as u64));
    assert_eq!(before["search"]["candidates"], serde_json::json!([6, 4]));
    // Six trained on 64 tokens and four on 128, five times.
    assert_eq!(
        before["search"]["tokensTrained"].as_u64(),
        Some(5 * (6 * 64 + 4 * 128))
    );
    for (what, folder) in [
        ("model", "models"),
        ("tokens", "tokens"),
        ("level database", "databases"),
        ("teacher states", "teachers"),
    ] {
        let parts = before["storage"].as_array().expect("it is a list").iter();
        let part = parts.clone().find(|part| part["what"] == what);
        let said = part
            .and_then(|part| part["bytes"].as_u64())
            .expect("it is told");
        // Beside its numbers a file has a header, and a folder a manifest.
        let (bytes, files) = weigh(&world.store().join(folder));
        assert!(
            said <= bytes && bytes <= said + files * 2048,
            "{what}: {said} bytes were planned; {bytes} are there in {files} files"
        );
    }
    let measured = world.store().join("runs/local.tiny/evaluation.json");
    let measured = fs::read_to_string(measured).expect("it is there");
    let measured: Value = serde_json::from_str(&measured).expect("it is JSON");
    let of = |model: &str| measured["report"][model]["parameters"].as_u64();
    assert_eq!(of("dense"), before["denseParameters"].as_u64());
    assert_eq!(of("uniform"), before["targetParameters"].as_u64());
}

#[test]
fn a_table_of_rates_serves_again_and_gives_the_same_times() {
    let world = Local::new();
    let measured = forecast(&plan(&world, &["--json", "--save-rates", "rates.json"]));
    let saved = fs::read_to_string(world.path().join("rates.json")).expect("it is written");
    let saved: Value = serde_json::from_str(&saved).expect("it is JSON");
    assert_eq!(saved, measured["rates"]);
    let again = forecast(&plan(&world, &["--json", "--rates", "rates.json"]));
    assert_eq!(again, measured);
    let page = plan(&world, &["--rates", "rates.json", "--workers", "1,3"]);
    assert_eq!(page.code, Some(0), "{}", page.stderr);
    for line in [
        "trials          50: 5 generations of 6 + 4",
        "level database",
        "build-database         1",
        "search                 2",
        "With other numbers of workers",
    ] {
        assert!(
            page.stdout.contains(line),
            "{line:?} is not in {}",
            page.stdout
        );
    }
    // Less than half a second of work: more workers only wait for each other.
    let times = again["times"].as_array().expect("it is a list");
    let held = |time: &Value| -> f64 {
        let tasks = time["tasks"].as_array().expect("it is a list").iter();
        let of = |task: &Value| Some(task["seconds"].as_f64()? * task["workers"].as_f64()?);
        tasks.filter_map(of).sum()
    };
    let many: Vec<f64> = times.iter().skip(1).map(held).collect();
    assert!(many.windows(2).all(|pair| pair[0] < pair[1]), "{many:?}");
}

#[test]
fn what_does_not_fit_is_refused_with_what_would() {
    let world = Local::new();
    let told = plan(&world, &["--memory", "1Mi"]);
    assert_eq!(told.code, Some(12), "{}", told.stderr);
    assert!(told.stdout.contains("does not fit"), "{}", told.stdout);
    for words in [
        "the run does not fit: search: it takes ",
        "the device has 1.0 MiB",
        "spec.data.calibration.sequenceLength",
    ] {
        assert!(
            told.stderr.contains(words),
            "{words:?} is not in {}",
            told.stderr
        );
    }
    let fits = plan(&world, &["--memory", "1Gi"]);
    assert_eq!(fits.code, Some(0), "{}", fits.stderr);
    world.edit("limits: {cpu: \"1\"}", "limits: {cpu: \"1\", memory: 1Mi}");
    let limited = plan(&world, &[]);
    assert_eq!(
        limited.code,
        Some(12),
        "the pod's own limit counts: {}",
        limited.stderr
    );
}

#[test]
fn what_cannot_be_planned_says_what_is_wrong_and_what_would_do() {
    let world = Local::new();
    let file = world.yaml();
    let file = file.to_str().expect("the path is text");
    let nowhere = world.ask(&["plan", "-f", file]);
    assert_eq!(nowhere.code, Some(66), "{}", nowhere.stderr);
    assert!(
        nowhere
            .stderr
            .contains("spec.model.source \"pvc://data/model\" lies in a claim")
            && nowhere.stderr.contains("--model"),
        "{}",
        nowhere.stderr
    );
    let by_model = world.ask(&["plan", "-f", file, "--model", "model", "--json"]);
    assert!(forecast(&by_model)["denseParameters"].is_u64());
    let missing = plan(&world, &["--model", "no-model"]);
    assert_eq!(missing.code, Some(66), "{}", missing.stderr);
    fs::write(world.path().join("rates.json"), "{}").expect("it can be written");
    let broken = plan(&world, &["--rates", "rates.json"]);
    assert_eq!(broken.code, Some(65), "{}", broken.stderr);
    assert!(
        broken.stderr.contains("rates.json is no table of rates"),
        "{}",
        broken.stderr
    );
    assert_eq!(plan(&world, &["--memory", "much"]).code, Some(2));
    world.edit("level: 2", "sparsityPercent: 99");
    let deep = plan(&world, &[]);
    assert_eq!(deep.code, Some(78), "{}", deep.stderr);
    assert!(
        deep.stderr.contains("spec.target cannot be met"),
        "{}",
        deep.stderr
    );
}

#[test]
fn a_run_is_held_against_what_it_was_expected_to_take() {
    let world = Local::new();
    let annotation = "name: tiny\n  annotations: {darwinlm.io/forecast-gpu-seconds: \"1000000\"}";
    world.edit("name: tiny", annotation);
    let run = world.run(&[]);
    run.digest();
    let said = "1000000 GPU seconds were forecast: it took -100 %";
    assert!(run.stdout.contains(said), "{}", run.stdout);
    world.edit("\"1000000\"", "\"soon\"");
    let refused = world.run(&[]);
    assert_eq!(refused.code, Some(78), "{}", refused.stderr);
    assert!(
        refused
            .stderr
            .contains("metadata.annotations[darwinlm.io/forecast-gpu-seconds] is \"soon\""),
        "{}",
        refused.stderr
    );
}
