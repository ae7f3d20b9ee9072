//! Offspring of long lines of descent, in spaces small enough to count.

use std::collections::BTreeSet;

use darwinlm_search::{
    Budget, Exchange, Genome, Level, Module, ModuleKind, Problem, Purpose, Space, StartError,
    Stream, Target, offspring, start,
};
use proptest::prelude::*;

use crate::problems::{errors, sketches};

/// Offspring of a random line of descent, generation by generation, each with its parent.
fn descent(problem: &Problem, generations: u32) -> Vec<(Genome, Vec<Genome>)> {
    let space = problem.space();
    let mut parent = problem.start.clone();
    let mut families = Vec::new();
    for generation in 0..generations {
        let mut stream = Stream::new(problem.seed, generation, 0, Purpose::Offspring);
        let children = offspring(&space, &parent, problem.offspring, &mut stream);
        let next = stream.choose(&(0..children.len()).collect::<Vec<_>>());
        families.push((parent.clone(), children.clone()));
        let Some(next) = next else { break };
        parent = children[next].clone();
    }
    families
}

/// Every genome within the ladders.
fn all_genomes(space: &Space, blocks: u32) -> Vec<Genome> {
    let mut genomes = vec![Genome::uniform(blocks, Level::DENSE)];
    for module in Module::all(blocks) {
        let levels: Vec<Level> = (0..=space.deepest[module.kind].get())
            .map(|level| Level::new(level).unwrap())
            .collect();
        let at = |genome: &Genome| {
            let genome = genome.clone();
            levels.clone().into_iter().map(move |level| {
                let mut genome = genome.clone();
                genome.set(module, level);
                genome
            })
        };
        genomes = genomes.iter().flat_map(at).collect();
    }
    genomes
}

/// Levels that must go deeper to come from one genome to the other.
fn deepened(from: &Genome, to: &Genome) -> u8 {
    let pairs = from.modules().zip(to.modules());
    pairs
        .map(|((_, from), (_, to))| to.get().saturating_sub(from.get()))
        .sum()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn every_genome_keeps_the_budget_and_the_ladders(sketch in sketches()) {
        let problem = sketch.problem(1);
        let space = problem.space();
        prop_assert!(space.holds(&problem.start));
        for (parent, children) in descent(&problem, 12) {
            for child in children {
                prop_assert!(child.fit(sketch.blocks, space.deepest).is_ok(), "{child}");
                prop_assert!(space.holds(&child), "{parent} -> {child}");
                if let (Budget::Levels(sums), Exchange::WithinKind) = (space.budget, space.exchange)
                {
                    for kind in ModuleKind::ALL {
                        prop_assert_eq!(child.level_sum(kind), sums[kind]);
                    }
                }
                if let Budget::Cost { limit } = space.budget {
                    prop_assert!(problem.costs.of_genome(&child) <= limit);
                }
            }
        }
    }

    #[test]
    fn every_genome_is_as_fast_as_a_speed_up_asks_for(
        mut sketch in sketches(),
        percent in 101..400_u32,
    ) {
        (sketch.measured, sketch.cost_permille) = (true, Some(500));
        let mut problem = sketch.problem(1);
        let dense = problem.costs.of_genome(&Genome::uniform(sketch.blocks, Level::DENSE));
        problem.target = Target::speedup(dense, percent);
        let errors = errors(sketch.seed, sketch.blocks, &problem.ladders);
        let (ladders, costs) = (&problem.ladders, &problem.costs);
        let started = start(problem.target, sketch.blocks, ladders, costs, &errors);
        prop_assume!(!matches!(started, Err(StartError::Unreachable { .. })));
        problem.start = started.unwrap();
        prop_assert!(problem.validate().is_ok());
        let fast = |genome: &Genome| problem.costs.of_genome(genome) * u64::from(percent) <= dense * 100;
        prop_assert!(fast(&problem.start));
        for (parent, children) in descent(&problem, 12) {
            for child in children {
                prop_assert!(fast(&child), "{} -> {}", parent, child);
            }
        }
    }

    #[test]
    fn offspring_differ_from_their_parent_and_from_each_other(sketch in sketches()) {
        let problem = sketch.problem(1);
        for (parent, children) in descent(&problem, 12) {
            let different: BTreeSet<&Genome> = children.iter().chain([&parent]).collect();
            prop_assert_eq!(different.len(), children.len() + 1);
            prop_assert!(children.len() <= problem.offspring as usize);
        }
    }

    #[test]
    fn no_reachable_genome_is_missed(
        mut sketch in sketches(),
        blocks in 1..3_u32,
        levels in 1..4_u8,
    ) {
        sketch.blocks = blocks;
        sketch.attention_levels = levels;
        sketch.cost_permille = None;
        let problem = sketch.problem(1);
        let space = problem.space();
        let near = |genome: &Genome| (1..=3).contains(&deepened(&problem.start, genome));
        let all = all_genomes(&space, blocks);
        let reachable: BTreeSet<Genome> =
            all.into_iter().filter(|genome| space.holds(genome) && near(genome)).collect();
        let mut stream = Stream::new(sketch.seed, 1, 0, Purpose::Offspring);
        let found = offspring(&space, &problem.start, u32::MAX, &mut stream);
        prop_assert_eq!(found.into_iter().collect::<BTreeSet<Genome>>(), reachable);
    }

    #[test]
    fn a_start_for_a_cost_leaves_no_step_back_that_fits(mut sketch in sketches(), at in 0..1000_u64) {
        sketch.cost_permille = Some(at);
        let problem = sketch.problem(1);
        let space = problem.space();
        for (module, level) in problem.start.modules() {
            let Some(shallower) = level.shallower() else { continue };
            let mut eased = problem.start.clone();
            eased.set(module, shallower);
            prop_assert!(!space.holds(&eased), "{} could ease {}", problem.start, module);
        }
    }
}
