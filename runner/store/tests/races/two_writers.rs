//! Two workers that write the same thing at the same time, or one too late.

use std::time::Duration;

use darwinlm_search::{Digest, Entry, Outcome, Problem, Search, Told, Trial, TrialEntry, TrialId};
use darwinlm_store::{
    GenerationCost, Guarded, Ledger, LedgerError, Ran, Results, Store, TrialError, TrialResult,
    TrialRunner, WorkEnd, guard_run, read_workers,
};
use darwinlm_task::{DeviceClass, ExitCode};

use crate::setting::{folder, memory, paths, run};
use crate::table::{Table, outcome, problem, reference};

fn result(search: &Search, slot: usize, value: f64, worker: &str) -> TrialResult {
    TrialResult {
        trial: search.ask()[slot].id,
        follows: search.digest(),
        outcome: Outcome::of(value),
        attempt: 1,
        token: format!("token of {worker}"),
        worker: worker.to_owned(),
        device: DeviceClass::Cpu,
        milliseconds: 1000,
        tokens_trained: 1,
        tokens_scored: 1,
    }
}

#[tokio::test]
async fn of_two_results_of_one_trial_the_first_counts_for_both_writers() {
    let search = Search::new(problem(1)).unwrap();
    let (_folder, local) = folder();
    for store in [local, memory()] {
        for slot in 0..8 {
            let write = |value, worker| {
                let results = Results::new(&store, &paths());
                let result = result(&search, slot, value, worker);
                tokio::spawn(async move { results.put(&result).await.unwrap() })
            };
            let (one, other) = tokio::join!(write(0.25, "a"), write(0.5, "b"));
            let ((one, one_kept), (other, other_kept)) = (one.unwrap(), other.unwrap());
            assert_eq!(one, other);
            assert!(
                one_kept != other_kept,
                "both or neither were told that theirs counts"
            );
            assert_eq!(one.worker, if one_kept { "a" } else { "b" });
        }
    }
}

#[tokio::test]
async fn a_late_duplicate_with_another_value_changes_neither_result_nor_ledger() {
    let (store, problem) = (memory(), problem(3));
    let search = Search::new(problem.clone()).unwrap();
    let trial = search.ask().remove(0);
    let results = Results::new(&store, &paths());
    let early = result(
        &search,
        0,
        outcome(&trial).fitness().unwrap().get(),
        "early",
    );
    results.put(&early).await.unwrap();
    let done = run(&store, &problem, "a", Table::new(Default::default()))
        .await
        .unwrap();
    let late = result(&search, 0, 0.987, "late");
    let (stored, is_kept) = results.put(&late).await.unwrap();
    assert_eq!((stored, is_kept), (early, false));
    let again = run(&store, &problem, "b", Table::new(Default::default()))
        .await
        .unwrap();
    assert_eq!(again.report, done.report);
    assert_eq!(done.report.digest, reference(&problem).digest().to_string());
}

/// A table that is overtaken: while it computes, another worker stores other outcomes.
struct Overtaken {
    table: Table,
    results: Results,
    follows: Digest,
}

impl TrialRunner for Overtaken {
    fn run(&mut self, trial: &Trial, problem: &Problem) -> Result<Ran, TrialError> {
        if trial.id.generation == 1 && trial.id.step == 0 {
            let earlier = TrialResult {
                trial: trial.id,
                follows: self.follows,
                outcome: Outcome::of(f64::from(8 - trial.id.slot)),
                ..result(&Search::new(problem.clone()).unwrap(), 0, 0.0, "faster")
            };
            // The store is in memory: nothing here waits.
            futures::executor::block_on(self.results.put(&earlier)).unwrap();
        }
        self.table.run(trial, problem)
    }
}

#[tokio::test]
async fn a_worker_that_was_overtaken_goes_on_with_the_stored_outcomes() {
    let (store, problem) = (memory(), problem(2));
    let runner = Overtaken {
        table: Table::new(Duration::from_millis(1)),
        results: Results::new(&store, &paths()),
        follows: Search::new(problem.clone()).unwrap().digest(),
    };
    run(&store, &problem, "slow", runner).await.unwrap();
    assert_eq!(store.tally().claims_lost, 8, "eight claims came to nothing");
    let (entries, _) = Ledger::new(&store, &paths()).verify().await.unwrap();
    let Entry::Generation(first) = &entries[1] else {
        panic!("entry 1 is a generation")
    };
    let fitness = |trial: &TrialEntry| trial.outcome.fitness().unwrap().get();
    let stored: Vec<f64> = first.steps[0].trials.iter().map(fitness).collect();
    assert_eq!(stored, [8.0, 7.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.0]);
    let cost = Ledger::new(&store, &paths()).cost(1).await.unwrap();
    let worker = |slot| {
        cost.trials[&TrialId {
            generation: 1,
            step: 0,
            slot,
        }]
            .worker
            .as_str()
    };
    assert!((0..8).all(|slot| worker(slot) == "faster"));
    let files = read_workers(&store, &paths()).await.unwrap();
    assert!(
        files[0].lost_seconds >= 0.008,
        "what was overtaken is lost: {files:?}"
    );
}

fn first_entry(change: f64) -> Entry {
    let mut search = Search::new(problem(1)).unwrap();
    loop {
        for trial in search.ask() {
            let value = outcome(&trial)
                .fitness()
                .map_or(0.9, |fitness| fitness.get());
            if let Told::GenerationComplete(entry) =
                search.tell(trial.id, Outcome::of(value + change)).unwrap()
            {
                return entry;
            }
        }
    }
}

#[tokio::test]
async fn an_entry_is_written_twice_if_equal_and_fails_loudly_if_not() {
    let store = memory();
    let ledger = Ledger::new(&store, &paths());
    let (entry, other) = (first_entry(0.0), first_entry(1.0));
    ledger.append(&entry).await.unwrap();
    ledger.append(&entry).await.unwrap();
    let error = ledger.append(&other).await.unwrap_err();
    assert_eq!(
        (error.kind(), error.exit_code()),
        ("LedgerConflict", ExitCode::BadData)
    );
    let text = error.to_string();
    let LedgerError::Conflict(conflict) = error else {
        panic!("{text}")
    };
    for part in [
        &paths().ledger_entry(1),
        &entry.digest().to_string(),
        &other.digest().to_string(),
    ] {
        assert!(text.contains(part), "{part} is missing in {text}");
    }
    // Both are there to be compared, and the first is still the ledger.
    assert_eq!(
        Entry::from_bytes(&store.get(&conflict.kept).await.unwrap()).unwrap(),
        other
    );
    assert_eq!(ledger.entry(1).await.unwrap(), Some(entry));
}

#[tokio::test]
async fn workers_of_one_version_close_a_generation_together() {
    let (_folder, store) = folder();
    let entry = first_entry(0.0);
    let close = |_| {
        let (ledger, entry) = (Ledger::new(&store, &paths()), entry.clone());
        tokio::spawn(async move {
            ledger
                .put_cost(1, &GenerationCost::default())
                .await
                .unwrap();
            ledger.append(&entry).await
        })
    };
    for closed in futures::future::join_all((0..8).map(close)).await {
        closed.unwrap().unwrap();
    }
}

async fn guarded(store: &Store, digest: &str) -> Result<Guarded, darwinlm_store::StoreError> {
    guard_run(store, &paths(), digest).await
}

#[tokio::test]
async fn a_prefix_belongs_to_one_search() {
    let store = memory();
    assert_eq!(guarded(&store, "sha256:aa").await.unwrap(), Guarded::New);
    assert_eq!(
        guarded(&store, "sha256:aa").await.unwrap(),
        Guarded::Resumed
    );
    let error = guarded(&store, "sha256:bb").await.unwrap_err();
    assert_eq!(
        (error.kind(), error.exit_code()),
        ("StoreInUse", ExitCode::BadSpec)
    );
    let text = error.to_string();
    assert!(
        text.contains("sha256:aa") && text.contains("sha256:bb"),
        "{text}"
    );
}

#[tokio::test]
async fn another_problem_in_the_same_prefix_is_a_conflict() {
    let store = memory();
    let mut other = problem(2);
    run(&store, &other, "a", Table::new(Default::default()))
        .await
        .unwrap();
    other.seed += 1;
    let error = run(&store, &other, "b", Table::new(Default::default()))
        .await
        .unwrap_err();
    assert!(
        error.to_string().contains(&paths().ledger_entry(0)),
        "{error}"
    );
}

#[tokio::test]
async fn a_finished_search_is_told_again_without_a_trial() {
    let (store, problem) = (memory(), problem(2));
    let first = run(&store, &problem, "a", Table::new(Default::default()))
        .await
        .unwrap();
    let table = Table::new(Default::default());
    let again = run(&store, &problem, "b", table.clone()).await.unwrap();
    assert_eq!((again.end, again.report), (WorkEnd::Done, first.report));
    assert!(table.ran.lock().unwrap().is_empty() && table.validated.lock().unwrap().is_empty());
}
