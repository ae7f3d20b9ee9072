//! Whether a run's target can be met at all: asked here, before hours go into a level database.

use darwinlm_search::{Costs, Genome, Level, Module, Shape, StartError, start};
use darwinlm_task::{ExitCode, PruningSpec, REASON_TARGET_UNREACHABLE, TargetSpec};

use super::super::compute::ladders;
use super::super::search::resolve;
use crate::failure::{Failure, OrFail};

/// Checks the target against the ladders that this model has.
///
/// # Errors
/// Exit code 78 with what can be asked for instead.
pub(super) fn check(
    shape: &Shape,
    pruning: &PruningSpec,
    target: TargetSpec,
    dense_parameters: u64,
) -> Result<(), Failure> {
    let ladders = ladders(
        shape,
        pruning.levels,
        pruning.mlp_granularity,
        pruning.spacing,
    )?;
    let costs = Costs::parameters(shape, &ladders)
        .or_fail(ExitCode::BadSpec, "spec.pruning has ladders without costs")?;
    // Only the order of steps within the reachable depends on the errors, which nobody knows yet.
    let errors: Vec<Vec<f64>> = Module::all(shape.blocks)
        .map(|module| vec![0.0; ladders[module.kind].as_slice().len()])
        .collect();
    let wanted = resolve(target, dense_parameters)?;
    let Err(error) = start(wanted, shape.blocks, &ladders, &costs, &errors) else {
        return Ok(());
    };
    let instead = match (target, &error) {
        (TargetSpec::Level(level), StartError::UnequalLadders { .. }) => {
            let asked = u8::try_from(level)
                .ok()
                .and_then(|level| Level::new(level).ok());
            let near = Genome::of(shape.blocks, |module| {
                let deepest = ladders[module.kind].deepest();
                asked.map_or(deepest, |level| level.min(deepest))
            });
            let near = costs.of_genome(&near);
            format!("; spec.target.parameters: {near} asks for about as much")
        }
        _ => String::new(),
    };
    Err(Failure::because(
        ExitCode::BadSpec,
        REASON_TARGET_UNREACHABLE,
        format!("spec.target cannot be met: {error}{instead}"),
    ))
}

#[cfg(test)]
mod tests {
    use darwinlm_search::AttentionUnit;
    use darwinlm_task::Spacing;

    use super::*;

    /// SmolLM2-135M: 9 heads.
    fn checked(levels: u32, target: TargetSpec) -> Result<(), String> {
        let shape = Shape {
            blocks: 30,
            hidden: 576,
            vocabulary: 49_152,
            intermediate: 1536,
            query_heads: 9,
            key_value_heads: 3,
            head_dim: 64,
            tied_embeddings: true,
            query_key_value_bias: false,
            query_key_norm: false,
            attention_unit: AttentionUnit::QueryHead,
        };
        let pruning = PruningSpec {
            levels,
            spacing: Spacing::Parameters,
            mlp_granularity: 32,
            attention_unit: AttentionUnit::QueryHead,
            damping_permille: 10,
        };
        check(&shape, &pruning, target, 134_515_008).map_err(|failure| {
            assert_eq!(failure.reason, REASON_TARGET_UNREACHABLE);
            assert_eq!(failure.code, ExitCode::BadSpec);
            failure.to_string()
        })
    }

    #[test]
    fn a_target_within_the_ladders_is_accepted() {
        for target in [
            TargetSpec::Level(5),
            TargetSpec::Parameters(100_000_000),
            TargetSpec::SparsityPercent(50),
        ] {
            assert_eq!(checked(9, target), Ok(()), "{target:?}");
        }
    }

    #[test]
    fn a_level_that_means_two_things_is_refused_with_the_parameters_it_would_mean() {
        let message = checked(10, TargetSpec::Level(5)).unwrap_err();
        assert!(
            message.contains("attention ends at level 9, mlp at 10"),
            "{message}"
        );
        let proposed = message.split("spec.target.parameters: ").nth(1).unwrap();
        let proposed = proposed.split(' ').next().unwrap().parse().unwrap();
        assert_eq!(checked(10, TargetSpec::Parameters(proposed)), Ok(()));
    }

    #[test]
    fn a_target_that_nothing_meets_is_refused_with_the_range() {
        let message = checked(9, TargetSpec::Parameters(1_000_000)).unwrap_err();
        assert!(
            message.contains("from 28346688 up to below 134515008"),
            "{message}"
        );
        let message = checked(9, TargetSpec::SparsityPercent(90)).unwrap_err();
        assert!(message.contains("cannot be met"), "{message}");
        let message = checked(9, TargetSpec::Level(12)).unwrap_err();
        assert!(message.contains("from 0 to 9 are possible"), "{message}");
    }
}
