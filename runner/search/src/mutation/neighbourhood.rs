//! All genomes that a few level swaps reach, one by one.

use std::collections::BTreeSet;

use crate::budget::Exchange;
use crate::genome::Genome;
use crate::mutation::{Space, deeper_steps, shallower_steps};

/// Level swaps of a mutation, at most.
const SWAPS: u32 = 3;

/// Genomes visited before the enumeration gives up. A neighbourhood this large yields enough
/// offspring by drawing; only a budget that nearly nothing keeps could come here.
const VISITS: usize = 1 << 16;

/// Up to `wanted` genomes that one to three swaps reach, that keep the budget and are not `known`:
/// those with fewer swaps first, then in genome order.
pub(super) fn unknown(
    space: &Space,
    parent: &Genome,
    known: &BTreeSet<Genome>,
    wanted: usize,
) -> Vec<Genome> {
    let mut visited = BTreeSet::from([parent.clone()]);
    let mut frontier = visited.clone();
    let mut found = Vec::new();
    for _ in 0..SWAPS {
        let mut next = BTreeSet::new();
        for genome in &frontier {
            next.extend(swapped(space, genome).filter(|other| !visited.contains(other)));
            if visited.len() + next.len() >= VISITS {
                break;
            }
        }
        let fresh = next
            .iter()
            .filter(|genome| !known.contains(genome) && space.holds(genome));
        found.extend(fresh.take(wanted - found.len()).cloned());
        if found.len() == wanted || visited.len() + next.len() >= VISITS {
            break;
        }
        visited.extend(next.iter().cloned());
        frontier = next;
    }
    found
}

/// Every genome one level swap away.
fn swapped<'a>(space: &'a Space, genome: &'a Genome) -> impl Iterator<Item = Genome> + 'a {
    deeper_steps(space, genome, |_| true)
        .into_iter()
        .flat_map(move |(pruned, deeper)| {
            let partner = move |kind| match space.exchange {
                Exchange::WithinKind => kind == pruned.kind,
                Exchange::AcrossKinds => true,
            };
            let eased = shallower_steps(genome, partner).into_iter();
            eased
                .filter(move |(module, _)| *module != pruned)
                .map(move |(module, shallower)| {
                    let mut swapped = genome.clone();
                    swapped.set(pruned, deeper);
                    swapped.set(module, shallower);
                    swapped
                })
        })
}
