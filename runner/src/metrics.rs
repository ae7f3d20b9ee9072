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
