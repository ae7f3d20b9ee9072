//! Stories on one machine: whatever happens to the workers, a run has one digest.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use darwinlm_tests::files::files_below;
use darwinlm_tests::local::{Local, finish};
use darwinlm_tests::processes::{kill, processes, workers_below};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

#[test]
fn one_worker_and_three_find_the_same_survivor() {
    let alone = Local::new();
    let together = Local::new();
    let digest = alone.run(&["--workers", "1"]).digest();
    assert_eq!(together.run(&["--workers", "3"]).digest(), digest);
    let verified = together.verify();
    assert_eq!(
        verified.code,
        Some(0),
        "{}{}",
        verified.stdout,
        verified.stderr
    );
    assert!(verified.stdout.contains(&digest), "{}", verified.stdout);
}

#[test]
fn a_finished_run_started_again_says_the_same_and_computes_nothing() {
    let world = Local::new();
    let digest = world.run(&[]).digest();
    let trials = files_below(&world.store().join("runs/local.tiny/trials"));
    assert_eq!(world.run(&[]).digest(), digest);
    assert_eq!(
        files_below(&world.store().join("runs/local.tiny/trials")),
        trials
    );
}

#[test]
fn workers_killed_ten_times_change_nothing() {
    let undisturbed = Local::new();
    let world = Local::new();
    for world in [&undisturbed, &world] {
        world.edit("generations: 5", "generations: 20");
    }
    let digest = undisturbed.run(&["--workers", "1"]).digest();
    let mut random = ChaCha8Rng::seed_from_u64(11);
    let mut run = world.start(&["--workers", "3"]);
    let mut killed = 0;
    while killed < 10 && run.try_wait().expect("the run can be asked").is_none() {
        std::thread::sleep(Duration::from_millis(u64::from(random.next_u32() % 700)));
        let workers = workers_below(run.id());
        if let Some(worker) = workers.get(random.next_u32() as usize % workers.len().max(1)) {
            kill(worker.id);
            killed += 1;
        }
    }
    assert_eq!(finish(run).digest(), digest, "after {killed} kills");
    assert!(
        killed == 10,
        "the run ended after {killed} kills: it is too short to be a story"
    );
}

#[test]
fn a_run_killed_ten_times_goes_on_where_it_was() {
    let digest = Local::new().run(&["--workers", "1"]).digest();
    let world = Local::new();
    let mut random = ChaCha8Rng::seed_from_u64(12);
    const KILLS: usize = 10;
    const WORKERS: usize = 2;
    for _ in 0..KILLS {
        let before = results(&world.store());
        let mut run = world.start(&["--workers", "2"]);
        std::thread::sleep(Duration::from_millis(
            500 + u64::from(random.next_u32() % 2000),
        ));
        kill(run.id());
        run.wait().expect("a killed run can be waited for");
        wait_until_no_worker_runs(world.path());
        let after = results(&world.store());
        assert!(before.is_subset(&after), "a result was lost");
    }
    let digest_after = world.run(&["--workers", "2"]).digest();
    assert_eq!(digest_after, digest);
    // A worker is at one trial at a time, so that each kill costs one trial a worker at most.
    let (trials, attempts) = (results(&world.store()).len(), attempts(&world.store()));
    println!("{attempts} attempts at {trials} trials, {KILLS} kills of {WORKERS} workers");
    assert!(trials > 0 && attempts >= trials, "every trial was claimed");
    assert!(
        attempts <= trials + KILLS * WORKERS,
        "more than the trials in flight were lost: {attempts} attempts at {trials} trials"
    );
}

/// Attempts at trials: each has left its claim `claims/<trial>/<attempt>`, whatever came of it.
fn attempts(store: &Path) -> usize {
    let trials: BTreeSet<_> = results(store)
        .iter()
        .filter_map(|result| result.file_stem().map(ToOwned::to_owned))
        .collect();
    let is_claim_of_a_trial = |file: &Path| {
        let subject = file.parent().and_then(Path::file_name);
        let is_beat = file.extension().is_some();
        !is_beat && subject.is_some_and(|subject| trials.contains(subject))
    };
    files_below(&store.join("runs/local.tiny/claims"))
        .iter()
        .filter(|file| is_claim_of_a_trial(file))
        .count()
}

fn results(store: &Path) -> BTreeSet<std::path::PathBuf> {
    files_below(&store.join("runs/local.tiny/trials"))
        .into_iter()
        .collect()
}

/// A killed run's workers are told by the kernel, and end by themselves.
fn wait_until_no_worker_runs(world: &Path) {
    let world = world.to_string_lossy().into_owned();
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let left = processes()
            .into_iter()
            .filter(|process| process.environment.contains(&world))
            .filter(|process| process.name.starts_with("darwinlm-runner"))
            .count();
        if left == 0 {
            return;
        }
        assert!(
            Instant::now() < deadline,
            "{left} workers outlived their run by 20 s"
        );
        std::thread::sleep(Duration::from_millis(50));
    }
}
