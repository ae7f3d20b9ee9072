//! The incumbent of a search.

use serde::{Deserialize, Serialize};

use crate::fitness::Fitness;
use crate::genome::Genome;
use crate::problem::Problem;

/// The incumbent: the best candidate of the last finished generation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Survivor {
    /// Its levels.
    pub genome: Genome,
    /// Its fitness in the last step of the last finished generation; the start has none. Every
    /// generation has its own fitness tokens: this number is not comparable between generations.
    pub fitness: Option<Fitness>,
    /// Its cost, in the unit of the problem's costs.
    pub cost: u64,
    /// Its parameters.
    pub parameters: u64,
    /// The generation in which it was an offspring; 0 for the start.
    pub born_in_generation: u32,
}

impl Survivor {
    pub(crate) fn of(
        problem: &Problem,
        genome: Genome,
        fitness: Option<Fitness>,
        born_in_generation: u32,
    ) -> Survivor {
        let (cost, parameters) = (
            problem.costs.of_genome(&genome),
            problem.parameters(&genome),
        );
        Survivor {
            genome,
            fitness,
            cost,
            parameters,
            born_in_generation,
        }
    }
}
