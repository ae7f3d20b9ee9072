//! The worker's own metrics, in base units, without labels that grow.

mod at_scrape;

use std::sync::{Arc, OnceLock};

use darwinlm_search::Outcome;
use darwinlm_store::{Ran, Store};
use darwinlm_task::Dtype;
use prometheus::core::Collector;
use prometheus::{
    Counter, GaugeVec, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, Opts,
    Registry, TextEncoder,
};

use crate::device;
use crate::flops::Work;
use crate::process;
use crate::trial::TrialError;

use at_scrape::Now;

/// Everything a worker counts; cheap to clone.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Registry,
    tokens_trained: IntCounter,
    tokens_scored: IntCounter,
    /// Past 2⁵³ a float counts in larger steps; an integer would begin anew at 2⁶⁴, which a GPU does
    /// within a day.
    flops: Counter,
    peak_flops: GaugeVec,
    trials: IntCounterVec,
    store: Arc<OnceLock<Store>>,
    /// Seconds of one trial, training and scoring together.
    pub trial_seconds: Histogram,
    /// Generations in the ledger, as this worker sees it.
    pub generation: IntGauge,
    /// Modules written to the level database.
    pub modules: IntCounter,
}

/// How the computing of a trial ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tried {
    /// With a finite fitness.
    Done,
    /// With a loss or a fitness that is no number.
    Failed,
    /// It did not fit in memory.
    OutOfMemory,
    /// With an exception.
    Exception,
    /// The worker was told to stop.
    Stopped,
}

impl Tried {
    const ALL: [Self; 5] = [
        Self::Done,
        Self::Failed,
        Self::OutOfMemory,
        Self::Exception,
        Self::Stopped,
    ];

    /// What computing a trial came to.
    pub fn of(ran: &Result<Ran, TrialError>) -> Self {
        match ran {
            Ok(ran) => match ran.outcome {
                Outcome::Scored { .. } => Self::Done,
                Outcome::Failed(_) => Self::Failed,
            },
            Err(TrialError::OutOfMemory { .. }) => Self::OutOfMemory,
            Err(TrialError::Cancelled) => Self::Stopped,
            Err(
                TrialError::Stitch(_)
                | TrialError::Train(_)
                | TrialError::Fitness(_)
                | TrialError::Panicked { .. },
            ) => Self::Exception,
        }
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Failed => "failed",
            Self::OutOfMemory => "out_of_memory",
            Self::Exception => "exception",
            Self::Stopped => "stopped",
        }
    }
}

impl Metrics {
    /// Registers everything.
    ///
    /// # Panics
    /// Never: names are distinct and valid.
    pub fn new() -> Self {
        let counter = |name, help| IntCounter::new(name, help).expect("the name is valid");
        let metrics = Self {
            registry: Registry::new(),
            tokens_trained: counter(
                "darwinlm_worker_tokens_trained_total",
                "Tokens that candidates and the survivor were trained on.",
            ),
            tokens_scored: counter(
                "darwinlm_worker_tokens_scored_total",
                "Tokens that models were scored on.",
            ),
            flops: Counter::new(
                "darwinlm_worker_model_flops_total",
                "Floating-point operations of forward and backward passes, by the models' shapes.",
            )
            .expect("the name is valid"),
            peak_flops: GaugeVec::new(
                Opts::new(
                    "darwinlm_worker_peak_flops_per_second",
                    "Floating-point operations a second that the data sheet of the device gives.",
                ),
                &["device", "dtype"],
            )
            .expect("the name and its labels are valid"),
            trials: IntCounterVec::new(
                Opts::new(
                    "darwinlm_worker_trials_total",
                    "Trials that this worker ended, by selection step, from 0, and by outcome.",
                ),
                &["step", "outcome"],
            )
            .expect("the name and its labels are valid"),
            store: Arc::default(),
            trial_seconds: Histogram::with_opts(
                HistogramOpts::new("darwinlm_worker_trial_seconds", "Seconds of one trial.")
                    .buckets(
                        prometheus::exponential_buckets(0.125, 2.0, 16).expect("a valid series"),
                    ),
            )
            .expect("the name is valid"),
            generation: IntGauge::new("darwinlm_worker_generation", "Generations in the ledger.")
                .expect("the name is valid"),
            modules: counter(
                "darwinlm_worker_modules_total",
                "Modules that this worker wrote to the level database.",
            ),
        };
        for collector in metrics.collectors() {
            let registered = metrics.registry.register(collector);
            registered.expect("the name is new");
        }
        metrics
    }

    /// All that a worker can tell, whether it has series yet or not.
    pub fn described() -> Vec<Box<dyn Collector>> {
        let mut all = Self::new().collectors();
        all.extend(Now::in_full().collectors());
        all
    }

    /// What is counted as it happens.
    fn collectors(&self) -> Vec<Box<dyn Collector>> {
        let Self {
            registry: _,
            tokens_trained,
            tokens_scored,
            flops,
            peak_flops,
            trials,
            store: _,
            trial_seconds,
            generation,
            modules,
        } = self.clone();
        vec![
            Box::new(tokens_trained),
            Box::new(tokens_scored),
            Box::new(flops),
            Box::new(peak_flops),
            Box::new(trials),
            Box::new(trial_seconds),
            Box::new(generation),
            Box::new(modules),
        ]
    }

    /// Counts what was trained on.
    pub fn trained(&self, work: Work) {
        self.tokens_trained.inc_by(work.tokens);
        self.passed(work);
    }

    /// Counts what was scored.
    pub fn scored(&self, work: Work) {
        self.tokens_scored.inc_by(work.tokens);
        self.passed(work);
    }

    /// Counts passes over tokens that are neither trained on nor scored.
    pub fn passed(&self, work: Work) {
        self.flops.inc_by(work.flops as f64);
    }

    /// Says how fast the device that computes in a type can be, where that is known.
    pub fn computes_on(&self, device: &str, dtype: Dtype) {
        if let Some(flops) = device::peak_flops(device, dtype) {
            let dtype = format!("{dtype:?}");
            let gauge = self.peak_flops.with_label_values(&[device, &dtype]);
            gauge.set(flops);
        }
    }

    /// Begins every series of a search of so many selection steps: a rate knows nothing of what was
    /// before a series.
    pub fn searches(&self, steps: u32) {
        for step in 0..steps {
            for outcome in Tried::ALL {
                self.trials
                    .with_label_values(&[&step.to_string(), outcome.as_str()]);
            }
        }
    }

    /// Counts a trial.
    pub fn tried(&self, step: u32, outcome: Tried) {
        let labels = [&step.to_string(), outcome.as_str()];
        self.trials.with_label_values(&labels).inc();
    }

    /// Tells from now on what was counted of a store.
    pub fn works_with(&self, store: &Store) {
        // a worker has one store: another is never told of
        let _ = self.store.set(store.clone());
    }

    /// The text that Prometheus scrapes.
    pub fn text(&self) -> String {
        self.text_of(Now {
            held: device::held(),
            resident: process::resident(),
            tally: self.store.get().map(Store::tally).unwrap_or_default(),
        })
    }

    fn text_of(&self, now: Now) -> String {
        let mut families = self.registry.gather();
        families.extend(now.families());
        families.sort_by(|a, b| a.name().cmp(b.name()));
        TextEncoder::new()
            .encode_to_string(&families)
            .expect("every metric is complete")
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests;
