//! How a parent gets its offspring: level swaps that keep the budget.

mod balance;
mod neighbourhood;

use std::collections::BTreeSet;

use crate::budget::{Budget, Exchange};
use crate::cost::Costs;
use crate::genome::Genome;
use crate::level::Level;
use crate::module::{Module, ModuleKind, PerKind};
use crate::randomness::Stream;

/// The genomes among which a search moves: the ladders' ends, the budget and what may be exchanged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Space {
    /// The last level of each kind.
    pub deepest: PerKind<Level>,
    /// What levels cost.
    pub costs: Costs,
    /// What every genome keeps.
    pub budget: Budget,
    /// Between which modules levels move.
    pub exchange: Exchange,
}

impl Space {
    /// Whether a genome keeps the budget.
    pub fn holds(&self, genome: &Genome) -> bool {
        self.budget.holds(genome, &self.costs, self.exchange)
    }
}

/// Draws in a row that bring nothing new before the neighbourhood is enumerated instead.
const MISSES: u32 = 256;

/// Draws of the modules of one mutation, its kinds given, before a genome over the limit is
/// repaired.
const REDRAWS: u32 = 16;

/// Up to `wanted` offspring of a parent that keeps the budget: all different, none the parent, all
/// within the ladders and the budget.
///
/// It always ends. Where draws stop bringing new genomes, the neighbourhood (everything that one
/// to three level swaps reach) is enumerated; where that is exhausted too, the offspring are fewer.
pub fn offspring(space: &Space, parent: &Genome, wanted: u32, stream: &mut Stream) -> Vec<Genome> {
    let wanted = wanted as usize;
    let mut known = BTreeSet::from([parent.clone()]);
    let mut children = Vec::new();
    let mut misses = 0;
    while children.len() < wanted && misses < MISSES {
        let child = mutant(space, parent, stream);
        if known.insert(child.clone()) {
            children.push(child);
            misses = 0;
        } else {
            misses += 1;
        }
    }
    if children.len() < wanted {
        let missing = wanted - children.len();
        children.extend(neighbourhood::unknown(space, parent, &known, missing));
    }
    children
}

/// The kinds between which one level swap moves a level.
#[derive(Debug, Clone, Copy)]
struct Swap {
    deeper: ModuleKind,
    shallower: ModuleKind,
}

/// How many level swaps a mutation has: the smaller of two draws from 1 to 3.
fn swap_count(stream: &mut Stream) -> u64 {
    1 + stream.below(3).min(stream.below(3))
}

fn mutant(space: &Space, parent: &Genome, stream: &mut Stream) -> Genome {
    // The kinds are drawn once and kept through all redraws. If they were drawn anew each time,
    // swaps that ease the more expensive kind, which never fit at first, would never be taken.
    let count = swap_count(stream);
    let swaps: Vec<Swap> = (0..count)
        .map(|_| draw_swap(space, parent, stream))
        .collect();
    let mut child = apply(space, parent, &swaps, stream);
    for _ in 1..REDRAWS {
        if space.holds(&child) {
            break;
        }
        child = apply(space, parent, &swaps, stream);
    }
    match space.budget {
        Budget::Levels(_) => child,
        Budget::Cost { limit } => {
            balance_kinds(space, &mut child, limit, &swaps, stream);
            child
        }
    }
}

/// Brings a mutant to the limit, first in the kinds that its swaps pruned or eased.
///
/// With repairs in any kind from the start, a swap that eases the dearer kind would mostly be
/// undone in that same kind, and levels would wander to the other.
fn balance_kinds(
    space: &Space,
    child: &mut Genome,
    limit: u64,
    swaps: &[Swap],
    stream: &mut Stream,
) {
    let pruned = |kind| swaps.iter().any(|swap| swap.deeper == kind);
    let eased = |kind| swaps.iter().any(|swap| swap.shallower == kind);
    balance::repair(space, child, limit, pruned, stream);
    balance::spend(space, child, limit, eased, stream);
    match space.exchange {
        Exchange::WithinKind => {}
        Exchange::AcrossKinds => {
            balance::repair(space, child, limit, |_| true, stream);
            balance::spend(space, child, limit, |_| true, stream);
        }
    }
}

/// Draws kinds in proportion to their modules.
fn draw_swap(space: &Space, parent: &Genome, stream: &mut Stream) -> Swap {
    let modules = 2 * u64::from(parent.blocks());
    let mut kind = || {
        let index = usize::try_from(stream.below(modules)).expect("below a usize");
        Module::at(index).kind
    };
    let deeper = kind();
    match space.exchange {
        Exchange::WithinKind => Swap {
            deeper,
            shallower: deeper,
        },
        Exchange::AcrossKinds => Swap {
            deeper,
            shallower: kind(),
        },
    }
}

/// Applies swaps to fresh draws of modules. As in the paper one module may be drawn for both ends;
/// such a swap, like one for which a kind has no module left, changes nothing.
fn apply(space: &Space, parent: &Genome, swaps: &[Swap], stream: &mut Stream) -> Genome {
    let mut genome = parent.clone();
    for swap in swaps {
        let down = stream.choose(&deeper_steps(space, &genome, |kind| kind == swap.deeper));
        let up = stream.choose(&shallower_steps(&genome, |kind| kind == swap.shallower));
        if let (Some((pruned, deeper)), Some((eased, shallower))) = (down, up)
            && pruned != eased
        {
            genome.set(pruned, deeper);
            genome.set(eased, shallower);
        }
    }
    genome
}

/// Modules of some kinds that can go one level deeper, with that level, in module order.
fn deeper_steps(
    space: &Space,
    genome: &Genome,
    of_kind: impl Fn(ModuleKind) -> bool,
) -> Vec<(Module, Level)> {
    let modules = genome.modules().filter(|(module, _)| of_kind(module.kind));
    modules
        .filter_map(|(at, level)| Some((at, level.deeper(space.deepest[at.kind])?)))
        .collect()
}

/// Modules of some kinds that can go one level back, with that level, in module order.
fn shallower_steps(genome: &Genome, of_kind: impl Fn(ModuleKind) -> bool) -> Vec<(Module, Level)> {
    let modules = genome.modules().filter(|(module, _)| of_kind(module.kind));
    modules
        .filter_map(|(module, level)| Some((module, level.shallower()?)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cost::CostUnit;
    use crate::randomness::Purpose;

    fn level_space(blocks: u32, last: u8, level: u8, exchange: Exchange) -> (Space, Genome) {
        let deepest = Level::new(last).unwrap();
        let falling = || (0..=u64::from(last)).rev().collect();
        let parent = Genome::uniform(blocks, Level::new(level).unwrap());
        let space = Space {
            deepest: PerKind::of(|_| deepest),
            costs: Costs::new(CostUnit::Parameters, 0, PerKind::of(|_| falling())).unwrap(),
            budget: Budget::Levels(PerKind::of(|kind| parent.level_sum(kind))),
            exchange,
        };
        (space, parent)
    }

    fn reachable(blocks: u32, last: u8, level: u8, exchange: Exchange) -> usize {
        let (space, parent) = level_space(blocks, last, level, exchange);
        let mut stream = Stream::new(0, 1, 0, Purpose::Offspring);
        offspring(&space, &parent, 10_000, &mut stream).len()
    }

    #[test]
    fn all_reachable_genomes_are_found_where_fewer_exist_than_wanted() {
        let within = Exchange::WithinKind;
        assert_eq!(reachable(2, 2, 1, within), 8);
        assert_eq!(reachable(2, 10, 5, within), 24);
        assert_eq!(reachable(4, 4, 2, within), 1308);
        assert_eq!(reachable(1, 2, 1, Exchange::AcrossKinds), 2);
    }

    #[test]
    fn a_parent_that_nothing_can_be_swapped_in_has_no_offspring() {
        for exchange in [Exchange::WithinKind, Exchange::AcrossKinds] {
            assert_eq!(reachable(2, 1, 1, exchange), 0);
            assert_eq!(reachable(2, 1, 0, exchange), 0);
        }
        assert_eq!(reachable(1, 2, 1, Exchange::WithinKind), 0);
    }

    #[test]
    fn one_two_and_three_swaps_are_drawn_as_five_three_and_one_in_nine() {
        let mut stream = Stream::new(1, 1, 0, Purpose::Offspring);
        let mut counts = [0_u32; 3];
        for _ in 0..90_000 {
            counts[swap_count(&mut stream) as usize - 1] += 1;
        }
        // Six standard deviations are at most 895.
        let near = |count: u32, expected| count.abs_diff(expected) < 895;
        assert!(near(counts[0], 50_000) && near(counts[1], 30_000) && near(counts[2], 10_000));
    }

    #[test]
    fn both_kinds_mutate_equally_often() {
        let (space, parent) = level_space(16, 10, 5, Exchange::WithinKind);
        let mut stream = Stream::new(2, 1, 0, Purpose::Offspring);
        let attention = (0..10_000)
            .filter(|_| draw_swap(&space, &parent, &mut stream).deeper == ModuleKind::Attention);
        // Six standard deviations are 300.
        assert!(attention.count().abs_diff(5_000) < 300);
    }

    #[test]
    fn under_a_cost_limit_levels_move_between_kinds_in_both_directions() {
        let mut costs = PerKind {
            attention: vec![],
            mlp: vec![],
        };
        for level in (0..=10).rev() {
            costs.attention.push(40 * level);
            costs.mlp.push(180 * level);
        }
        let (mut space, parent) = level_space(8, 10, 5, Exchange::AcrossKinds);
        space.costs = Costs::new(CostUnit::Parameters, 0, costs).unwrap();
        space.budget = Budget::Cost {
            limit: space.costs.of_genome(&parent),
        };
        let mut stream = Stream::new(3, 1, 0, Purpose::Offspring);
        let children = offspring(&space, &parent, 300, &mut stream);
        assert_eq!(children.len(), 300);
        let mlp = |genome: &Genome| genome.level_sum(ModuleKind::Mlp);
        let eased = children
            .iter()
            .filter(|child| mlp(child) < mlp(&parent))
            .count();
        let pruned = children
            .iter()
            .filter(|child| mlp(child) > mlp(&parent))
            .count();
        assert!(eased > 50 && pruned > 50, "{eased} eased, {pruned} pruned");
    }
}
