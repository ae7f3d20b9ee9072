//! Memory that runs out: what is told, what is left behind, and what goes on.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use darwinlm_runner::memory::{Kept, Sizes};
use darwinlm_runner::model::ModelConfig;
use darwinlm_runner::trial::{TrialError, TrialProgress, run_trial};
use darwinlm_search::{Genome, Ladders, Level, Outcome};
use darwinlm_task::DeviceRequest::Cuda;
use darwinlm_task::{ExitCode, NumericsPlan, Plan, TaskReport};
use serde_json::Value;

use crate::bench::{Bench, minibatch, trial};
use crate::world::{World, fixture};

/// A run on the device whose database is built.
fn built(length: u32) -> World {
    let world = World::of_length("tiny-gqa", "QueryHead", length);
    world.finish(Cuda, &world.prepare());
    world.finish(Cuda, &world.build_database());
    world
}

fn run(bench: &Bench, hear: &mut dyn FnMut(TrialProgress)) -> Result<Outcome, TrialError> {
    let trial = trial(vec![minibatch(4)]);
    run_trial(&bench.context(), &trial, &AtomicBool::new(false), hear)
}

/// Counts panics instead of printing them while some work is done.
fn counting_panics(work: impl FnOnce()) -> u64 {
    let panics = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&panics);
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |_| {
        counted.fetch_add(1, Ordering::Relaxed);
    }));
    work();
    std::panic::set_hook(usual);
    panics.load(Ordering::Relaxed)
}

#[test]
fn a_trial_cut_short_at_any_allocation_leaves_nothing_and_the_next_gives_the_same_bits() {
    let _figures = fake_cuda::exclusive();
    for plan in [NumericsPlan::cpu(1), NumericsPlan::cuda(1)] {
        let bench = Bench::new("tiny-gqa", plan);
        fake_cuda::reset();
        let undisturbed = run(&bench, &mut |_| {}).unwrap();
        let (allocations, held) = (fake_cuda::allocations(), fake_cuda::current());
        assert!(allocations > 1000, "{allocations}");
        let mut wrong = Vec::new();
        let mut cuts = 0;
        let panics = counting_panics(|| {
            for at in (1..=allocations).step_by(29) {
                fake_cuda::refuse_allocation(at);
                let outcome = run(&bench, &mut |_| {});
                let full = matches!(outcome, Err(TrialError::OutOfMemory { .. }));
                if !full || fake_cuda::current() != held {
                    wrong.push((at, outcome, fake_cuda::current()));
                }
                cuts += 1;
            }
        });
        assert!(wrong.is_empty(), "{held} were held: {wrong:?}");
        // libtorch's errors come both ways
        assert!(
            0 < panics && panics < cuts,
            "{panics} panics in {cuts} cuts"
        );
        assert_eq!(run(&bench, &mut |_| {}).unwrap(), undisturbed);
    }
}

#[test]
fn a_cap_reached_in_a_step_ends_the_trial_and_not_the_next_one() {
    let _figures = fake_cuda::exclusive();
    let bench = Bench::new("tiny-qwen3", NumericsPlan::cuda(1));
    let undisturbed = run(&bench, &mut |_| {}).unwrap();
    let held = fake_cuda::current();
    // room for the weights and their gradients, which are there, and for little else
    let mut narrow = |_| fake_cuda::set_limit(Some(fake_cuda::current() + 4096));
    let mut outcome = None;
    counting_panics(|| outcome = Some(run(&bench, &mut narrow)));
    let outcome = outcome.unwrap();
    assert!(
        matches!(outcome, Err(TrialError::OutOfMemory { .. })),
        "{outcome:?}"
    );
    assert_eq!(fake_cuda::current(), held);
    fake_cuda::set_limit(None);
    assert_eq!(run(&bench, &mut |_| {}).unwrap(), undisturbed);
}

fn ledger(world: &World) -> BTreeMap<String, Vec<u8>> {
    let mut files = world.files("store/runs/local.tiny/ledger");
    files.retain(|name, _| !name.ends_with(".cost.json"));
    files
}

#[test]
fn a_search_goes_on_where_memory_runs_out_for_a_moment() {
    let _figures = fake_cuda::exclusive();
    let world = built(16);
    fake_cuda::reset();
    world.finish(Cuda, &world.search(2));
    let allocations = fake_cuda::allocations();
    let undisturbed = ledger(&world);
    assert_eq!(undisturbed.len(), 3);
    // well after the dense model is there, well before the last trial
    for part in [3, 5, 7] {
        let world = built(16);
        fake_cuda::reset();
        fake_cuda::refuse_allocation(allocations * part / 10);
        counting_panics(|| {
            world.finish(Cuda, &world.search(2));
        });
        assert!(
            fake_cuda::allocations() > allocations,
            "nothing was refused"
        );
        assert!(ledger(&world) == undisturbed, "after {part} tenths");
    }
}

/// What the report of a task that ran out of memory says.
fn refused(world: &World, task: &Value, room: usize) -> String {
    fake_cuda::set_limit(Some(fake_cuda::current() + room));
    let mut ended: Option<(ExitCode, TaskReport)> = None;
    counting_panics(|| ended = Some(world.work(Cuda, task)));
    fake_cuda::set_limit(None);
    let (code, report) = ended.unwrap();
    assert_eq!(code, ExitCode::OutOfMemory, "{:?}", report.outcome);
    let outcome = serde_json::to_value(report.outcome).unwrap();
    outcome.to_string()
}

#[test]
fn every_task_that_computes_ends_with_12_and_what_it_takes_and_goes_on_with_more() {
    let _figures = fake_cuda::exclusive();
    let world = World::new("tiny-gqa", "QueryHead");
    world.finish(Cuda, &world.prepare());
    let tasks = [
        world.build_database(),
        world.search(1),
        world.post_train(),
        world.evaluate(),
    ];
    for task in tasks {
        let held = fake_cuda::current();
        // with the first the dense model does not fit, with the second what it is for
        for room in [30_000, 100_000] {
            let said = refused(&world, &task, room);
            assert!(said.contains("; it takes "), "{said}");
            assert!(said.contains(", the device has "), "{said}");
            assert_eq!(fake_cuda::current(), held, "{said}");
        }
        world.finish(Cuda, &task);
    }
}

/// The trial's formula for a run whose sequences are so long.
fn trial_bytes(world: &World, sequence_length: u32) -> usize {
    let config = ModelConfig::open(&fixture("tiny-gqa")).unwrap();
    let plan = std::fs::read(world.path("store/runs/local.tiny/plan.json")).unwrap();
    let plan: Plan = serde_json::from_slice(&plan).unwrap();
    let sizes = Sizes {
        sequence_length,
        batch_sequences: 2,
        ..Sizes::of(&config, &plan)
    };
    let ladder = |units: Vec<u32>| darwinlm_search::Ladder::new(units).unwrap();
    let ladders = Ladders {
        attention: ladder(vec![6, 5, 4, 2, 1, 0]),
        mlp: ladder(vec![40, 32, 24, 16, 8, 0]),
    };
    let genome = Genome::uniform(3, Level::new(1).unwrap());
    sizes.trial(&Kept::of(&sizes.shape, &ladders, &genome)) as usize
}

#[test]
fn a_length_that_is_said_to_fit_fits() {
    let _figures = fake_cuda::exclusive();
    let world = built(64);
    let room = trial_bytes(&world, 24);
    let said = refused(&world, &world.search(1), room);
    let (_, after) = said.split_once("sequenceLength ").expect(&said);
    let length: u32 = after.split_once(' ').unwrap().0.parse().unwrap();
    assert!((16..64).contains(&length), "{said}");
    let shorter = built(length);
    fake_cuda::set_limit(Some(fake_cuda::current() + room));
    shorter.finish(Cuda, &shorter.search(1));
}

#[test]
fn ranges_of_blocks_are_as_long_as_their_hessians_fit_and_change_nothing() {
    let _figures = fake_cuda::exclusive();
    let claims = |world: &World| -> Vec<String> {
        let files = world.files("store/runs/local.tiny/claims");
        let subjects = files.keys().filter_map(|name| name.split('/').nth(1));
        let ranges = subjects.filter(|subject| subject.starts_with("database-"));
        ranges.map(ToOwned::to_owned).collect()
    };
    let whole = built(16);
    assert_eq!(claims(&whole), ["database-0000-0003"]);
    let world = World::new("tiny-gqa", "QueryHead");
    world.finish(Cuda, &world.prepare());
    let config = ModelConfig::open(&fixture("tiny-gqa")).unwrap();
    let plan = std::fs::read(world.path("store/runs/local.tiny/plan.json")).unwrap();
    let sizes = Sizes::of(&config, &serde_json::from_slice(&plan).unwrap());
    let room = sizes.building(0) + sizes.hessians() * 3 / 2;
    fake_cuda::set_limit(Some(fake_cuda::current() + room as usize));
    world.finish(Cuda, &world.build_database());
    let single = [
        "database-0000-0001",
        "database-0001-0002",
        "database-0002-0003",
    ];
    assert_eq!(claims(&world), single);
    assert!(world.files("store/databases") == whole.files("store/databases"));
}
