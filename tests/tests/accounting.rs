//! Stories of seconds and budgets: what workers held is accounted for, and what is spent ends a search.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use darwinlm_tests::files::files_below;
use darwinlm_tests::local::{Local, finish};
use darwinlm_tests::processes::{Process, kill, uptime, workers_below};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use serde_json::Value;

/// A worker's process from its start to its end, in seconds.
struct Life {
    worker: String,
    started: f64,
    ended: f64,
}

/// The value of a variable in a process's environment.
fn variable(process: &Process, name: &str) -> Option<String> {
    let variables = process.environment.split('\0');
    let named = variables.filter_map(|variable| variable.split_once('='));
    let mut values = named.filter(|(own, _)| *own == name);
    values.next().map(|(_, value)| value.to_owned())
}

#[test]
fn every_second_that_workers_held_has_its_cause_though_workers_are_killed() {
    const KILLS: usize = 8;
    let world = Local::new();
    world.edit("generations: 5", "generations: 40");
    let mut random = ChaCha8Rng::seed_from_u64(21);
    let mut run = world.start(&["--workers", "3"]);
    let mut lives: BTreeMap<u32, Life> = BTreeMap::new();
    let (mut killed, mut next) = (BTreeSet::new(), uptime() + 3.0);
    while run.try_wait().expect("the run can be asked").is_none() {
        let there: Vec<_> = workers_below(run.id());
        let now = uptime();
        for process in there.iter().filter(|process| !process.is_over) {
            if let Some(life) = lives.get_mut(&process.id) {
                life.ended = now;
            } else if let Some(worker) = variable(process, "DARWINLM_WORKER") {
                let (started, ended) = (process.started, now);
                lives.insert(
                    process.id,
                    Life {
                        worker,
                        started,
                        ended,
                    },
                );
            }
        }
        let alive: Vec<_> = there.iter().filter(|process| !process.is_over).collect();
        if killed.len() < KILLS && now > next && !alive.is_empty() {
            let one = alive[random.next_u32() as usize % alive.len()];
            if lives
                .get(&one.id)
                .is_some_and(|life| !life.worker.starts_with("prepare"))
            {
                kill(one.id);
                killed.insert(one.id);
                next = now + 1.0 + f64::from(random.next_u32() % 1000) / 1000.0;
            }
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    finish(run).digest();
    assert_eq!(killed.len(), KILLS, "the run is too short to be a story");

    let held: f64 = lives
        .values()
        .filter(|life| !life.worker.starts_with("prepare"))
        .map(|life| life.ended - life.started)
        .sum();
    let mut causes = BTreeMap::new();
    for file in files_below(&world.store().join("runs/local.tiny/workers")) {
        let text = fs::read(&file).expect("an account can be read");
        let account: Value = serde_json::from_slice(&text).expect("it is JSON");
        for cause in ["starting", "useful", "waiting", "lost", "inFlight"] {
            let seconds = account[format!("{cause}Seconds")].as_f64();
            *causes.entry(cause).or_insert(0.0) += seconds.expect("each cause is told");
        }
    }
    let told: f64 = causes.values().sum();
    println!(
        "held {held:.2} s by {} workers, told {told:.2} s: {causes:.2?}",
        lives.len()
    );
    // A killed worker takes with it what it has not written since its last beat, each second.
    let allowed = 0.01 * held + KILLS as f64;
    assert!(
        (held - told).abs() <= allowed,
        "{held} s were held and {told} s have a cause: {causes:?}"
    );
    assert!(causes["useful"] > 0.0 && causes["starting"] > 0.0 && causes["waiting"] > 0.0);
}

/// The account of a worker that computed for more than an hour before it was lost.
fn an_hour_was_spent(world: &Local) {
    let folder = world.store().join("runs/local.tiny/workers");
    fs::create_dir_all(&folder).expect("a folder can be made");
    let account = serde_json::json!({
        "worker": "earlier", "task": "build-database", "devices": 1, "startedUnixSeconds": 0,
        "device": null, "startingSeconds": 100.0, "usefulSeconds": 3600.0, "waitingSeconds": 0.0,
        "lostSeconds": 0.0, "inFlightSeconds": 9.0, "tokensTrained": 0, "tokensScored": 0,
        "trials": {"done": 0, "failed": 0, "exceptions": 0, "repeated": 0},
    });
    fs::write(folder.join("earlier.json"), account.to_string()).expect("it can be written");
}

#[test]
fn a_search_that_its_budget_stopped_goes_on_when_that_is_raised_to_the_digest_of_one_without() {
    let digest = Local::new().run(&[]).digest();
    let world = Local::new();
    an_hour_was_spent(&world);
    world.edit(
        "  evaluation: {}\n",
        "  evaluation: {}\n  budget: {gpuHours: 1}\n",
    );
    let poor = world.run(&[]);
    let stopped = poor.digest();
    assert_ne!(stopped, digest);
    let said = "the budget of 1 GPU hours was spent after 1 of 5 generations";
    assert!(poor.stderr.contains(said), "{}", poor.stderr);
    assert!(
        poor.stdout.contains("searched"),
        "it is evaluated: {}",
        poor.stdout
    );
    assert_eq!(world.verify().code, Some(0));
    assert_eq!(
        world.run(&[]).digest(),
        stopped,
        "nothing more is spent on it"
    );
    world.edit("gpuHours: 1}", "gpuHours: 100000}");
    let rich = world.run(&[]);
    assert_eq!(rich.digest(), digest);
    assert!(!rich.stderr.contains("budget"), "{}", rich.stderr);
}

#[test]
fn a_budget_that_is_raised_while_the_run_is_at_work_is_the_one_that_counts() {
    // Generations long enough for the command to look at its file, as it does each second.
    let longer = |world: &Local| {
        world.edit("trainingTokens: 64", "trainingTokens: 1024");
        world.edit("trainingTokens: 128", "trainingTokens: 2048");
    };
    let undisturbed = Local::new();
    longer(&undisturbed);
    let digest = undisturbed.run(&[]).digest();
    let world = Local::new();
    longer(&world);
    an_hour_was_spent(&world);
    world.edit("  evaluation: {}\n", "  budget: {gpuHours: 1}\n");
    let run = world.start(&[]);
    // Whoever builds the database has read the file; generation 1 ends what has no more budget.
    world.await_path("databases");
    world.edit("gpuHours: 1}", "gpuHours: 100000}");
    assert!(
        !world.store().join(Local::ledger_entry(1)).exists(),
        "the budget was raised too late to tell"
    );
    assert_eq!(finish(run).digest(), digest);
}
