//! `darwinlm report` on one machine: the page stands alone, and says what the ledger says.

use std::fs;
use std::path::Path;

use darwinlm_tests::files::files_below;
use darwinlm_tests::local::{Finished, Local};
use serde_json::Value;

/// What an entry of the ledger holds.
fn generation(world: &Local, generation: u32) -> Value {
    let entry = world.store().join(Local::ledger_entry(generation));
    let text = fs::read_to_string(&entry).expect("the generation is finished");
    serde_json::from_str(&text).expect("it is JSON")
}

fn report(world: &Local, arguments: &[&str]) -> Finished {
    let store = world.store();
    let store = store.to_str().expect("the path is text");
    world.ask(&[&["report", store], arguments].concat())
}

#[test]
fn a_finished_run_is_told_on_one_page_that_needs_nothing_else() {
    let world = Local::new();
    let digest = world.run(&["--workers", "2"]).digest();
    let file = world.path().join("page.html");
    let told = report(&world, &["-o", file.to_str().expect("the path is text")]);
    assert_eq!(told.code, Some(0), "{}", told.stderr);
    let page = fs::read_to_string(&file).expect("it is written");
    assert!(page.contains(&digest), "the digest is not told");
    assert!(page.contains("5 of 5 generations searched"), "{page}");
    // Every fitness of the last selection, as the ledger has it.
    let last = generation(&world, 5).to_string();
    let mut found = 0;
    for part in last.split("\"fitness\":").skip(1) {
        let end = part.find(['}', ',']).expect("the number ends");
        let number: f64 = part[..end]
            .trim_matches('"')
            .parse()
            .expect("it is a number");
        assert!(
            page.contains(&format!("{number:.5}")),
            "fitness {number} is not told"
        );
        found += 1;
    }
    assert!(found >= 6, "{found} fitnesses in {last}");
    // Drawn, and of nothing elsewhere.
    let drawn = page.matches("<svg").count();
    assert_eq!(drawn, 5, "two curves, map, levels and tree");
    for elsewhere in ["<script", "src=", "<link", "@import", "url("] {
        assert!(!page.contains(elsewhere), "{elsewhere}");
    }
    let links = page.matches("http").count() - page.matches("http://www.w3.org/2000/svg").count();
    assert_eq!(links, 0, "nothing is fetched");
}

#[test]
fn the_selection_of_any_generation_can_be_asked_for() {
    let world = Local::new();
    world.run(&[]).digest();
    let file = world.path().join("page.html");
    let to = file.to_str().expect("the path is text");
    let told = report(&world, &["--generation", "2", "-o", to]);
    assert_eq!(told.code, Some(0), "{}", told.stderr);
    let page = fs::read_to_string(&file).expect("it is written");
    assert!(page.contains("<h2>Selection in generation 2</h2>"));
    // Every candidate's fitness in the first step, to the last digit.
    let second = generation(&world, 2);
    let trials = &second["entry"]["Generation"]["steps"][0]["trials"];
    let trials = trials.as_array().expect("the step has trials");
    for trial in trials {
        let fitness = trial["outcome"]["Scored"]["fitness"].as_str();
        let fitness = fitness.expect("it is a number as text");
        assert!(
            page.contains(&format!("<data value=\"{fitness}\">")),
            "{fitness}"
        );
    }
    assert!(trials.len() > 3, "{trials:?}");
    let missing = report(&world, &["--generation", "6", "-o", to]);
    assert_eq!(missing.code, Some(66));
    let words = "local.tiny has no generation 6: those from 1 to 5 are there";
    assert!(missing.stderr.contains(words), "{}", missing.stderr);
}

#[test]
fn what_was_measured_of_an_earlier_survivor_is_not_told_of_this_one() {
    let world = Local::new();
    let training = "postTraining: {tokens: 512, learningRate: \"1e-3\", batchSequences: 2}";
    world.edit(
        "  evaluation: {}",
        &format!("  {training}\n  evaluation: {{}}"),
    );
    let digest = world.run(&[]).digest();
    let file = world.path().join("page.html");
    let page = || {
        let told = report(&world, &["-o", file.to_str().expect("the path is text")]);
        assert_eq!(told.code, Some(0), "{}", told.stderr);
        fs::read_to_string(&file).expect("it is written")
    };
    let (models, training) = ("<h2>Dense, uniform", "<h2>Post-training</h2>");
    assert!(page().contains(models) && page().contains(training));
    // As where the search went on after the models were measured, and then after the survivor was trained.
    let earlier = format!("sha256:{}", "0".repeat(64));
    let run = world.store().join("runs/local.tiny");
    let trained = files_below(&run.join("checkpoints"));
    let trained = trained
        .iter()
        .find(|file| file.ends_with("trained/manifest.json"));
    let forget = |file: &Path| {
        let text = fs::read_to_string(file).expect("it is there");
        assert!(text.contains(&digest), "{text}");
        fs::write(file, text.replace(&digest, &earlier)).expect("it can be written");
    };
    forget(&run.join("evaluation.json"));
    let told = page();
    assert!(told.contains("not measured yet") && !told.contains(models));
    assert!(
        told.contains(training),
        "it was this survivor that was trained"
    );
    forget(trained.expect("the survivor was trained"));
    assert!(!page().contains(training));
}

#[test]
fn a_page_that_cannot_be_written_fails_no_task_and_is_not_passed_over_in_silence() {
    let world = Local::new();
    // A folder where the page would lie.
    let page = world.store().join("runs/local.tiny/report.html");
    fs::create_dir_all(page.join("x")).expect("a folder can be made");
    let finished = world.run(&[]);
    finished.digest();
    assert!(
        !finished.stdout.contains("report written"),
        "{}",
        finished.stdout
    );
    let logs = files_below(&world.store().join(".darwinlm"));
    let said = logs.iter().filter_map(|log| fs::read_to_string(log).ok());
    let said = said
        .filter(|log| log.contains("the page was not written"))
        .count();
    assert!(
        said >= 2,
        "{said} of {logs:?} say it: after the search and after evaluate"
    );
}

#[test]
fn what_cannot_be_told_is_refused_and_no_file_is_left() {
    let world = Local::new();
    let file = world.path().join("page.html");
    let to = file.to_str().expect("the path is text");
    assert_eq!(
        report(&world, &["-o", to]).code,
        Some(66),
        "there is no store"
    );
    world.run(&[]);
    let missing = report(&world, &["--run", "other", "-o", to]);
    assert_eq!(missing.code, Some(66));
    assert!(
        missing.stderr.contains("it holds local.tiny"),
        "{}",
        missing.stderr
    );
    assert!(!file.exists());
    let nowhere = world.path().join("no/such/folder/page.html");
    let nowhere = report(&world, &["-o", nowhere.to_str().expect("the path is text")]);
    assert_eq!(nowhere.code, Some(64), "{}", nowhere.stderr);
    assert!(
        nowhere.stderr.contains("failed to write"),
        "{}",
        nowhere.stderr
    );
}

#[test]
fn any_generations_survivor_becomes_a_checkpoint_and_another_generation_is_refused() {
    let world = Local::new();
    world.run(&[]);
    let store = world.store();
    let store = store.to_str().expect("the path is text");
    let export = |generation: &str, to: &str| {
        world.ask(&["export", store, "--generation", generation, "--to", to])
    };
    let told = export("2", "past");
    assert_eq!(told.code, Some(0), "{}", told.stderr);
    let survivor = &generation(&world, 2)["entry"]["Generation"]["survivor"];
    let said = format!(
        "generation 2 of local.tiny, {} parameters",
        survivor["parameters"]
    );
    assert!(told.stdout.contains(&said), "{}", told.stdout);
    let record = fs::read_to_string(world.path().join("past/darwinlm.json"));
    let record: Value = serde_json::from_str(&record.expect("it is written")).expect("it is JSON");
    assert_eq!(record["of"]["genome"], survivor["genome"]);
    let beyond = export("6", "beyond");
    assert_eq!(beyond.code, Some(66), "{}", beyond.stderr);
    assert!(
        beyond
            .stderr
            .contains("its ledger holds 0, the start, to 5"),
        "{}",
        beyond.stderr
    );
    assert!(!world.path().join("beyond").exists());
    fs::create_dir(world.path().join("mine")).expect("the folder can be made");
    let taken = export("2", "mine");
    assert_eq!(taken.code, Some(77), "{}", taken.stderr);
    assert!(
        taken.stderr.contains("no export of ours"),
        "{}",
        taken.stderr
    );
    let left = fs::read_dir(world.path()).expect("the folder can be read");
    let left = left.map(|entry| entry.expect("it can be read").file_name());
    let parts: Vec<_> = left
        .filter(|name| name.to_string_lossy().ends_with(".part"))
        .collect();
    assert!(parts.is_empty(), "{parts:?}");
}

#[test]
fn a_survivor_is_told_change_by_change_and_two_runs_by_where_they_part() {
    let (one, two) = (Local::new(), Local::new());
    two.edit("seed: 3", "seed: 4");
    let digests = [one.run(&[]).digest(), two.run(&[]).digest()];
    let store = |world: &Local| world.store().to_str().expect("the path is text").to_owned();
    let lineage = one.ask(&["lineage", &store(&one), "--all"]);
    assert_eq!(
        lineage.stdout.lines().count(),
        7,
        "{}{}",
        lineage.stdout,
        lineage.stderr
    );
    assert!(lineage.stdout.contains("the start"), "{}", lineage.stdout);
    let last = generation(&one, 5);
    let parameters = &last["entry"]["Generation"]["survivor"]["parameters"];
    let shown = lineage.stdout.replace(',', "");
    assert!(
        parameters.is_u64() && shown.contains(&parameters.to_string()),
        "{last} {shown}"
    );
    let itself = one.ask(&["diff", &store(&one), "local.tiny", "tiny"]);
    assert!(
        itself
            .stdout
            .contains("The same search with the same history."),
        "{}",
        itself.stdout
    );
    let other = one.ask(&[
        "diff",
        &store(&one),
        "tiny",
        "tiny",
        "--other",
        &store(&two),
    ]);
    assert_eq!(other.code, Some(0), "{}", other.stderr);
    for told in [&digests[0], &digests[1], "seed: 3 → 4", "Their survivors"] {
        assert!(
            other.stdout.contains(told),
            "{told} is not in {}",
            other.stdout
        );
    }
}
