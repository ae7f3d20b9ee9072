//! Bringing a mutant to its cost limit: from above by pruning, from below by spending what is left.

use crate::genome::Genome;
use crate::module::{Module, ModuleKind};
use crate::mutation::{Space, deeper_steps, shallower_steps};
use crate::randomness::Stream;

/// Prunes modules drawn at random, a level at a time, until the limit holds.
///
/// Where the kinds allowed include all that the mutation eased, it ends within the limit: with every
/// allowed module removed, a genome costs no more than the parent, whose other modules it shares and
/// which kept the limit.
pub(super) fn repair(
    space: &Space,
    genome: &mut Genome,
    limit: u64,
    allowed: impl Fn(ModuleKind) -> bool,
    stream: &mut Stream,
) {
    while space.costs.of_genome(genome) > limit {
        let Some((module, deeper)) = stream.choose(&deeper_steps(space, genome, &allowed)) else {
            return;
        };
        genome.set(module, deeper);
    }
}

/// Eases modules drawn at random, a level at a time, while one fits below the limit.
///
/// Without it a search could only lose: swaps keep the number of levels, repairs raise it, and what
/// was once saved would never be used.
pub(super) fn spend(
    space: &Space,
    genome: &mut Genome,
    limit: u64,
    allowed: impl Fn(ModuleKind) -> bool,
    stream: &mut Stream,
) {
    loop {
        let slack = limit.saturating_sub(space.costs.of_genome(genome));
        let fits = |module: &Module| {
            let level = genome.level(*module);
            let of_level = |level| space.costs.of_level(module.kind, level);
            level
                .shallower()
                .is_some_and(|eased| of_level(eased) - of_level(level) <= slack)
        };
        let mut steps = shallower_steps(genome, &allowed);
        steps.retain(|(module, _)| fits(module));
        let Some((module, shallower)) = stream.choose(&steps) else {
            return;
        };
        genome.set(module, shallower);
    }
}
