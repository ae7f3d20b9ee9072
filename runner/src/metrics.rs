//! The worker's own metrics, in base units, without labels that grow.

use prometheus::{Histogram, HistogramOpts, IntCounter, IntGauge, Registry, TextEncoder};

/// Everything a worker counts.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Registry,
    /// Tokens trained on.
    pub tokens_trained: IntCounter,
    /// Tokens scored.
    pub tokens_scored: IntCounter,
    /// Seconds of one trial, training and scoring together.
    pub trial_seconds: Histogram,
    /// Trials that this worker finished.
    pub trials: IntCounter,
    /// Generations in the ledger, as this worker sees it.
    pub generation: IntGauge,
    /// Modules written to the level database.
    pub modules: IntCounter,
}

impl Metrics {
    /// Registers everything.
    ///
    /// # Panics
    /// Never: names are distinct and valid.
    pub fn new() -> Self {
        let registry = Registry::new();
        let counter = |name: &str, help: &str| {
            let counter = IntCounter::new(name, help).expect("the name is valid");
            registry
                .register(Box::new(counter.clone()))
                .expect("the name is new");
            counter
        };
        let tokens_trained = counter(
            "darwinlm_worker_tokens_trained_total",
            "Tokens that candidates were trained on.",
        );
        let tokens_scored = counter(
            "darwinlm_worker_tokens_scored_total",
            "Tokens that candidates were scored on.",
        );
        let trials = counter(
            "darwinlm_worker_trials_total",
            "Trials that this worker finished.",
        );
        let modules = counter(
            "darwinlm_worker_modules_total",
            "Modules that this worker wrote to the level database.",
        );
        let trial_seconds = Histogram::with_opts(
            HistogramOpts::new("darwinlm_worker_trial_seconds", "Seconds of one trial.")
                .buckets(prometheus::exponential_buckets(0.125, 2.0, 16).expect("a valid series")),
        )
        .expect("the name is valid");
        registry
            .register(Box::new(trial_seconds.clone()))
            .expect("the name is new");
        let generation = IntGauge::new("darwinlm_worker_generation", "Generations in the ledger.")
            .expect("the name is valid");
        registry
            .register(Box::new(generation.clone()))
            .expect("the name is new");
        Self {
            registry,
            tokens_trained,
            tokens_scored,
            trial_seconds,
            trials,
            generation,
            modules,
        }
    }

    /// The text that Prometheus scrapes.
    pub fn text(&self) -> String {
        TextEncoder::new()
            .encode_to_string(&self.registry.gather())
            .expect("every metric is complete")
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::Path;

    use super::*;

    /// The golden list: somebody's dashboard breaks when one of them goes.
    const NAMES: [&str; 6] = [
        "darwinlm_worker_generation",
        "darwinlm_worker_modules_total",
        "darwinlm_worker_tokens_scored_total",
        "darwinlm_worker_tokens_trained_total",
        "darwinlm_worker_trial_seconds",
        "darwinlm_worker_trials_total",
    ];

    #[test]
    fn the_names_are_these() {
        let text = Metrics::new().text();
        let names: BTreeSet<&str> = text
            .lines()
            .filter_map(|line| Some(line.strip_prefix("# TYPE ")?.split_once(' ')?.0))
            .collect();
        assert_eq!(names, BTreeSet::from(NAMES));
        for name in NAMES {
            assert!(include_str!("../README.md").contains(name), "{name}");
        }
    }

    #[test]
    fn the_runs_dashboard_asks_workers_for_names_that_there_are() {
        let file = "../charts/darwinlm/dashboards/run.json";
        let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file));
        let text = text.expect("the chart has it");
        let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
        let asked: BTreeSet<&str> = words
            .filter(|word| word.starts_with("darwinlm_worker_"))
            .map(|word| word.strip_suffix("_bucket").unwrap_or(word))
            .collect();
        assert_eq!(asked, BTreeSet::from(NAMES), "asked and served");
    }
}
