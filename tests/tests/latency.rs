//! Runs that count in latency: measured once, and then as repeatable as any other.

use std::fs;

use darwinlm_tests::files::files_below;
use darwinlm_tests::local::Local;

/// The tiny run with ladders spaced by time and a target in time.
fn timed(speedup_percent: u32) -> Local {
    let world = Local::new();
    world.edit("levels: 4,", "levels: 4, spacing: Latency,");
    let target = format!("{{speedupPercent: {speedup_percent}}}");
    world.edit("{level: 2}", &target);
    world
}

#[test]
fn a_run_with_a_table_of_latencies_is_decided_by_it_whoever_works_on_it() {
    let measured = timed(120);
    let digest = measured.run(&["--workers", "1"]).digest();
    let verified = measured.verify();
    assert_eq!(
        verified.code,
        Some(0),
        "{}{}",
        verified.stdout,
        verified.stderr
    );
    assert!(
        verified.stdout.contains("ok  latency: "),
        "{}",
        verified.stdout
    );
    assert_eq!(
        measured.run(&[]).digest(),
        digest,
        "a second run finds what is there"
    );

    // Another store, in which nothing but the table is known.
    let given = timed(120);
    let tables = files_below(&measured.store().join("latency"));
    assert_eq!(tables.len(), 1, "{tables:?}");
    let record = measured.store().join("runs/local.tiny/latency.json");
    for from in tables.iter().chain([&record]) {
        let below = from
            .strip_prefix(measured.store())
            .expect("it lies in the store");
        let to = given.store().join(below);
        fs::create_dir_all(to.parent().expect("a file has a folder")).expect("it can be made");
        fs::copy(from, to).expect("it can be copied");
    }
    assert_eq!(given.run(&["--workers", "3"]).digest(), digest);
    assert_eq!(
        files_below(&given.store().join("latency")).len(),
        1,
        "nothing was measured anew"
    );
}

#[test]
fn a_table_that_is_not_the_ledgers_is_found() {
    let world = timed(120);
    world.run(&[]).digest();
    let table = &files_below(&world.store().join("latency"))[0];
    let text = fs::read_to_string(table).expect("a table is text");
    fs::write(
        table,
        text.replacen("\"baseNanoseconds\":", "\"baseNanoseconds\":1", 1),
    )
    .expect("it can be written");
    let verified = world.verify();
    assert_eq!(verified.code, Some(65), "{}", verified.stderr);
    let name = table
        .file_name()
        .and_then(|name| name.to_str())
        .expect("a name");
    assert!(verified.stderr.contains(name), "{}", verified.stderr);
}

#[test]
fn a_speed_up_beyond_reach_is_refused_before_the_database_is_built() {
    let world = timed(9999);
    let refused = world.run(&[]);
    assert_eq!(refused.code, Some(78), "{}", refused.stderr);
    assert!(
        refused
            .stderr
            .contains("spec.target.speedupPercent can be from 101 to "),
        "{}",
        refused.stderr
    );
    assert!(!world.store().join("databases").exists());
}

#[test]
fn latency_is_evaluated_where_it_is_asked_for_and_fits_the_context() {
    let world = Local::new();
    let (from, asked) = (
        "evaluation: {}",
        "evaluation: {latency: {batch: 2, promptTokens: 16, newTokens: 4}}",
    );
    world.edit(from, asked);
    let finished = world.run(&[]);
    finished.digest();
    assert!(
        finished.stdout.contains("2 × 16 tokens, then 4 new ones"),
        "{}",
        finished.stdout
    );
    assert!(
        finished.stdout.contains(" times as fast (from "),
        "{}",
        finished.stdout
    );
    let key = "runs/local.tiny/evaluation.json";
    let text = fs::read(world.store().join(key)).expect("it was evaluated");
    let evaluation: serde_json::Value = serde_json::from_slice(&text).expect("it is JSON");
    let latency = &evaluation["report"]["latency"];
    assert_eq!(latency["pairs"], 5);
    for model in ["dense", "pruned"] {
        for figure in ["promptMicroseconds", "tokenMicroseconds"] {
            let [least, median, most] = ["least", "median", "most"]
                .map(|of| latency[model][figure][of].as_u64().unwrap_or_default());
            assert!(
                0 < least && least <= median && median <= most,
                "{model} {figure}"
            );
        }
    }
    let memory = |model: &str| {
        latency[model]["memory"]["weightsAndCache"]["bytes"]
            .as_u64()
            .expect("bytes are counted")
    };
    assert!(memory("pruned") < memory("dense"));

    // Another workload is measured when it is asked for.
    world.edit("newTokens: 4", "newTokens: 0");
    let finished = world.run(&[]);
    finished.digest();
    let said = "2 × 16 tokens, then 0 new ones";
    assert!(finished.stdout.contains(said), "{}", finished.stdout);

    let world = Local::new();
    world.edit(
        from,
        "evaluation: {latency: {promptTokens: 16, newTokens: 500}}",
    );
    let refused = world.run(&[]);
    assert_eq!(refused.code, Some(78), "{}", refused.stderr);
    assert!(
        refused
            .stderr
            .contains("promptTokens 16 and newTokens 500; ")
            && refused
                .stderr
                .contains("(max_position_embeddings), 512, are accepted"),
        "{}",
        refused.stderr
    );
}
