//! Everything that decides a search.

use serde::{Deserialize, Serialize};

use crate::budget::{Budget, Exchange, Target};
use crate::cost::{CostError, CostUnit, Costs};
use crate::digest::Digest;
use crate::fitness::FitnessKind;
use crate::genome::{Genome, GenomeError};
use crate::ladder::Ladders;
use crate::minibatch::{Pool, PoolError};
use crate::module::ModuleKind;
use crate::mutation::Space;
use crate::optimizer::Optimizer;
use crate::schedule::{Schedule, ScheduleError};
use crate::shape::{Shape, ShapeError};
use crate::start::{self, StartError};

/// Most generations that a trial's name has room for.
pub const MOST_GENERATIONS: u32 = 999_999;
/// Most offspring of a generation: a trial's name has room for them and their parent.
pub const MOST_OFFSPRING: u32 = 999;

/// Everything that decides a search; two searches with equal problems and equal recorded outcomes
/// are equal. It stands in entry 0 of the ledger.
///
/// The run's name and UID, its store and its number of workers are not here on purpose: they
/// change nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Problem {
    /// Where all randomness comes from.
    pub seed: u64,
    /// The dense model's sizes.
    pub shape: Shape,
    /// Units kept at each level.
    pub ladders: Ladders,
    /// What each level costs.
    pub costs: Costs,
    /// What the user asked for.
    pub target: Target,
    /// The genome that is the first generation's parent, as [`start()`](crate::start()) makes it.
    pub start: Genome,
    /// Between which modules levels move.
    pub exchange: Exchange,
    /// Generations, from 1 to [`MOST_GENERATIONS`].
    pub generations: u32,
    /// Offspring of a generation, from 1 to [`MOST_OFFSPRING`].
    pub offspring: u32,
    /// The selection steps.
    pub steps: Schedule,
    /// What is measured on the fitness tokens.
    pub fitness: FitnessKind,
    /// Whether survivors keep their training from step to step (not the paper).
    pub continue_training: bool,
    /// How candidates are trained.
    pub optimizer: Optimizer,
    /// The pool that training minibatches are drawn from.
    pub training_pool: Pool,
    /// The pool that fitness minibatches are drawn from.
    pub fitness_pool: Pool,
    /// What the search reads, by content.
    pub pins: Pins,
}

/// Digests of what the search reads; opaque here, but another digest is another search.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Pins {
    /// The training tokens.
    pub training_tokens: Digest,
    /// The fitness tokens.
    pub fitness_tokens: Digest,
    /// The numerics plan.
    pub numerics_plan: Digest,
    /// The level database's manifest.
    pub level_database: Digest,
    /// The table of latencies, where ladders or costs were made from one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency_table: Option<Digest>,
}

/// Why a problem cannot be searched.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ProblemError {
    /// A number is out of its range.
    #[error("{field} is {found}; from 1 to {most} is possible")]
    Range {
        /// The field.
        field: &'static str,
        /// The number given.
        found: u32,
        /// The largest number accepted.
        most: u32,
    },
    /// A text is no decimal number.
    #[error("{field} is {found:?}; a finite decimal number such as \"1e-5\" is needed")]
    Decimal {
        /// The field.
        field: &'static str,
        /// The text given.
        found: String,
    },
    /// A ladder is of another model.
    #[error("the {kind} ladder starts at {found} units; the model's modules have {expected}")]
    Ladder {
        /// The kind of module.
        kind: ModuleKind,
        /// Units at level 0 of the ladder.
        found: u32,
        /// Units of the dense module.
        expected: u32,
    },
    /// Costs are said to be parameters and are not.
    #[error("costs are in parameters but differ from the parameters of the shape and ladders")]
    Parameters,
    /// The start is not the uniform genome of the target level.
    #[error("the start is {found}; target level {level} starts with that level everywhere")]
    Start {
        /// The start given.
        found: Genome,
        /// The target level.
        level: crate::level::Level,
    },
    /// The start costs more than the target.
    #[error("the start costs {found} {unit}, more than the target of {limit}")]
    StartTooExpensive {
        /// The start's cost.
        found: u64,
        /// What costs count.
        unit: CostUnit,
        /// The target.
        limit: u64,
    },
    /// The sizes make no model.
    #[error("the shape is no model")]
    Shape(#[from] ShapeError),
    /// The costs do not fit.
    #[error("the costs do not fit")]
    Costs(#[from] CostError),
    /// The start is no genome of the model.
    #[error("the start does not fit the model")]
    Genome(#[from] GenomeError),
    /// The target cannot be met.
    #[error("the target cannot be met")]
    Target(#[from] StartError),
    /// The steps do not fit.
    #[error("the selection steps do not fit")]
    Schedule(#[from] ScheduleError),
    /// A pool is too small.
    #[error("a token pool does not serve")]
    Pool(#[from] PoolError),
}

impl Problem {
    /// Checks that the problem can be searched to its end.
    pub fn validate(&self) -> Result<(), ProblemError> {
        self.shape.validate()?;
        for kind in ModuleKind::ALL {
            let (found, expected) = (self.ladders[kind].units(), self.shape.units(kind));
            if found != expected {
                return Err(ProblemError::Ladder {
                    kind,
                    found,
                    expected,
                });
            }
        }
        self.check_costs()?;
        self.check_start()?;
        let ranges = [
            ("generations", self.generations, MOST_GENERATIONS),
            ("offspring", self.offspring, MOST_OFFSPRING),
            ("batchSequences", self.optimizer.batch_sequences, u32::MAX),
        ];
        for (field, found, most) in ranges {
            if found == 0 || found > most {
                return Err(ProblemError::Range { field, found, most });
            }
        }
        self.steps.fit(self.offspring, self.continue_training)?;
        self.optimizer.learning_rate()?;
        self.optimizer.weight_decay()?;
        self.check_pools()
    }

    /// The genomes among which the search moves.
    pub fn space(&self) -> Space {
        Space {
            deepest: self.ladders.deepest(),
            costs: self.costs.clone(),
            budget: Budget::new(self.target, &self.start),
            exchange: self.exchange,
        }
    }

    /// Parameters of the model that a genome of this problem makes.
    pub fn parameters(&self, genome: &Genome) -> u64 {
        let kept = |(module, level): (crate::Module, crate::Level)| {
            let units = self.ladders[module.kind].as_slice()[level.index()];
            self.shape.parameters_at(module.kind, units)
        };
        self.shape.fixed_parameters() + genome.modules().map(kept).sum::<u64>()
    }

    fn check_costs(&self) -> Result<(), ProblemError> {
        self.costs.fit(&self.ladders)?;
        match self.costs.unit() {
            CostUnit::Nanoseconds => Ok(()),
            CostUnit::Parameters => {
                if Costs::parameters(&self.shape, &self.ladders)? == self.costs {
                    return Ok(());
                }
                Err(ProblemError::Parameters)
            }
        }
    }

    fn check_start(&self) -> Result<(), ProblemError> {
        self.start.fit(self.shape.blocks, self.ladders.deepest())?;
        match self.target {
            Target::Level(level) => {
                if self.start != start::uniform(level, self.shape.blocks, &self.ladders)? {
                    return Err(ProblemError::Start {
                        found: self.start.clone(),
                        level,
                    });
                }
            }
            Target::Cost(limit) => {
                let found = self.costs.of_genome(&self.start);
                if found > limit {
                    let unit = self.costs.unit();
                    return Err(ProblemError::StartTooExpensive { found, unit, limit });
                }
            }
        }
        Ok(())
    }

    fn check_pools(&self) -> Result<(), ProblemError> {
        self.training_pool.validate("training")?;
        self.fitness_pool.validate("fitness")?;
        let found = self.fitness_pool.tokens();
        for (step, of_step) in self.steps.steps().iter().enumerate() {
            let asked = of_step.fitness_tokens;
            if asked > found {
                return Err(PoolError::TooSmall {
                    pool: "fitness",
                    step,
                    found,
                    asked,
                }
                .into());
            }
        }
        Ok(())
    }
}
