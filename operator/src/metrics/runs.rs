//! Series of the watched runs, made anew at each scrape out of their status.

pub(super) mod gauges;

use std::sync::Arc;

use darwinlm_api::{
    EvaluationStatus, ForecastStatus, GenomeStatus, GpuSeconds, LatencyStatus, PostTrainingStatus,
    PruningRun, PruningRunStatus, SearchStatus, Survivor, TrialCounts, Validation,
    conditions::{self, ConditionType},
};
use gauges::Gauges;
use kube::ResourceExt;
use prometheus::{GaugeVec, proto::MetricFamily};

use super::Described;

/// What each family is called and means.
pub(super) fn described() -> Vec<Described> {
    Gauges::new().described()
}

/// The families that have at least one series.
pub(super) fn families(runs: &[Arc<PruningRun>]) -> Vec<MetricFamily> {
    let gauges = Gauges::new();
    for run in runs {
        let (namespace, name) = (run.namespace().unwrap_or_default(), run.name_any());
        Series {
            gauges: &gauges,
            run: [&namespace, &name],
        }
        .set(run);
    }
    gauges.collect()
}

/// The series of one run.
struct Series<'a> {
    gauges: &'a Gauges,
    run: [&'a str; 2],
}

impl Series<'_> {
    fn put(&self, gauge: &GaugeVec, labels: &[&str], value: f64) {
        gauge
            .with_label_values(&[&self.run, labels].concat())
            .set(value);
    }

    /// What a status writes as text; no series where it is no number.
    fn put_text(&self, gauge: &GaugeVec, labels: &[&str], text: &str) {
        if let Ok(value) = text.parse() {
            self.put(gauge, labels, value);
        }
    }

    fn set(&self, run: &PruningRun) {
        let Gauges {
            generations,
            budget,
            training_tokens_asked,
            info,
            ..
        } = self.gauges;
        self.put(generations, &[], run.spec.search.generations.into());
        if let Some(limit) = &run.spec.budget {
            self.put(budget, &[], f64::from(limit.gpu_hours) * 3600.0);
        }
        if let Some(training) = &run.spec.post_training {
            self.put(training_tokens_asked, &[], training.tokens as f64);
        }
        match &run.status {
            None => self.put(info, &["Pending"], 1.0),
            Some(status) => self.set_status(status),
        }
    }

    fn set_status(&self, status: &PruningRunStatus) {
        let PruningRunStatus {
            observed_generation: _,
            stage,
            conditions: found,
            progress: _,
            search,
            gpu_seconds,
            held: _,
            gpu_hours: _,
            forecast,
            post_training,
            evaluation,
            artifacts: _,
        } = status;
        let stage = stage.as_deref().unwrap_or("Pending");
        self.put(&self.gauges.info, &[stage], 1.0);
        for type_ in ConditionType::ALL {
            if conditions::get(found, *type_).is_some() {
                let holds = u8::from(conditions::is_true(found, *type_));
                self.put(&self.gauges.condition, &[type_.as_str()], holds.into());
            }
        }
        if let Some(reason) = conditions::stalled(found) {
            self.put(&self.gauges.stalled, &[reason.as_str()], 1.0);
        }
        if let Some(search) = search {
            self.set_search(search);
            // Two series a block: what has ended is told by its report.
            if let Some(survivor) = &search.survivor
                && conditions::get(found, ConditionType::Succeeded)
                    .is_none_or(|condition| condition.status == "Unknown")
            {
                self.set_levels(&survivor.genome);
            }
        }
        if let Some(seconds) = gpu_seconds {
            self.set_gpu_seconds(*seconds);
        }
        if let Some(ForecastStatus {
            gpu_seconds,
            error_percent,
        }) = forecast
        {
            self.put(&self.gauges.forecast, &[], *gpu_seconds as f64);
            if let Some(percent) = error_percent {
                self.put(
                    &self.gauges.forecast_error,
                    &[],
                    f64::from(*percent) / 100.0,
                );
            }
        }
        if let Some(PostTrainingStatus { tokens, loss }) = post_training {
            self.put(&self.gauges.training_tokens, &[], *tokens as f64);
            if let Some(loss) = loss {
                self.put_text(&self.gauges.training_loss, &[], loss);
            }
        }
        if let Some(evaluation) = evaluation {
            self.set_evaluation(evaluation);
        }
    }

    fn set_search(&self, search: &SearchStatus) {
        let SearchStatus {
            generation,
            survivor,
            survivors: _,
            digest: _,
            trials:
                TrialCounts {
                    done,
                    failed,
                    repeated,
                },
            spent_gpu_seconds,
        } = search;
        let gauges = self.gauges;
        self.put(&gauges.generation, &[], (*generation).into());
        self.put(&gauges.trials, &["done"], *done as f64);
        self.put(&gauges.trials, &["failed"], *failed as f64);
        self.put(&gauges.trials, &["repeated"], *repeated as f64);
        self.put(&gauges.spent, &[], *spent_gpu_seconds as f64);
        if let Some(Survivor {
            genome: _,
            fitness,
            validation_kl,
            validation_perplexity,
            parameters,
            born_in_generation: _,
        }) = survivor
        {
            self.put(&gauges.parameters, &[], *parameters as f64);
            self.put_text(&gauges.fitness, &[], fitness);
            if let Some(kl) = validation_kl {
                self.put_text(&gauges.validation_kl, &[], kl);
            }
            if let Some(perplexity) = validation_perplexity {
                self.put_text(&gauges.survivor_perplexity, &[], perplexity);
            }
        }
    }

    fn set_levels(&self, genome: &GenomeStatus) {
        let GenomeStatus { attention, mlp } = genome;
        for (module, levels) in [("attention", attention), ("mlp", mlp)] {
            for (block, level) in levels.chars().enumerate() {
                // One character a level: 0 to 9, then a to z.
                if let Some(level) = level.to_digit(36) {
                    let labels = [&block.to_string(), module];
                    self.put(&self.gauges.level, &labels, level.into());
                }
            }
        }
    }

    fn set_gpu_seconds(&self, seconds: GpuSeconds) {
        for (cause, seconds) in seconds.causes() {
            self.put(&self.gauges.gpu_seconds, &[cause], seconds as f64);
        }
    }

    fn set_evaluation(&self, evaluation: &EvaluationStatus) {
        let EvaluationStatus {
            validation,
            tasks: _,
            latency,
        } = evaluation;
        if let Some(Validation {
            dense,
            uniform,
            pruned,
            trained,
        }) = validation
        {
            for (model, measured) in [
                ("dense", dense),
                ("uniform", uniform),
                ("pruned", pruned),
                ("trained", trained),
            ] {
                if let Some(measured) = measured {
                    let gauges = self.gauges;
                    self.put_text(&gauges.perplexity, &[model], &measured.perplexity);
                    self.put_text(&gauges.evaluated_kl, &[model], &measured.kl);
                    let parameters = measured.parameters as f64;
                    self.put(&gauges.evaluated_parameters, &[model], parameters);
                }
            }
        }
        if let Some(LatencyStatus {
            dense,
            pruned,
            speedup_percent: _,
        }) = latency
        {
            for (model, measured) in [("dense", dense), ("pruned", pruned)] {
                if let Some(measured) = measured {
                    let seconds = |microseconds: i64| microseconds as f64 / 1e6;
                    let (prompt, token) =
                        (measured.prompt_microseconds, measured.token_microseconds);
                    self.put(&self.gauges.prompt_seconds, &[model], seconds(prompt));
                    self.put(&self.gauges.token_seconds, &[model], seconds(token));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
