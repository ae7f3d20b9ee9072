//! What decides the outcome of a run: pruning, target, search, and the digest of it all.

use darwinlm_api::{Budget, Data, Export, Pruning, PruningRunSpec, Search, Target, TargetKind};
use darwinlm_search::{
    Digest, MOST_GENERATIONS, MOST_OFFSPRING, Optimizer, Schedule, SelectionStep,
};
use darwinlm_task::{
    ExportFormat, ExportSpec, PruningSpec, QueryHeadLayout, SearchSettings, Spacing, TargetSpec,
};
use serde::Serialize;

use super::addresses::Addresses;
use super::{Rejection, at_least_one, tokens, up_to};

/// Most levels above dense: a level is one base-36 character.
const MOST_LEVELS: u32 = 35;

/// Checks how modules are pruned.
pub(super) fn pruning(pruning: &Pruning) -> Result<PruningSpec, Rejection> {
    Ok(PruningSpec {
        levels: up_to(MOST_LEVELS, "spec.pruning.levels", pruning.levels)?,
        spacing: match pruning.spacing {
            darwinlm_api::Spacing::Parameters => Spacing::Parameters,
            darwinlm_api::Spacing::Latency => Spacing::Latency,
        },
        mlp_granularity: at_least_one("spec.pruning.mlpGranularity", pruning.mlp_granularity)?,
        attention_unit: match pruning.attention_unit {
            darwinlm_api::AttentionUnit::QueryHead => darwinlm_search::AttentionUnit::QueryHead,
            darwinlm_api::AttentionUnit::KeyValueGroup => {
                darwinlm_search::AttentionUnit::KeyValueGroup
            }
        },
        damping_permille: at_least_one("spec.pruning.dampingPermille", pruning.damping_permille)?,
    })
}

/// Checks what the pruned model must keep to.
pub(super) fn target(target: &Target, pruning: &PruningSpec) -> Result<TargetSpec, Rejection> {
    match target
        .kind()
        .map_err(|error| Rejection::invalid("spec:", error))?
    {
        TargetKind::Level(level) if level > pruning.levels => Err(Rejection::invalid(
            "spec.target.level",
            format_args!(
                "is {level}; at most spec.pruning.levels, {}, is accepted",
                pruning.levels
            ),
        )),
        TargetKind::Level(level) => Ok(TargetSpec::Level(level)),
        TargetKind::Parameters(parameters) => Ok(TargetSpec::Parameters(parameters)),
        TargetKind::SparsityPercent(percent @ 1..=99) => Ok(TargetSpec::SparsityPercent(percent)),
        TargetKind::SparsityPercent(percent) => Err(Rejection::invalid(
            "spec.target.sparsityPercent",
            format_args!("is {percent}; 1 to 99 are accepted"),
        )),
        TargetKind::SpeedupPercent(percent @ 101..=10_000) => {
            Ok(TargetSpec::SpeedupPercent(percent))
        }
        TargetKind::SpeedupPercent(percent) => Err(Rejection::invalid(
            "spec.target.speedupPercent",
            format_args!("is {percent}; 101 to 10000 are accepted"),
        )),
    }
}

/// Checks how to search.
pub(super) fn settings(search: &Search, data: &Data) -> Result<SearchSettings, Rejection> {
    let field = "spec.search";
    let offspring = up_to(MOST_OFFSPRING, "spec.search.offspring", search.offspring)?;
    let mut steps = Vec::new();
    for (position, step) in search.steps.iter().enumerate() {
        let field = format!("{field}.steps[{position}]");
        let step = SelectionStep {
            survivors: at_least_one(&format!("{field}.survivors"), step.survivors)?,
            training_tokens: tokens(&format!("{field}.trainingTokens"), step.training_tokens, 0)?,
            fitness_tokens: tokens(&format!("{field}.fitnessTokens"), step.fitness_tokens, 1)?,
        };
        fits_pool(
            &field,
            "training",
            step.training_tokens,
            data.training.tokens,
        )?;
        fits_pool(&field, "fitness", step.fitness_tokens, data.fitness.tokens)?;
        steps.push(step);
    }
    let schedule =
        Schedule::new(steps).map_err(|error| Rejection::invalid("spec.search.steps:", error))?;
    schedule
        .fit(offspring, search.continue_training)
        .map_err(|error| Rejection::invalid("spec.search:", error))?;
    Ok(SearchSettings {
        seed: tokens("spec.search.seed", search.seed, 0)?,
        generations: up_to(
            MOST_GENERATIONS,
            "spec.search.generations",
            search.generations,
        )?,
        offspring,
        exchange: match search.exchange {
            darwinlm_api::Exchange::WithinKind => darwinlm_search::Exchange::WithinKind,
            darwinlm_api::Exchange::AcrossKinds => darwinlm_search::Exchange::AcrossKinds,
        },
        fitness: match search.fitness {
            darwinlm_api::Fitness::KullbackLeibler => darwinlm_search::FitnessKind::KullbackLeibler,
            darwinlm_api::Fitness::Perplexity => darwinlm_search::FitnessKind::Perplexity,
        },
        steps: schedule.steps().to_vec(),
        continue_training: search.continue_training,
        optimizer: optimizer(&search.optimizer)?,
    })
}

/// A step never needs more than its pool has.
fn fits_pool(field: &str, pool: &str, needed: u64, available: i64) -> Result<(), Rejection> {
    if i64::try_from(needed).is_ok_and(|needed| needed <= available) {
        return Ok(());
    }
    Err(Rejection::invalid(
        &format!("{field}.{pool}Tokens"),
        format_args!("is {needed}; at most spec.data.{pool}.tokens, {available}, is accepted"),
    ))
}

/// Numbers in quotes, which stay as the user wrote them.
fn optimizer(optimizer: &darwinlm_api::Optimizer) -> Result<Optimizer, Rejection> {
    let darwinlm_api::Optimizer {
        learning_rate,
        weight_decay,
        batch_sequences,
    } = optimizer;
    let checked = Optimizer {
        learning_rate: learning_rate.clone(),
        weight_decay: weight_decay.clone(),
        batch_sequences: at_least_one("spec.search.optimizer.batchSequences", *batch_sequences)?,
    };
    checked
        .learning_rate()
        .and_then(|_| checked.weight_decay())
        .map_err(|error| Rejection::invalid("spec.search.optimizer:", error))?;
    Ok(checked)
}

/// What the run may spend, in device seconds.
pub(super) fn budget(budget: Option<&Budget>) -> Result<Option<u64>, Rejection> {
    let hours = budget.map(|Budget { gpu_hours }| at_least_one("spec.budget.gpuHours", *gpu_hours));
    Ok(hours.transpose()?.map(|hours| u64::from(hours) * 3600))
}

/// Checks where the survivor goes.
pub(super) fn export(
    export: &Export,
    addresses: &mut Addresses<'_>,
) -> Result<ExportSpec, Rejection> {
    let Export {
        destination,
        formats,
        query_head_layout,
    } = export;
    let formats = formats
        .iter()
        .map(|format| match format {
            darwinlm_api::ExportFormat::Transformers => Ok(ExportFormat::Transformers),
            darwinlm_api::ExportFormat::MaskedDense => Ok(ExportFormat::MaskedDense),
            darwinlm_api::ExportFormat::Gguf => Err(Rejection::not_yet_supported(
                "spec.export.formats: Gguf",
                "use Transformers or MaskedDense",
            )),
        })
        .collect::<Result<Vec<_>, _>>()?;
    if formats.is_empty() {
        return Err(Rejection::invalid(
            "spec.export.formats",
            "is empty; name Transformers or MaskedDense",
        ));
    }
    Ok(ExportSpec {
        destination: addresses.folder("spec.export.destination", destination)?,
        formats,
        query_head_layout: match query_head_layout {
            darwinlm_api::QueryHeadLayout::Gather => QueryHeadLayout::Gather,
            darwinlm_api::QueryHeadLayout::Expand => QueryHeadLayout::Expand,
        },
    })
}

/// Everything immutable in a spec that decides the search, as the user wrote it: neither names nor
/// where things are mounted, so that the same file means the same search everywhere.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Definition<'a> {
    version: u32,
    model: &'a str,
    data: &'a Data,
    pruning: &'a PruningSpec,
    target: &'a TargetSpec,
    search: &'a SearchSettings,
}

/// The digest that a store's prefix belongs to.
pub(super) fn digest(
    spec: &PruningRunSpec,
    pruning: &PruningSpec,
    target: &TargetSpec,
    search: &SearchSettings,
) -> String {
    // Fields are written in the order of their declaration: no map decides it.
    let definition = Definition {
        version: 1,
        model: &spec.model.source,
        data: &spec.data,
        pruning,
        target,
        search,
    };
    let text = serde_json::to_vec(&definition)
        .expect("a definition holds only strings, numbers and lists");
    Digest::of(&text).to_string()
}
