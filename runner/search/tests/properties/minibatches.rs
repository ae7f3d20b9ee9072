//! What candidates train on and are scored on.

use std::collections::{BTreeMap, BTreeSet};

use darwinlm_search::{Pool, Purpose, Search, Stream, Told, Trial};
use proptest::prelude::*;

use crate::problems::{Sketch, score, sketches};

/// All trials of a search, step by step.
fn steps(mut search: Search) -> BTreeMap<(u32, u32), Vec<Trial>> {
    let mut steps: BTreeMap<(u32, u32), Vec<Trial>> = BTreeMap::new();
    while !search.is_finished() {
        for trial in search.ask() {
            let told = search.tell(trial.id, score(&trial)).unwrap();
            assert_ne!(told, Told::AlreadyKnown);
            steps
                .entry((trial.id.generation, trial.id.step))
                .or_default()
                .push(trial);
        }
    }
    steps
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn pieces_have_the_exact_count_and_never_a_single_token(
        sequences in 1..40_u32,
        sequence_length in 3..70_u32,
        tokens in 2..3000_u64,
        seed: u64,
    ) {
        let pool = Pool { sequences, sequence_length };
        let drawn = pool.draw(tokens, &mut Stream::new(seed, 1, 0, Purpose::Training));
        let pieces = drawn.pieces(sequence_length);
        prop_assert_eq!(pieces.iter().map(|piece| u64::from(piece.tokens)).sum::<u64>(), tokens);
        for piece in &pieces {
            prop_assert!((2..=sequence_length).contains(&piece.tokens));
            prop_assert!(piece.sequence < sequences);
        }
        let once: BTreeSet<u32> = drawn.sequences.iter().copied().take(sequences as usize).collect();
        prop_assert_eq!(once.len(), drawn.sequences.len().min(sequences as usize));
    }

    #[test]
    fn all_candidates_of_a_step_share_their_minibatches(sketch in sketches()) {
        let problem = sketch.problem(2);
        for ((_, step), trials) in steps(Search::new(problem.clone()).unwrap()) {
            let of_step = problem.steps.steps()[step as usize];
            for trial in &trials {
                prop_assert_eq!(&trial.training, &trials[0].training);
                prop_assert_eq!(&trial.fitness, &trials[0].fitness);
                prop_assert_eq!(trial.fitness.tokens, of_step.fitness_tokens);
                let trained: u64 = trial.training.iter().map(|minibatch| minibatch.tokens).sum();
                prop_assert_eq!(trained, of_step.training_tokens);
            }
        }
    }

    #[test]
    fn training_that_continues_begins_with_what_was_trained_before(mut sketch in sketches()) {
        sketch.continue_training = true;
        let steps = steps(Search::new(sketch.problem(2)).unwrap());
        for (&(generation, step), trials) in &steps {
            let training = &trials[0].training;
            prop_assert_eq!(training.len(), step as usize + 1);
            if let Some(before) = step.checked_sub(1).and_then(|at| steps.get(&(generation, at))) {
                prop_assert_eq!(&before[0].training[..], &training[..step as usize]);
            }
        }
    }
}

#[test]
fn minibatches_are_fresh_in_every_step_and_generation() {
    let mut problem = Sketch::plain().problem(3);
    problem.training_pool.sequences = 100_000;
    problem.fitness_pool.sequences = 100_000;
    let steps = steps(Search::new(problem).unwrap());
    let drawn: BTreeSet<Vec<u32>> = steps
        .values()
        .flat_map(|trials| [&trials[0].training[0], &trials[0].fitness])
        .map(|minibatch| minibatch.sequences.clone())
        .collect();
    assert_eq!(drawn.len(), 2 * steps.len());
}
