//! What every genome of a search must keep.

use serde::{Deserialize, Serialize};

use crate::cost::Costs;
use crate::genome::Genome;
use crate::level::Level;
use crate::module::{ModuleKind, PerKind};

/// What the user asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Target {
    /// The paper's: start with every module at this level and keep the sums of levels.
    Level(Level),
    /// No genome costs more than this.
    Cost(u64),
}

/// Between which modules a level swap moves levels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Exchange {
    /// Both modules of a swap are of one kind, as in the paper.
    WithinKind,
    /// The two modules of a swap may be of different kinds.
    AcrossKinds,
}

/// What every genome of a search keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Budget {
    /// The sums of levels: of each kind under [`Exchange::WithinKind`], of both together under
    /// [`Exchange::AcrossKinds`].
    Levels(PerKind<u64>),
    /// A cost that is not exceeded.
    Cost {
        /// The highest cost of any genome.
        limit: u64,
    },
}

impl Budget {
    /// The budget of a search for a target that starts with a genome.
    pub fn new(target: Target, start: &Genome) -> Budget {
        match target {
            Target::Level(_) => Budget::Levels(PerKind::of(|kind| start.level_sum(kind))),
            Target::Cost(limit) => Budget::Cost { limit },
        }
    }

    /// Whether a genome keeps the budget.
    pub fn holds(&self, genome: &Genome, costs: &Costs, exchange: Exchange) -> bool {
        match (self, exchange) {
            (Budget::Cost { limit }, _) => costs.of_genome(genome) <= *limit,
            (Budget::Levels(sums), Exchange::WithinKind) => ModuleKind::ALL
                .iter()
                .all(|&kind| genome.level_sum(kind) == sums[kind]),
            (Budget::Levels(sums), Exchange::AcrossKinds) => {
                let found: u64 = ModuleKind::ALL
                    .iter()
                    .map(|&kind| genome.level_sum(kind))
                    .sum();
                found == sums.attention + sums.mlp
            }
        }
    }
}
