//! What reports say, folded into the status, so that it outlives their Jobs.

use darwinlm_api::conditions::{self, ConditionStatus, Finding, Reason};
use darwinlm_api::{
    EvaluationStatus, GenomeStatus, LatencyStatus, Measured, MeasuredLatency, PostTrainingStatus,
    PruningRunStatus, SearchStatus, Survivor, TrialCounts, Validation,
};
use darwinlm_task::{
    EvaluationReport, LatencyReport, ModelLatency, Outcome, SearchReport, SurvivorReport, TaskKind,
    TaskReport, paths,
};
use k8s_openapi::jiff::Timestamp;

use super::{budget, done_condition, seconds};
use crate::run_controller::observed::{Observed, ObservedJob};
use crate::run_controller::validate::{VOLUMES, ValidatedRun};

/// Most survivors in a status.
const LINEAGE: usize = 10;
/// Longest decimal number in a status.
const DECIMAL_LENGTH: usize = 24;

/// Folds every report into the status, the eldest Job first.
pub(super) fn fold(
    run: &ValidatedRun,
    observed: &Observed,
    status: &mut PruningRunStatus,
    now: Timestamp,
) {
    let mut jobs: Vec<&ObservedJob> = observed.jobs.iter().collect();
    jobs.sort_by_key(|job| job.key);
    for job in jobs {
        let Some(report) = &job.report else { continue };
        // What was made of a survivor that is not the last one tells of the search alone.
        if budget::is_early(job.key.task, status) {
            if let Some(search) = &report.search {
                fold_search(search_status(search), status);
            }
            continue;
        }
        fold_facts(run, report, status);
        if let Some((reason, message)) = done(run, report)
            && let Some(type_) = done_condition(report.task)
        {
            let finding = Finding {
                type_,
                status: ConditionStatus::True,
                reason,
                message,
            };
            conditions::set(&mut status.conditions, finding, run.spec_revision, now);
        }
    }
    seconds::fold(observed, status);
}

/// Whether a report says that its task is done, and why.
fn done(run: &ValidatedRun, report: &TaskReport) -> Option<(Reason, String)> {
    let complete = (Reason::Complete, String::new());
    match (&report.outcome, report.task) {
        // A search is done by its ledger: a Job that ended well may hold only some generations.
        (outcome, TaskKind::Search) => {
            let search = report.search.as_ref()?;
            if search.generation >= run.generations {
                return Some(complete);
            }
            let has_ended = matches!(outcome, Outcome::Done | Outcome::BudgetSpent);
            let spent = budget::spent(run, search.spent_gpu_seconds);
            has_ended.then_some(spent?).map(|budget| {
                let generations = format!("{} of {}", search.generation, run.generations);
                let message = format!("{budget} spent after {generations} generations");
                (Reason::BudgetSpent, message)
            })
        }
        (Outcome::Done, _) => Some(complete),
        (Outcome::BudgetSpent | Outcome::Running | Outcome::Failed { .. }, _) => None,
    }
}

fn fold_facts(run: &ValidatedRun, report: &TaskReport, status: &mut PruningRunStatus) {
    if let Some(database) = &report.database {
        let url = format!("{}/{}", run.store, paths::database(&database.digest));
        status.artifacts.get_or_insert_default().level_database = Some(as_written(&url));
    }
    // What a report does not speak of stays as it is known.
    if let Some(search) = &report.search {
        fold_search(search_status(search), status);
    }
    if let Some(training) = &report.training {
        status.post_training = Some(PostTrainingStatus {
            tokens: long(training.tokens),
            loss: training.loss.as_deref().map(decimal),
        });
        if let Some(key) = &training.checkpoint {
            let url = as_written(&format!("{}/{key}", run.store));
            status.artifacts.get_or_insert_default().checkpoint = Some(url);
        }
    }
    if let Some(evaluation) = &report.evaluation {
        status.evaluation = Some(evaluation_status(evaluation));
    }
    if let Some(export) = &report.export {
        let exports = export.exports.iter().map(|url| as_written(url)).collect();
        status.artifacts.get_or_insert_default().exports = exports;
    }
    if let Some(key) = &report.page {
        let url = as_written(&format!("{}/{key}", run.store));
        status.artifacts.get_or_insert_default().report = Some(url);
    }
}

fn fold_search(new: SearchStatus, status: &mut PruningRunStatus) {
    status.search = Some(match status.search.take() {
        // A report that a slower worker gave earlier never turns the clock back.
        Some(known) if known.generation > new.generation => known,
        // One that had no room for every survivor makes none of them forgotten.
        Some(known) if known.generation == new.generation && known.digest == new.digest => {
            let untold = known.survivors.into_iter().skip(new.survivors.len());
            SearchStatus {
                survivor: new.survivor.or(known.survivor),
                survivors: new.survivors.into_iter().chain(untold).collect(),
                ..new
            }
        }
        Some(_) | None => new,
    });
}

/// A claim as the spec names it, where a worker sees the folder it is mounted at.
fn as_written(url: &str) -> String {
    let in_claim = url
        .strip_prefix("file://")
        .and_then(|path| path.strip_prefix(VOLUMES));
    in_claim.map_or_else(|| url.to_owned(), |path| format!("pvc:/{path}"))
}

fn search_status(report: &SearchReport) -> SearchStatus {
    let survivors: Vec<_> = report
        .survivors
        .iter()
        .take(LINEAGE)
        .map(survivor)
        .collect();
    SearchStatus {
        generation: integer(report.generation),
        survivor: survivors.first().cloned(),
        survivors,
        digest: Some(report.digest.clone()),
        trials: TrialCounts {
            done: long(report.trials.done),
            failed: long(report.trials.failed),
            repeated: long(report.trials.repeated),
        },
        spent_gpu_seconds: long(report.spent_gpu_seconds),
    }
}

fn survivor(report: &SurvivorReport) -> Survivor {
    let text = darwinlm_search::PerKind::<String>::from(report.genome.clone());
    Survivor {
        genome: GenomeStatus {
            attention: text.attention,
            mlp: text.mlp,
        },
        fitness: decimal(&report.fitness),
        validation_kl: report.validation_kl.as_deref().map(decimal),
        validation_perplexity: report.validation_perplexity.as_deref().map(decimal),
        parameters: long(report.parameters),
        born_in_generation: integer(report.born_in_generation),
    }
}

fn evaluation_status(report: &EvaluationReport) -> EvaluationStatus {
    let measured = |measured: &darwinlm_task::Measured| {
        Some(Measured {
            perplexity: decimal(&measured.perplexity),
            kl: decimal(&measured.kl),
            parameters: long(measured.parameters),
        })
    };
    let validation = Validation {
        dense: measured(&report.dense),
        uniform: measured(&report.uniform),
        pruned: measured(&report.pruned),
        trained: report.trained.as_ref().and_then(measured),
    };
    EvaluationStatus {
        validation: Some(validation),
        latency: report.latency.as_ref().map(latency_status),
        ..EvaluationStatus::default()
    }
}

fn latency_status(report: &LatencyReport) -> LatencyStatus {
    let measured = |model: &ModelLatency| MeasuredLatency {
        prompt_microseconds: long(model.prompt_microseconds.median),
        token_microseconds: long(model.token_microseconds.map_or(0, |spread| spread.median)),
        memory_bytes: Some(long(model.memory.bytes())),
    };
    let percent = report.speedup_percent.median.min(1_000_000);
    LatencyStatus {
        dense: Some(measured(&report.dense)),
        pruned: Some(measured(&report.pruned)),
        speedup_percent: i32::try_from(percent).ok(),
    }
}

/// A number as the API takes it: not negative (a KL below zero is rounding) and not too long.
fn decimal(text: &str) -> String {
    let number = text.parse::<f64>().unwrap_or(f64::MAX);
    if number <= 0.0 {
        "0".to_owned()
    } else if text.len() <= DECIMAL_LENGTH && number.is_finite() {
        text.to_owned()
    } else {
        format!("{:e}", number.min(f64::MAX))
    }
}

fn integer(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

fn long(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decimal_in_the_status_is_never_negative_and_never_long() {
        assert_eq!(decimal("0.2413"), "0.2413");
        assert_eq!(decimal("-3.2e-9"), "0");
        assert_eq!(decimal("1e-7"), "1e-7");
        let long = decimal("0.000000000000012345678901234567890123");
        assert!(long.len() <= DECIMAL_LENGTH, "{long}");
    }
}
