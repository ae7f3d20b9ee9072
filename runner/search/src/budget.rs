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

impl Target {
    /// What a model may take to be so many percent as fast as one that takes `dense`: 150 is 1.5
    /// times as fast.
    pub fn speedup(dense: u64, percent: u32) -> Target {
        let limit = u128::from(dense) * 100 / u128::from(percent.max(1));
        Target::Cost(u64::try_from(limit).unwrap_or(u64::MAX))
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cost::CostUnit;

    fn genome(attention: &str, mlp: &str) -> Genome {
        let text = PerKind {
            attention: attention.to_owned(),
            mlp: mlp.to_owned(),
        };
        Genome::try_from(text).unwrap()
    }

    fn costs() -> Costs {
        let levels = PerKind {
            attention: vec![8, 4, 0],
            mlp: vec![20, 10, 0],
        };
        Costs::new(CostUnit::Parameters, 100, levels).unwrap()
    }

    #[test]
    fn level_sums_are_kept_per_kind_or_together() {
        let level = Target::Level(Level::new(1).unwrap());
        let budget = Budget::new(level, &genome("11", "11"));
        let holds = |other: &Genome, exchange| budget.holds(other, &costs(), exchange);
        assert!(holds(&genome("20", "02"), Exchange::WithinKind));
        assert!(!holds(&genome("21", "10"), Exchange::WithinKind));
        assert!(holds(&genome("21", "10"), Exchange::AcrossKinds));
        assert!(!holds(&genome("21", "11"), Exchange::AcrossKinds));
    }

    #[test]
    fn a_speed_up_is_the_dense_cost_over_what_is_left() {
        assert_eq!(Target::speedup(300, 150), Target::Cost(200));
        assert_eq!(Target::speedup(1001, 200), Target::Cost(500));
        assert_eq!(Target::speedup(u64::MAX, 200), Target::Cost(u64::MAX / 2));
    }

    #[test]
    fn a_cost_limit_may_be_met_exactly_and_not_exceeded() {
        let dearer = genome("10", "11");
        for exchange in [Exchange::WithinKind, Exchange::AcrossKinds] {
            let limit = costs().of_genome(&dearer);
            assert!(Budget::Cost { limit }.holds(&dearer, &costs(), exchange));
            assert!(!Budget::Cost { limit: limit - 1 }.holds(&dearer, &costs(), exchange));
        }
    }
}
