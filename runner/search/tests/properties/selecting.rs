//! Who survives, in which order outcomes are told, and what failures do.

use darwinlm_search::{
    Entry, FailureKind, GenerationEntry, Outcome, Search, SearchError, Told, Trial, TrialId, ranked,
};
use proptest::prelude::*;

use crate::problems::{Sketch, finished, hash, score, sketches};

fn generations(entries: &[Entry]) -> impl Iterator<Item = &GenerationEntry> {
    entries.iter().filter_map(|entry| match entry {
        Entry::Genesis(_) => None,
        Entry::Generation(entry) => Some(entry.as_ref()),
    })
}

/// Tells a whole search, each step's trials in an order drawn from `order`; outcomes fail now and
/// then. Returns the entries, or the words of the error that ended it.
fn run_in_order(mut search: Search, order: u64, score: impl Fn(&Trial) -> Outcome) -> String {
    let mut told = String::new();
    while !search.is_finished() {
        let mut trials = search.ask();
        trials.sort_by_key(|trial| hash(&format!("{order} {}", trial.id)));
        for trial in trials {
            match search.tell(trial.id, score(&trial)) {
                Ok(Told::GenerationComplete(entry)) => {
                    told += &String::from_utf8(entry.to_bytes()).unwrap();
                }
                Ok(_) => {}
                Err(error) => return told + &error.to_string(),
            }
        }
    }
    told
}

fn score_with_failures(trial: &Trial) -> Outcome {
    if hash(&trial.genome.to_string()).is_multiple_of(6) {
        return Outcome::Failed(FailureKind::NonFinite);
    }
    score(trial)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_order_of_telling_gives_the_same_bytes(sketch in sketches(), order: u64) {
        let search = Search::new(sketch.problem(3)).unwrap();
        let one = run_in_order(search.clone(), 0, score_with_failures);
        prop_assert_eq!(run_in_order(search, order, score_with_failures), one);
    }

    #[test]
    fn the_incumbent_never_worsens_on_the_minibatch_it_shares(sketch in sketches()) {
        let (_, entries) = finished(&sketch.problem(4));
        for entry in generations(&entries) {
            let last = entry.steps.last().unwrap();
            let parent = last.trials.last().unwrap();
            prop_assert_eq!(parent.slot as usize, entry.offspring.len());
            let survivor = entry.survivor.fitness.unwrap();
            prop_assert!(survivor <= parent.outcome.fitness().unwrap());
            prop_assert!(last.trials.iter().all(|trial| survivor <= trial.outcome.fitness().unwrap()));
        }
    }

    #[test]
    fn each_step_keeps_the_best_and_the_parent_joins_the_last(sketch in sketches()) {
        let (_, entries) = finished(&sketch.problem(3));
        for entry in generations(&entries) {
            let mut expected: Vec<u32> = (0..).zip(&entry.offspring).map(|(slot, _)| slot).collect();
            for (at, step) in entry.steps.iter().enumerate() {
                if at + 1 == entry.steps.len() {
                    expected.push(entry.offspring.len() as u32);
                }
                let slots: Vec<u32> = step.trials.iter().map(|trial| trial.slot).collect();
                prop_assert_eq!(&slots, &expected);
                expected = ranked(step.trials.iter().map(|trial| (trial.slot, trial.outcome)));
                expected.truncate(sketch.survivors[at] as usize);
                expected.sort();
            }
            let parent_slot = entry.offspring.len() as u32;
            let survivor = entry.offspring.get(expected[0] as usize).unwrap_or(&entry.parent);
            prop_assert_eq!(&entry.survivor.genome, survivor);
            let born = entry.survivor.born_in_generation;
            prop_assert_eq!(born == entry.generation, expected[0] != parent_slot);
        }
    }

    #[test]
    fn the_seed_decides_and_nothing_else(sketch in sketches()) {
        let problem = sketch.problem(2);
        prop_assert_eq!(finished(&problem).1, finished(&problem).1);
        let mut other = problem.clone();
        other.seed ^= 1;
        prop_assert_ne!(finished(&problem).0.digest(), finished(&other).0.digest());
    }
}

fn search() -> Search {
    Search::new(Sketch::plain().problem(2)).unwrap()
}

#[test]
fn a_known_outcome_may_be_told_again_and_another_one_not() {
    let mut search = search();
    let trial = search.ask().remove(4);
    assert_eq!(
        search.tell(trial.id, Outcome::of(1.5)).unwrap(),
        Told::Recorded
    );
    assert_eq!(
        search.tell(trial.id, Outcome::of(1.5)).unwrap(),
        Told::AlreadyKnown
    );
    let other = search.tell(trial.id, Outcome::of(1.25)).unwrap_err();
    assert!(matches!(other, SearchError::OtherOutcome { .. }));
    assert_eq!(
        other.to_string(),
        "g000001-s0-t004 is told as fitness 1.25, but was told before as fitness 1.5"
    );
    assert_eq!(search.ask().len(), 5);
}

#[test]
fn a_trial_that_was_not_asked_for_is_refused() {
    let mut search = search();
    let refused = |search: &mut Search, generation, step, slot| {
        search
            .tell(
                TrialId {
                    generation,
                    step,
                    slot,
                },
                Outcome::of(1.0),
            )
            .unwrap_err()
    };
    let error = refused(&mut search, 1, 0, 6);
    assert!(matches!(error, SearchError::UnknownTrial { .. }));
    let error = refused(&mut search, 1, 1, 0);
    assert!(matches!(error, SearchError::UnknownTrial { .. }));
    let error = refused(&mut search, 2, 0, 0);
    assert!(matches!(
        error,
        SearchError::OtherGeneration { open: Some(1), .. }
    ));
}

#[test]
fn a_search_with_too_few_finite_candidates_names_the_step_and_stays_as_it_was() {
    let mut search = search();
    let trials = search.ask();
    let (last, others) = trials.split_last().unwrap();
    for trial in others {
        let value = if trial.id.slot < 2 { 1.0 } else { f64::NAN };
        search.tell(trial.id, Outcome::of(value)).unwrap();
    }
    let before = search.clone();
    let error = search
        .tell(last.id, Outcome::of(f64::INFINITY))
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "generation 1, selection step 0 (from 0): 2 candidates have a finite fitness and 3 must \
         survive"
    );
    assert_eq!(search, before);
    assert_eq!(
        search.tell(last.id, Outcome::of(2.0)).unwrap(),
        Told::StepComplete
    );
}

#[test]
fn failed_candidates_rank_last_and_the_parent_can_outlive_them_all() {
    let mut search = search();
    for trial in search.ask() {
        search.tell(trial.id, Outcome::of(1.0)).unwrap();
    }
    let finalists = search.ask();
    assert_eq!(
        finalists
            .iter()
            .map(|trial| trial.id.slot)
            .collect::<Vec<_>>(),
        [0, 1, 2, 6]
    );
    let start = search.survivor().clone();
    for trial in finalists {
        let value = if trial.id.slot == 6 { 9.0 } else { f64::NAN };
        search.tell(trial.id, Outcome::of(value)).unwrap();
    }
    assert_eq!(search.generation(), 1);
    assert_eq!(search.survivor().genome, start.genome);
    assert_eq!(search.survivor().born_in_generation, 0);
    assert_eq!(search.survivor().fitness.unwrap().get(), 9.0);
}
