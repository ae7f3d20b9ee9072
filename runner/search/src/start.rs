//! The genome a search starts with.

use crate::budget::Target;
use crate::cost::{CostUnit, Costs};
use crate::genome::Genome;
use crate::ladder::Ladders;
use crate::level::Level;
use crate::module::{Module, PerKind};

/// The error of every module at every level, as the level database states it: in module order,
/// level 0 first.
pub type Errors = [Vec<f64>];

/// Why a target has no start.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum StartError {
    /// A level means the same to both kinds only where both ladders are equally long.
    #[error(
        "a target level needs ladders of equal length; attention ends at level {attention}, mlp \
         at {mlp}: give a target cost instead"
    )]
    UnequalLadders {
        /// The last level of attention.
        attention: Level,
        /// The last level of mlp.
        mlp: Level,
    },
    /// The ladders do not reach so far.
    #[error("target level {found} lies beyond the ladders; from 0 to {deepest} are possible")]
    TooDeep {
        /// The level asked for.
        found: Level,
        /// The last level.
        deepest: Level,
    },
    /// Even the fully pruned model costs more, or the dense one already costs less.
    #[error("a target of {limit} {unit} cannot be met; from {least} up to below {dense} can")]
    Unreachable {
        /// The cost asked for.
        limit: u64,
        /// What costs count.
        unit: CostUnit,
        /// The cost with every module removed.
        least: u64,
        /// The cost of the dense model.
        dense: u64,
    },
    /// The table of errors is of another model.
    #[error("errors are given for {found} modules; the model has {expected}")]
    Modules {
        /// Modules with errors.
        found: usize,
        /// Modules of the model.
        expected: usize,
    },
    /// A module's errors do not fit its ladder.
    #[error("{module} has {found} errors for the {expected} levels of its ladder")]
    Levels {
        /// The module.
        module: Module,
        /// Errors given.
        found: usize,
        /// Levels of its ladder.
        expected: usize,
    },
    /// An error is infinite or no number.
    #[error("the error of {module} at level {level} is not finite")]
    NotFinite {
        /// The module.
        module: Module,
        /// The level.
        level: usize,
    },
}

/// The genome with which a search for a target starts.
///
/// A target level starts uniform. A target cost starts with the shallowest uniform level that
/// meets it (a level beyond a shorter ladder means that ladder's last), and then takes single
/// steps back towards dense while the cost still holds: always the one that saves most error per
/// cost added, ties going to the lower module index. `errors` is read for a target cost only.
///
/// # Errors
///
/// Where no genome meets the target, or the dense model already does, with the reachable range.
pub fn start(
    target: Target,
    blocks: u32,
    ladders: &Ladders,
    costs: &Costs,
    errors: &Errors,
) -> Result<Genome, StartError> {
    match target {
        Target::Level(level) => uniform(level, blocks, ladders),
        Target::Cost(limit) => {
            check_errors(errors, blocks, ladders)?;
            mixed(limit, blocks, ladders, costs, errors)
        }
    }
}

/// The uniform start of a target level.
pub(crate) fn uniform(level: Level, blocks: u32, ladders: &Ladders) -> Result<Genome, StartError> {
    let PerKind { attention, mlp } = ladders.deepest();
    if attention != mlp {
        return Err(StartError::UnequalLadders { attention, mlp });
    }
    if level > mlp {
        return Err(StartError::TooDeep {
            found: level,
            deepest: mlp,
        });
    }
    Ok(Genome::uniform(blocks, level))
}

fn check_errors(errors: &Errors, blocks: u32, ladders: &Ladders) -> Result<(), StartError> {
    let expected = 2 * blocks as usize;
    if errors.len() != expected {
        return Err(StartError::Modules {
            found: errors.len(),
            expected,
        });
    }
    for (module, of_module) in Module::all(blocks).zip(errors) {
        let (found, expected) = (of_module.len(), ladders[module.kind].as_slice().len());
        if found != expected {
            return Err(StartError::Levels {
                module,
                found,
                expected,
            });
        }
        if let Some(level) = of_module.iter().position(|error| !error.is_finite()) {
            return Err(StartError::NotFinite { module, level });
        }
    }
    Ok(())
}

fn mixed(
    limit: u64,
    blocks: u32,
    ladders: &Ladders,
    costs: &Costs,
    errors: &Errors,
) -> Result<Genome, StartError> {
    let deepest = ladders.deepest();
    let uniform = |level: Level| Genome::of(blocks, |module| level.min(deepest[module.kind]));
    let (least, dense) = (
        costs.of_genome(&uniform(Level::DEEPEST)),
        costs.of_genome(&uniform(Level::DENSE)),
    );
    if !(least..dense).contains(&limit) {
        return Err(StartError::Unreachable {
            limit,
            unit: costs.unit(),
            least,
            dense,
        });
    }
    let levels = std::iter::successors(Some(Level::DENSE), |level| level.deeper(Level::DEEPEST));
    let mut genome = levels
        .map(uniform)
        .find(|genome| costs.of_genome(genome) <= limit)
        .expect("the limit is not below the cost with every module removed");
    while let Some((module, shallower)) = best_step_back(&genome, limit, costs, errors) {
        genome.set(module, shallower);
    }
    Ok(genome)
}

/// The step towards dense that saves most error per cost added, of those that keep the limit.
fn best_step_back(
    genome: &Genome,
    limit: u64,
    costs: &Costs,
    errors: &Errors,
) -> Option<(Module, Level)> {
    let slack = limit - costs.of_genome(genome);
    let mut best: Option<(f64, Module, Level)> = None;
    for (module, level) in genome.modules() {
        let Some(shallower) = level.shallower() else {
            continue;
        };
        let added = costs.of_level(module.kind, shallower) - costs.of_level(module.kind, level);
        if added > slack {
            continue;
        }
        let of_module = &errors[module.index()];
        let saved = of_module[level.index()] - of_module[shallower.index()];
        // A step that costs nothing is taken at once.
        let worth = if added == 0 {
            f64::INFINITY
        } else {
            saved / added as f64
        };
        if best.is_none_or(|(highest, _, _)| worth > highest) {
            best = Some((worth, module, shallower));
        }
    }
    best.map(|(_, module, shallower)| (module, shallower))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ladder::Ladder;

    fn ladders() -> Ladders {
        let attention = Ladder::new(vec![2, 1, 0]).unwrap();
        PerKind {
            attention,
            mlp: Ladder::new(vec![30, 20, 10, 0]).unwrap(),
        }
    }

    fn costs() -> Costs {
        let levels = PerKind {
            attention: vec![20, 10, 0],
            mlp: vec![60, 40, 20, 0],
        };
        Costs::new(CostUnit::Parameters, 100, levels).unwrap()
    }

    fn errors() -> Vec<Vec<f64>> {
        let mlp = |scale: f64| [0.0, 1.0, 3.0, 9.0].map(|error| error * scale).to_vec();
        vec![vec![0.0, 2.0, 5.0], mlp(1.0), vec![0.0, 2.0, 5.0], mlp(2.0)]
    }

    fn cost_start(limit: u64) -> Result<Genome, StartError> {
        start(Target::Cost(limit), 2, &ladders(), &costs(), &errors())
    }

    #[test]
    fn the_start_eases_the_steps_that_save_most_error_per_cost() {
        // Uniform level 2 costs 140. Easing mlp 1 from level 2 saves (6 − 2)/20 = 0.2 per unit of
        // cost, an attention from level 2 saves 3/10; so attention 0, then 1, then mlp 1.
        let shown = |limit| cost_start(limit).unwrap().to_string();
        assert_eq!(shown(140), "{attention: \"22\", mlp: \"22\"}");
        assert_eq!(shown(150), "{attention: \"12\", mlp: \"22\"}");
        assert_eq!(shown(160), "{attention: \"11\", mlp: \"22\"}");
        // Now easing attention further saves 2/10 as well: the tie goes to module 0.
        assert_eq!(shown(179), "{attention: \"01\", mlp: \"22\"}");
        assert_eq!(shown(180), "{attention: \"00\", mlp: \"22\"}");
        assert_eq!(shown(199), "{attention: \"00\", mlp: \"22\"}");
    }

    #[test]
    fn a_uniform_level_beyond_the_shorter_ladder_means_its_last() {
        // Level 2 costs 140, more than 120; level 3 of attention is its level 2.
        assert_eq!(
            cost_start(100).unwrap().to_string(),
            "{attention: \"22\", mlp: \"33\"}"
        );
    }

    #[test]
    fn a_target_out_of_reach_states_the_range() {
        for limit in [99, 260] {
            let error = cost_start(limit).unwrap_err().to_string();
            assert!(error.ends_with("from 100 up to below 260 can"), "{error}");
        }
        assert!(cost_start(259).is_ok());
    }

    #[test]
    fn a_target_level_needs_ladders_of_equal_length() {
        let level = |level| Target::Level(Level::new(level).unwrap());
        let uneven = start(level(1), 2, &ladders(), &costs(), &[]).unwrap_err();
        assert!(matches!(uneven, StartError::UnequalLadders { .. }));
        let equal = PerKind::of(|_| Ladder::new(vec![2, 1, 0]).unwrap());
        let uniform = start(level(1), 2, &equal, &costs(), &[]).unwrap();
        assert_eq!(uniform, Genome::uniform(2, Level::new(1).unwrap()));
        let deep = start(level(3), 2, &equal, &costs(), &[]).unwrap_err();
        assert!(matches!(deep, StartError::TooDeep { .. }));
    }

    #[test]
    fn errors_of_another_model_are_refused() {
        let with = |errors: &Errors| start(Target::Cost(150), 2, &ladders(), &costs(), errors);
        assert!(matches!(
            with(&errors()[..3]),
            Err(StartError::Modules { .. })
        ));
        let mut short = errors();
        short[1].pop();
        assert!(matches!(with(&short), Err(StartError::Levels { .. })));
        let mut infinite = errors();
        infinite[2][1] = f64::INFINITY;
        let error = with(&infinite).unwrap_err().to_string();
        assert_eq!(
            error,
            "the error of blocks.1.attention at level 1 is not finite"
        );
    }
}
