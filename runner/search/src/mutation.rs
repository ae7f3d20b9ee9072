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
            let allowed = |kind| match space.exchange {
                Exchange::AcrossKinds => true,
                Exchange::WithinKind => swaps.iter().any(|swap| swap.deeper == kind),
            };
            balance::repair(space, &mut child, limit, allowed, stream);
            balance::spend(space, &mut child, limit, allowed, stream);
            child
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
