//! Stopping a run by hand, and what a person sees.

use std::time::{Duration, Instant};

use darwinlm_tests::local::{Local, finish};

#[test]
fn a_stopped_run_ends_within_ten_seconds_and_resumes() {
    let longer = ("generations: 5", "generations: 30");
    let undisturbed = Local::new();
    undisturbed.edit(longer.0, longer.1);
    let digest = undisturbed.run(&[]).digest();
    let world = Local::new();
    world.edit(longer.0, longer.1);
    let run = world.start(&[]);
    world.await_generation(1);
    let started = Instant::now();
    let stopped = std::process::Command::new("kill")
        .args(["-INT", &run.id().to_string()])
        .status()
        .expect("kill can be started");
    assert!(stopped.success());
    let ended = finish(run);
    assert!(
        started.elapsed() < Duration::from_secs(12),
        "it took {:?}",
        started.elapsed()
    );
    assert_ne!(ended.code, Some(0), "{}", ended.stderr);
    assert!(ended.stderr.contains("resume"), "{}", ended.stderr);
    assert_eq!(world.run(&[]).digest(), digest);
}

#[test]
fn a_store_of_another_run_is_refused_by_name() {
    let world = Local::new();
    world.run(&[]).digest();
    world.edit("seed: 3", "seed: 4");
    let refused = world.run(&[]);
    assert_eq!(refused.code, Some(78), "{}", refused.stderr);
    assert!(refused.stderr.contains("run.json"), "{}", refused.stderr);
}

#[test]
fn a_field_that_comes_later_is_refused_by_name() {
    let world = Local::new();
    world.edit("  evaluation: {}\n", "  evaluation: {tasks: [sciq]}\n");
    let refused = world.run(&[]);
    assert_eq!(refused.code, Some(78), "{}", refused.stderr);
    assert!(
        refused.stderr.contains("spec.evaluation.tasks"),
        "{}",
        refused.stderr
    );
    assert!(
        refused.stderr.contains("not yet supported"),
        "{}",
        refused.stderr
    );
}
