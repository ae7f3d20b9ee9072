//! What each level of a module costs, and with it every genome.

use serde::{Deserialize, Serialize};

use crate::genome::Genome;
use crate::ladder::Ladders;
use crate::level::Level;
use crate::module::{ModuleKind, PerKind};
use crate::shape::Shape;

/// What a cost counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum CostUnit {
    /// Parameters of the model.
    Parameters,
    /// Measured time of one forward pass on the run's device class.
    Nanoseconds,
}

impl std::fmt::Display for CostUnit {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(match self {
            CostUnit::Parameters => "parameters",
            CostUnit::Nanoseconds => "nanoseconds",
        })
    }
}

/// The cost of one module at every level of its kind, plus what every genome costs anyway.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "RawCosts", into = "RawCosts")]
pub struct Costs {
    unit: CostUnit,
    base: u64,
    levels: PerKind<Vec<u64>>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawCosts {
    unit: CostUnit,
    base: u64,
    attention: Vec<u64>,
    mlp: Vec<u64>,
}

/// Why numbers are no table of costs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CostError {
    /// A kind has no cost for some level.
    #[error("{kind} has {found} costs for the {expected} levels of its ladder")]
    Length {
        /// The kind of module.
        kind: ModuleKind,
        /// Costs given.
        found: usize,
        /// Levels of the ladder.
        expected: usize,
    },
    /// A deeper level costs more.
    #[error(
        "{kind} level {level} costs {found}, more than the {before} of the level before it; \
         deeper levels never cost more"
    )]
    Rises {
        /// The kind of module.
        kind: ModuleKind,
        /// The level that costs more than the one before it.
        level: usize,
        /// What the level before costs.
        before: u64,
        /// What this level costs.
        found: u64,
    },
    /// A cost so large that the sum over a model could overflow.
    #[error("{what} costs {found}; at most 2^48 is possible")]
    TooLarge {
        /// What costs so much.
        what: String,
        /// The cost given.
        found: u64,
    },
}

// 2^12 blocks of two modules at this cost, and the base, stay far below 2^64.
const MOST: u64 = 1 << 48;

impl Costs {
    /// Costs of every level, level 0 first; a deeper level never costs more.
    pub fn new(unit: CostUnit, base: u64, levels: PerKind<Vec<u64>>) -> Result<Costs, CostError> {
        if base > MOST {
            return Err(CostError::TooLarge {
                what: "the base".to_owned(),
                found: base,
            });
        }
        for kind in ModuleKind::ALL {
            let costs = &levels[kind];
            if let Some(&found) = costs.iter().find(|&&cost| cost > MOST) {
                return Err(CostError::TooLarge {
                    what: format!("a level of {kind}"),
                    found,
                });
            }
            for (at, pair) in costs.windows(2).enumerate() {
                if pair[1] > pair[0] {
                    let (before, found) = (pair[0], pair[1]);
                    return Err(CostError::Rises {
                        kind,
                        level: at + 1,
                        before,
                        found,
                    });
                }
            }
        }
        Ok(Costs { unit, base, levels })
    }

    /// Costs from measured times, which may rise from one level to the next by noise or by tile
    /// sizes: each level is charged at least what every deeper one takes, so that a genome is never
    /// slower than its cost.
    pub fn measured(base: u64, mut levels: PerKind<Vec<u64>>) -> Result<Costs, CostError> {
        for kind in ModuleKind::ALL {
            let mut highest = 0;
            for cost in levels[kind].iter_mut().rev() {
                highest = highest.max(*cost);
                *cost = highest;
            }
        }
        Costs::new(CostUnit::Nanoseconds, base, levels)
    }

    /// Parameters as cost.
    pub fn parameters(shape: &Shape, ladders: &Ladders) -> Result<Costs, CostError> {
        let levels = PerKind::of(|kind| {
            let kept = ladders[kind].as_slice().iter();
            kept.map(|&units| shape.parameters_at(kind, units))
                .collect()
        });
        Costs::new(CostUnit::Parameters, shape.fixed_parameters(), levels)
    }

    /// Checks that there is one cost per level of the ladders.
    pub fn fit(&self, ladders: &Ladders) -> Result<(), CostError> {
        for kind in ModuleKind::ALL {
            let (found, expected) = (self.levels[kind].len(), ladders[kind].as_slice().len());
            if found != expected {
                return Err(CostError::Length {
                    kind,
                    found,
                    expected,
                });
            }
        }
        Ok(())
    }

    /// What the costs count.
    pub fn unit(&self) -> CostUnit {
        self.unit
    }

    /// The cost of one module of a kind at a level of its ladder.
    pub fn of_level(&self, kind: ModuleKind, level: Level) -> u64 {
        self.levels[kind][level.index()]
    }

    /// The cost of a genome, the base included.
    pub fn of_genome(&self, genome: &Genome) -> u64 {
        let modules = genome
            .modules()
            .map(|(module, level)| self.of_level(module.kind, level));
        self.base + modules.sum::<u64>()
    }
}

impl TryFrom<RawCosts> for Costs {
    type Error = CostError;

    fn try_from(raw: RawCosts) -> Result<Costs, CostError> {
        let RawCosts {
            unit,
            base,
            attention,
            mlp,
        } = raw;
        Costs::new(unit, base, PerKind { attention, mlp })
    }
}

impl From<Costs> for RawCosts {
    fn from(costs: Costs) -> RawCosts {
        let Costs {
            unit,
            base,
            levels: PerKind { attention, mlp },
        } = costs;
        RawCosts {
            unit,
            base,
            attention,
            mlp,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_measured_level_costs_at_least_what_deeper_ones_take() {
        let levels = PerKind {
            attention: vec![90, 70, 75, 10, 0],
            mlp: vec![50, 60, 0],
        };
        let costs = Costs::measured(5, levels).unwrap();
        let text = "{\"unit\":\"Nanoseconds\",\"base\":5,\"attention\":[90,75,75,10,0],\
                    \"mlp\":[60,60,0]}";
        assert_eq!(serde_json::to_string(&costs).unwrap(), text);
        assert_eq!(serde_json::from_str::<Costs>(text).unwrap(), costs);
        let genome = Genome::uniform(3, Level::new(1).unwrap());
        assert_eq!(costs.of_genome(&genome), 5 + 3 * (75 + 60));
    }

    #[test]
    fn costs_that_rise_are_refused_with_the_level() {
        let levels = PerKind {
            attention: vec![2, 1],
            mlp: vec![3, 2, 4],
        };
        let error = Costs::new(CostUnit::Nanoseconds, 0, levels).unwrap_err();
        assert!(
            error.to_string().starts_with("mlp level 2 costs 4"),
            "{error}"
        );
    }
}
