//! What a run's target means in costs, and whether it can be met at all.

use darwinlm_search::{
    Costs, Genome, Ladders, LatencyTable, Level, Module, Shape, StartError, Target, start,
};
use darwinlm_task::{ExitCode, FailureReason, TargetSpec};

use crate::failure::{Failure, OrFail};

/// What each level costs where this target is asked for: time where it is a speed-up, else
/// parameters.
pub(super) fn costs(
    shape: &Shape,
    ladders: &Ladders,
    table: Option<&LatencyTable>,
    target: TargetSpec,
) -> Result<Costs, Failure> {
    match (target.is_measured(), table) {
        (false, _) => Costs::parameters(shape, ladders)
            .or_fail(ExitCode::BadSpec, "spec.pruning has ladders without costs"),
        (true, Some(table)) => table.costs(ladders).or_fail(
            ExitCode::BadData,
            "the table of latencies is of other ladders",
        ),
        (true, None) => {
            let message = "a speed-up is asked for without a table of times";
            Err(Failure::new(ExitCode::Bug, message))
        }
    }
}

/// What the user asked for, as the search counts it. A speed-up is one over the dense model as it
/// was measured, not as its levels are charged.
pub(super) fn resolve(
    target: TargetSpec,
    costs: &Costs,
    table: Option<&LatencyTable>,
    blocks: u32,
) -> Result<Target, Failure> {
    let dense = dense(target, costs, table, blocks);
    Ok(match target {
        TargetSpec::Level(level) => {
            let level = u8::try_from(level).or_fail(ExitCode::BadSpec, "spec.target.level")?;
            Target::Level(Level::new(level).or_fail(ExitCode::BadSpec, "spec.target.level")?)
        }
        TargetSpec::Parameters(parameters) => Target::Cost(parameters),
        TargetSpec::SparsityPercent(percent) => {
            let kept = u64::from(100u32.saturating_sub(percent));
            Target::Cost(dense / 100 * kept + dense % 100 * kept / 100)
        }
        TargetSpec::SpeedupPercent(percent) => Target::speedup(dense, percent),
    })
}

/// What the dense model takes of what the target counts.
fn dense(target: TargetSpec, costs: &Costs, table: Option<&LatencyTable>, blocks: u32) -> u64 {
    match table.filter(|_| target.is_measured()) {
        Some(table) => table.dense(blocks),
        None => costs.of_genome(&Genome::uniform(blocks, Level::DENSE)),
    }
}

/// Checks the target against the ladders that this model has: asked before hours go into a level
/// database. Returns a start of the size that the search's will have: which single steps are taken back
/// to dense, errors decide that nobody knows yet.
///
/// # Errors
/// Exit code 78 with what can be asked for instead.
pub(super) fn check(
    shape: &Shape,
    ladders: &Ladders,
    table: Option<&LatencyTable>,
    target: TargetSpec,
) -> Result<Genome, Failure> {
    let costs = costs(shape, ladders, table, target)?;
    // Only the order of steps within the reachable depends on the errors, which nobody knows yet.
    let errors: Vec<Vec<f64>> = Module::all(shape.blocks)
        .map(|module| vec![0.0; ladders[module.kind].as_slice().len()])
        .collect();
    let wanted = resolve(target, &costs, table, shape.blocks)?;
    let error = match start(wanted, shape.blocks, ladders, &costs, &errors) {
        Ok(start) => return Ok(start),
        Err(error) => error,
    };
    let dense = dense(target, &costs, table, shape.blocks);
    let instead = instead(shape, ladders, &costs, dense, target, &error);
    Err(Failure::because(
        ExitCode::BadSpec,
        FailureReason::TargetUnreachable.as_str(),
        format!("spec.target cannot be met: {error}{instead}"),
    ))
}

/// What could be asked for, in the words of the spec.
fn instead(
    shape: &Shape,
    ladders: &Ladders,
    costs: &Costs,
    dense: u64,
    target: TargetSpec,
    error: &StartError,
) -> String {
    match (target, error) {
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
        (TargetSpec::SpeedupPercent(_), StartError::Unreachable { least, .. }) => {
            let most = u128::from(dense) * 100 / u128::from(*least).max(1);
            format!(
                "; with these ladders on this device spec.target.speedupPercent can be from 101 to \
                 {most}"
            )
        }
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use darwinlm_search::{AttentionUnit, Ladder, PerKind};
    use darwinlm_task::{PruningSpec, Spacing};

    use super::super::compute::ladders;
    use super::*;

    /// SmolLM2-135M: 9 heads.
    fn shape() -> Shape {
        Shape {
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
        }
    }

    /// Milliseconds in proportion to the units, and 100 for the rest: dense 100 + 30 · (9 + 48).
    fn table() -> LatencyTable {
        let times = PerKind::of(|kind| {
            let units = shape().units(kind);
            let granule = if units > 9 { 32 } else { 1 };
            let kept = (0..=units / granule).rev().map(|step| step * granule);
            kept.map(|kept| (kept, u64::from(kept / granule) * 1_000_000))
                .collect()
        });
        LatencyTable::new(100_000_000, times).unwrap()
    }

    fn checked(levels: u32, target: TargetSpec) -> Result<(), String> {
        checked_with(levels, Spacing::Parameters, target)
    }

    fn checked_with(levels: u32, spacing: Spacing, target: TargetSpec) -> Result<(), String> {
        let pruning = PruningSpec {
            levels,
            spacing,
            mlp_granularity: 32,
            attention_unit: AttentionUnit::QueryHead,
            damping_permille: 10,
        };
        let (shape, table) = (shape(), table());
        let ladders = ladders(&shape, &pruning, Some(&table)).unwrap();
        let checked = check(&shape, &ladders, Some(&table), target);
        checked.map(drop).map_err(|failure| {
            assert_eq!(failure.reason, FailureReason::TargetUnreachable.as_str());
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

    #[test]
    fn a_speed_up_is_one_over_the_dense_model_as_it_was_measured() {
        let times = PerKind {
            attention: vec![(9, 100), (4, 130), (0, 0)],
            mlp: vec![(1536, 400), (768, 200), (0, 0)],
        };
        let table = LatencyTable::new(1000, times).unwrap();
        let ladders = PerKind {
            attention: Ladder::new(vec![9, 4, 0]).unwrap(),
            mlp: Ladder::new(vec![1536, 768, 0]).unwrap(),
        };
        let costs = table.costs(&ladders).unwrap();
        let target = TargetSpec::SpeedupPercent(200);
        let wanted = resolve(target, &costs, Some(&table), 30).unwrap();
        // (1000 + 30 · (100 + 400)) / 2; charged, the dense model's attention is the slower one's
        assert_eq!(wanted, Target::Cost(8000));
    }

    #[test]
    fn a_speed_up_is_checked_against_the_table_and_refused_with_the_range() {
        for spacing in [Spacing::Parameters, Spacing::Latency] {
            let asked = |percent| checked_with(9, spacing, TargetSpec::SpeedupPercent(percent));
            for percent in [101, 200, 1810] {
                assert_eq!(asked(percent), Ok(()), "{percent}");
            }
            let message = asked(1811).unwrap_err();
            assert!(
                message.contains("from 100000000 up to below 1810000000 can"),
                "{message}"
            );
            assert!(message.ends_with("from 101 to 1810"), "{message}");
        }
    }
}
