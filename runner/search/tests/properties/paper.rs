//! The paper's settings on the paper's models.

use darwinlm_search::{
    AttentionUnit, Costs, Exchange, FitnessKind, Ladder, Ladders, Level, ModuleKind, PerKind, Pool,
    Problem, Schedule, Search, Shape, Target, start,
};

use crate::problems::{optimizer, pins, score};

fn uneven_heads() -> Ladder {
    Ladder::new(vec![32, 28, 25, 21, 18, 14, 10, 6, 4, 1, 0]).unwrap()
}

fn llama_2() -> (Shape, Ladders) {
    let shape = Shape {
        blocks: 32,
        hidden: 4096,
        vocabulary: 32_000,
        intermediate: 11_008,
        query_heads: 32,
        key_value_heads: 32,
        head_dim: 128,
        tied_embeddings: false,
        query_key_value_bias: false,
        query_key_norm: false,
        attention_unit: AttentionUnit::QueryHead,
    };
    let mlp = vec![
        11_008, 9920, 8928, 8032, 6496, 5280, 4256, 3104, 1824, 864, 0,
    ];
    (
        shape,
        PerKind {
            attention: uneven_heads(),
            mlp: Ladder::new(mlp).unwrap(),
        },
    )
}

fn llama_3_1() -> (Shape, Ladders) {
    let (llama_2, _) = llama_2();
    let shape = Shape {
        vocabulary: 128_256,
        intermediate: 14_336,
        key_value_heads: 8,
        ..llama_2
    };
    let mlp = Ladder::spaced(14_336, 10, 32).unwrap();
    (
        shape,
        PerKind {
            attention: uneven_heads(),
            mlp,
        },
    )
}

fn problem(level: u8, generations: u32) -> Problem {
    let (shape, ladders) = llama_2();
    let costs = Costs::parameters(&shape, &ladders).unwrap();
    let target = Target::Level(Level::new(level).unwrap());
    Problem {
        seed: 0,
        start: start(target, shape.blocks, &ladders, &costs, &[]).unwrap(),
        shape,
        ladders,
        costs,
        target,
        exchange: Exchange::WithinKind,
        generations,
        offspring: 16,
        steps: Schedule::paper(),
        fitness: FitnessKind::KullbackLeibler,
        continue_training: false,
        optimizer: optimizer(),
        training_pool: Pool {
            sequences: 123,
            sequence_length: 4096,
        },
        fitness_pool: Pool {
            sequences: 25,
            sequence_length: 4096,
        },
        pins: pins(),
    }
}

/// Trials, training tokens and fitness tokens of each generation.
fn spent(mut search: Search) -> Vec<(u64, u64, u64)> {
    let mut spent = vec![(0, 0, 0); search.problem().generations as usize];
    while !search.is_finished() {
        for trial in search.ask() {
            let (trials, training, fitness) = &mut spent[trial.id.generation as usize - 1];
            *trials += 1;
            // Training that continues costs only what the step adds; the parent starts anew.
            let continued = search.problem().continue_training && trial.id.slot < 16;
            let skipped = if continued {
                trial.training.len() - 1
            } else {
                0
            };
            *training += trial.training[skipped..]
                .iter()
                .map(|part| part.tokens)
                .sum::<u64>();
            *fitness += trial.fitness.tokens;
            search.tell(trial.id, score(&trial)).unwrap();
        }
    }
    spent
}

#[test]
fn a_generation_has_31_trials_and_the_papers_tokens() {
    let search = Search::new(problem(6, 3)).unwrap();
    assert_eq!(spent(search), vec![(31, 1_560_000, 73_728); 3]);
}

#[test]
fn training_that_continues_takes_two_thirds_of_the_tokens() {
    let continued = Problem {
        continue_training: true,
        ..problem(6, 2)
    };
    let search = Search::new(continued).unwrap();
    assert_eq!(spent(search), vec![(31, 1_080_000, 73_728); 2]);
}

/// The least and the most parameters of any genome that keeps the level sums of a uniform one.
fn range_at_level((shape, ladders): (Shape, Ladders), level: u64) -> [u64; 2] {
    let costs = Costs::parameters(&shape, &ladders).unwrap();
    [false, true].map(|most| {
        let better = |one: u64, other: u64| if most { one.max(other) } else { one.min(other) };
        let of_kind = |kind: ModuleKind| {
            // best[sum] over so many modules whose levels have that sum
            let mut best = vec![Some(0_u64)];
            for _ in 0..shape.blocks {
                let mut next: Vec<Option<u64>> = vec![None; best.len() + 10];
                for (sum, so_far) in best.iter().enumerate() {
                    let Some(so_far) = so_far else { continue };
                    for level in 0..=10 {
                        let cost = so_far + costs.of_level(kind, Level::new(level).unwrap());
                        let place = &mut next[sum + usize::from(level)];
                        *place = Some(place.map_or(cost, |known| better(known, cost)));
                    }
                }
                best = next;
            }
            best[(level * u64::from(shape.blocks)) as usize].unwrap()
        };
        shape.fixed_parameters() + ModuleKind::ALL.map(of_kind).iter().sum::<u64>()
    })
}

#[test]
fn level_swaps_change_the_parameters_within_the_known_range() {
    let millions = |range: [u64; 2]| range.map(|parameters| (parameters + 5_000_000) / 10_000_000);
    assert_eq!(millions(range_at_level(llama_2(), 6)), [253, 292]);
    assert_eq!(millions(range_at_level(llama_2(), 5)), [323, 359]);
    assert_eq!(millions(range_at_level(llama_3_1(), 5)), [454, 464]);
}

#[test]
fn every_survivor_of_a_search_lies_within_that_range() {
    let [least, most] = range_at_level(llama_2(), 6);
    let mut search = Search::new(problem(6, 8)).unwrap();
    while !search.is_finished() {
        for trial in search.ask() {
            let parameters = search.problem().parameters(&trial.genome);
            assert!((least..=most).contains(&parameters), "{}", trial.genome);
            search.tell(trial.id, score(&trial)).unwrap();
        }
    }
    assert!(search.survivor().born_in_generation > 0);
}

#[test]
fn a_pool_smaller_than_a_fitness_minibatch_is_refused_when_the_search_is_made() {
    let mut small = problem(6, 1);
    small.fitness_pool.sequences = 1;
    let error = Search::new(small).unwrap_err();
    let reason = std::error::Error::source(&error)
        .and_then(std::error::Error::source)
        .unwrap();
    assert_eq!(
        reason.to_string(),
        "the fitness pool has 4096 tokens; selection step 3 asks 8192"
    );
}
