//! Series of the watched runs, made anew at each scrape out of their status.

use std::sync::Arc;

use darwinlm_api::{
    PruningRun, PruningRunStatus, SearchStatus,
    conditions::{self, ConditionType},
};
use kube::ResourceExt;
use prometheus::{GaugeVec, Opts, Registry, proto::MetricFamily};

/// The gauges of all runs.
struct Gauges {
    info: GaugeVec,
    condition: GaugeVec,
    stalled: GaugeVec,
    generation: GaugeVec,
    generations: GaugeVec,
    fitness: GaugeVec,
    validation_kl: GaugeVec,
    perplexity: GaugeVec,
    training_loss: GaugeVec,
    parameters: GaugeVec,
    trials: GaugeVec,
    gpu_seconds: GaugeVec,
}

/// The families that have at least one series.
pub(super) fn families(runs: &[Arc<PruningRun>]) -> Vec<MetricFamily> {
    let gauges = Gauges::new();
    for run in runs {
        gauges.set(run);
    }
    gauges.collect()
}

impl Gauges {
    fn new() -> Self {
        let gauge = |name: &str, help: &str, labels: &[&str]| {
            let labels = [&["namespace", "name"], labels].concat();
            GaugeVec::new(Opts::new(name, help), &labels).expect("a name and labels")
        };
        Self {
            info: gauge(
                "darwinlm_run_info",
                "1, labelled with the run's stage.",
                &["stage"],
            ),
            condition: gauge(
                "darwinlm_run_condition",
                "1 where the condition is True, 0 where it is False or Unknown.",
                &["type"],
            ),
            stalled: gauge(
                "darwinlm_run_stalled",
                "1 while the run does not move, labelled with the reason of Progressing=False.",
                &["reason"],
            ),
            generation: gauge("darwinlm_run_generation", "Generations in the ledger.", &[]),
            generations: gauge("darwinlm_run_generations", "Generations asked for.", &[]),
            fitness: gauge(
                "darwinlm_run_fitness",
                "Fitness of the survivor when it was selected last; lower is better.",
                &[],
            ),
            validation_kl: gauge(
                "darwinlm_run_validation_kl",
                "KL of the survivor to the dense model on the validation tokens, in nats.",
                &[],
            ),
            perplexity: gauge(
                "darwinlm_run_validation_perplexity",
                "Perplexity on the validation tokens, by model: dense, uniform, pruned or trained.",
                &["model"],
            ),
            training_loss: gauge(
                "darwinlm_run_training_loss",
                "Loss of the newest step of post-training, in nats per token.",
                &[],
            ),
            parameters: gauge(
                "darwinlm_run_survivor_parameters",
                "Parameters of the survivor.",
                &[],
            ),
            trials: gauge(
                "darwinlm_run_trials",
                "Trials so far, by outcome: done, failed or repeated.",
                &["outcome"],
            ),
            gpu_seconds: gauge(
                "darwinlm_run_gpu_seconds",
                "GPU seconds so far, by cause: useful, starting, waiting, lost or unattributed.",
                &["cause"],
            ),
        }
    }

    fn set(&self, run: &PruningRun) {
        let namespace = run.namespace().unwrap_or_default();
        let name = run.name_any();
        let run_labels = [namespace.as_str(), name.as_str()];
        let set = |gauge: &GaugeVec, label: &[&str], value: f64| {
            gauge
                .with_label_values(&[&run_labels, label].concat())
                .set(value);
        };
        set(&self.generations, &[], run.spec.search.generations.into());
        let Some(status) = &run.status else {
            return set(&self.info, &["Pending"], 1.0);
        };
        let PruningRunStatus {
            observed_generation: _,
            stage,
            conditions: found,
            progress: _,
            search,
            gpu_seconds,
            held: _,
            gpu_hours: _,
            post_training,
            evaluation,
            artifacts: _,
        } = status;
        set(&self.info, &[stage.as_deref().unwrap_or("Pending")], 1.0);
        for type_ in ConditionType::ALL {
            if conditions::get(found, *type_).is_some() {
                let holds = conditions::is_true(found, *type_);
                set(
                    &self.condition,
                    &[type_.as_str()],
                    f64::from(u8::from(holds)),
                );
            }
        }
        if let Some(reason) = conditions::stalled(found) {
            set(&self.stalled, &[reason.as_str()], 1.0);
        }
        if let Some(SearchStatus {
            generation,
            survivor,
            survivors: _,
            digest: _,
            trials,
            spent_gpu_seconds: _,
        }) = search
        {
            set(&self.generation, &[], (*generation).into());
            set(&self.trials, &["done"], trials.done as f64);
            set(&self.trials, &["failed"], trials.failed as f64);
            set(&self.trials, &["repeated"], trials.repeated as f64);
            if let Some(survivor) = survivor {
                set(&self.parameters, &[], survivor.parameters as f64);
                if let Ok(fitness) = survivor.fitness.parse() {
                    set(&self.fitness, &[], fitness);
                }
                if let Some(Ok(kl)) = survivor.validation_kl.as_ref().map(|text| text.parse()) {
                    set(&self.validation_kl, &[], kl);
                }
            }
        }
        if let Some(seconds) = gpu_seconds {
            set(&self.gpu_seconds, &["useful"], seconds.useful as f64);
            set(&self.gpu_seconds, &["starting"], seconds.starting as f64);
            set(&self.gpu_seconds, &["waiting"], seconds.waiting as f64);
            set(&self.gpu_seconds, &["lost"], seconds.lost as f64);
            set(
                &self.gpu_seconds,
                &["unattributed"],
                seconds.unattributed as f64,
            );
        }
        let loss = post_training.as_ref().and_then(|known| known.loss.as_ref());
        if let Some(Ok(loss)) = loss.map(|text| text.parse()) {
            set(&self.training_loss, &[], loss);
        }
        let validation = evaluation
            .as_ref()
            .and_then(|evaluation| evaluation.validation.as_ref());
        if let Some(validation) = validation {
            for (model, measured) in [
                ("dense", &validation.dense),
                ("uniform", &validation.uniform),
                ("pruned", &validation.pruned),
                ("trained", &validation.trained),
            ] {
                if let Some(Ok(perplexity)) = measured.as_ref().map(|m| m.perplexity.parse()) {
                    set(&self.perplexity, &[model], perplexity);
                }
            }
        }
    }

    /// Sorted, and without the families that have no series, which the text format refuses.
    fn collect(self) -> Vec<MetricFamily> {
        let Self {
            info,
            condition,
            stalled,
            generation,
            generations,
            fitness,
            validation_kl,
            perplexity,
            training_loss,
            parameters,
            trials,
            gpu_seconds,
        } = self;
        let registry = Registry::new();
        for gauge in [
            info,
            condition,
            stalled,
            generation,
            generations,
            fitness,
            validation_kl,
            perplexity,
            training_loss,
            parameters,
            trials,
            gpu_seconds,
        ] {
            registry
                .register(Box::new(gauge))
                .expect("each series has a name of its own");
        }
        registry.gather()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use darwinlm_api::PruningRun;

    use crate::metrics::Metrics;

    fn run(name: &str) -> Arc<PruningRun> {
        let text = include_str!("../../tests/fixtures/cluster-run.yaml");
        let mut run: PruningRun = serde_saphyr::from_str(text).unwrap();
        run.metadata.name = Some(name.to_owned());
        run.status = Some(
            serde_json::from_value(serde_json::json!({
                "stage": "Searching",
                "conditions": [{"type": "Prepared", "status": "True", "reason": "Complete",
                    "message": "", "lastTransitionTime": "2026-01-01T12:00:00Z"}],
                "search": {
                    "generation": 57,
                    "survivor": {"genome": {"attention": "55", "mlp": "45"}, "fitness": "0.2413",
                        "validationKl": "0.2530", "parameters": 2_607_415_296_i64,
                        "bornInGeneration": 55},
                    "trials": {"done": 1767, "failed": 2, "repeated": 5},
                },
                "gpuSeconds": {"useful": 10, "starting": 1, "waiting": 2, "lost": 3},
                "postTraining": {"tokens": 4096, "loss": "2.5"},
                "evaluation": {"validation": {"pruned":
                    {"perplexity": "12.5", "kl": "0.25", "parameters": 7}}},
            }))
            .unwrap(),
        );
        Arc::new(run)
    }

    #[test]
    fn a_runs_series_are_these() {
        let text = Metrics::new().text(&[run("a")]);
        for line in [
            r#"darwinlm_run_info{name="a",namespace="research",stage="Searching"} 1"#,
            r#"darwinlm_run_condition{name="a",namespace="research",type="Prepared"} 1"#,
            r#"darwinlm_run_generation{name="a",namespace="research"} 57"#,
            r#"darwinlm_run_generations{name="a",namespace="research"} 60"#,
            r#"darwinlm_run_fitness{name="a",namespace="research"} 0.2413"#,
            r#"darwinlm_run_validation_kl{name="a",namespace="research"} 0.253"#,
            r#"darwinlm_run_validation_perplexity{model="pruned",name="a",namespace="research"} 12.5"#,
            r#"darwinlm_run_training_loss{name="a",namespace="research"} 2.5"#,
            r#"darwinlm_run_survivor_parameters{name="a",namespace="research"} 2607415296"#,
            r#"darwinlm_run_trials{name="a",namespace="research",outcome="done"} 1767"#,
            r#"darwinlm_run_gpu_seconds{cause="lost",name="a",namespace="research"} 3"#,
        ] {
            assert!(text.contains(line), "{line} is missing from\n{text}");
        }
    }

    #[test]
    fn a_run_that_does_not_move_says_why_until_it_does() {
        let waits = |status: &str, reason: &str| {
            let mut run = (*run("a")).clone();
            run.status = serde_json::from_value(serde_json::json!({"conditions": [
                {"type": "Progressing", "status": status, "reason": reason, "message": "",
                 "lastTransitionTime": "2026-01-01T12:00:00Z"}]}))
            .unwrap();
            Metrics::new().text(&[Arc::new(run)])
        };
        let line = r#"darwinlm_run_stalled{name="a",namespace="research",reason="NoProgress"} 1"#;
        assert!(waits("False", "NoProgress").contains(line));
        for (status, reason) in [
            ("True", "Searching"),
            ("False", "Suspended"),
            ("False", "Finished"),
        ] {
            assert!(
                !waits(status, reason).contains("darwinlm_run_stalled{"),
                "{reason}"
            );
        }
    }

    #[test]
    fn a_runs_series_vanish_with_the_run() {
        let metrics = Metrics::new();
        assert!(metrics.text(&[run("a"), run("b")]).contains("name=\"b\""));
        let text = metrics.text(&[run("a")]);
        assert!(
            text.contains("name=\"a\"") && !text.contains("name=\"b\""),
            "{text}"
        );
        assert!(!metrics.text(&[]).contains("darwinlm_run_"));
    }
}
