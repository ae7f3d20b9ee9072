//! What the operator counts about itself, and the text that Prometheus reads.

mod agenda;
mod api_requests;
mod described;
mod runs;

use std::{
    collections::HashSet,
    sync::Arc,
    time::{Duration, Instant},
};

use agenda::Agenda;
pub use agenda::Key;
pub use api_requests::{Count, CountLayer};
use darwinlm_api::PruningRun;
pub use described::Described;
use prometheus::{
    Encoder, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry, TextEncoder, core::Collector,
};

/// The operator's own series; cheap to clone.
///
/// Series of runs are no part of it: they are made from the watched runs at each scrape, so that
/// they vanish with their run without anyone having to remember them.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Registry,
    reconciles: IntCounterVec,
    errors: IntCounterVec,
    duration: Histogram,
    active: IntGauge,
    agenda: Agenda,
    waiting: IntGauge,
    waits: Histogram,
    watch_errors: IntCounter,
    api_requests: IntCounterVec,
    leader: IntGauge,
    lease_transitions: IntGauge,
    missing_fields: IntGauge,
}

impl Metrics {
    /// Registers every series.
    pub fn new() -> Self {
        Self::registered(|_| ())
    }

    /// What every series is called and means, those of runs included.
    pub fn described() -> Vec<Described> {
        let mut all = runs::described();
        Self::registered(|collector| all.extend(Described::of(collector)));
        all.sort();
        all
    }

    /// Registers every series, and tells of each.
    fn registered(mut tell: impl FnMut(&dyn Collector)) -> Self {
        let counters = |name, help, label| {
            IntCounterVec::new(Opts::new(name, help), &[label]).expect("a name and a label")
        };
        let metrics = Self {
            registry: Registry::new(),
            reconciles: counters(
                "darwinlm_reconcile_total",
                "Reconciles, by result: success or error.",
                "result",
            ),
            errors: counters(
                "darwinlm_reconcile_errors_total",
                "Reconciles that failed, by kind of error.",
                "kind",
            ),
            duration: Histogram::with_opts(
                HistogramOpts::new(
                    "darwinlm_reconcile_duration_seconds",
                    "Duration of reconciles, in seconds.",
                )
                .buckets(vec![
                    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
                ]),
            )
            .expect("a name and rising buckets"),
            active: IntGauge::new("darwinlm_reconcile_active", "Reconciles at work now.")
                .expect("a name"),
            agenda: Agenda::default(),
            waiting: IntGauge::new(
                "darwinlm_reconcile_waiting",
                "Runs whose reconcile is due and has not begun.",
            )
            .expect("a name"),
            waits: Histogram::with_opts(
                HistogramOpts::new(
                    "darwinlm_reconcile_wait_seconds",
                    "For how long reconciles were due when they began, in seconds.",
                )
                .buckets(vec![
                    0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0, 300.0,
                ]),
            )
            .expect("a name and rising buckets"),
            watch_errors: IntCounter::new(
                "darwinlm_watch_errors_total",
                "Watches of runs, Jobs or pods that broke and were tried again.",
            )
            .expect("a name"),
            api_requests: IntCounterVec::new(
                Opts::new(
                    "darwinlm_api_requests_total",
                    "Requests to the API server, by verb and by the code of the answer.",
                ),
                &["verb", "code"],
            )
            .expect("a name and labels"),
            leader: IntGauge::new(
                "darwinlm_leader",
                "1 while this operator may write: it holds the lease, or is the only one.",
            )
            .expect("a name"),
            lease_transitions: IntGauge::new(
                "darwinlm_lease_transitions",
                "How often the lease has changed hands, as this operator saw it last.",
            )
            .expect("a name"),
            missing_fields: IntGauge::new(
                "darwinlm_definition_missing_fields",
                "Fields that this operator knows and the installed definition of runs does not.",
            )
            .expect("a name"),
        };
        let build_info = IntGaugeVec::new(
            Opts::new(
                "darwinlm_build_info",
                "1, labelled with the operator's version.",
            ),
            &["version"],
        )
        .expect("a name and a label");
        build_info
            .with_label_values(&[env!("CARGO_PKG_VERSION")])
            .set(1);
        for result in ["success", "error"] {
            metrics.reconciles.with_label_values(&[result]);
        }
        let mut register = |collector: Box<dyn Collector>| {
            tell(&*collector);
            metrics
                .registry
                .register(collector)
                .expect("each series is registered once");
        };
        register(Box::new(build_info));
        register(Box::new(metrics.reconciles.clone()));
        register(Box::new(metrics.errors.clone()));
        register(Box::new(metrics.duration.clone()));
        register(Box::new(metrics.active.clone()));
        register(Box::new(metrics.waiting.clone()));
        register(Box::new(metrics.waits.clone()));
        register(Box::new(metrics.watch_errors.clone()));
        register(Box::new(metrics.api_requests.clone()));
        register(Box::new(metrics.leader.clone()));
        register(Box::new(metrics.lease_transitions.clone()));
        register(Box::new(metrics.missing_fields.clone()));
        metrics
    }

    /// Notes that a reconcile starts; the guard notes that it has ended, also when it is dropped.
    pub fn reconcile(&self) -> ActiveReconcile {
        self.active.inc();
        ActiveReconcile(self.active.clone())
    }

    /// Notes how a reconcile ended: `kind` is the error's, if it failed.
    pub fn reconciled(&self, kind: Option<&'static str>, took: Duration) {
        self.duration.observe(took.as_secs_f64());
        let result = if kind.is_some() { "error" } else { "success" };
        self.reconciles.with_label_values(&[result]).inc();
        if let Some(kind) = kind {
            self.errors.with_label_values(&[kind]).inc();
        }
    }

    /// Notes that a look at a run is asked for at a time, now or later, which is debounced.
    pub fn look_is_asked_for(&self, run: Key, at: Instant, debounce: Duration) {
        self.agenda.asks(run, at, debounce);
    }

    /// Notes that a look at a run begins, by a leader or not.
    pub fn look_begins(&self, run: &Key) {
        if let Some(waited) = self.agenda.begins(run, Instant::now()) {
            self.waits.observe(waited.as_secs_f64());
        }
    }

    /// Notes that a look that was asked for does not take place.
    pub fn no_look(&self, run: &Key) {
        self.agenda.forget(run);
    }

    /// Notes that all other runs are gone.
    pub fn only_these_runs_ask(&self, runs: &HashSet<Key>) {
        self.agenda.keep_only(runs);
    }

    /// Notes that a watch broke.
    pub fn watch_broke(&self) {
        self.watch_errors.inc();
    }

    /// Counts what passes through a client's service.
    pub fn count_requests(&self) -> CountLayer {
        CountLayer(self.api_requests.clone())
    }

    /// Notes whether this operator may write now.
    pub fn leads(&self, leads: bool) {
        self.leader.set(leads.into());
    }

    /// Notes how often the lease has changed hands.
    pub fn lease_transitions(&self, transitions: i32) {
        self.lease_transitions.set(transitions.into());
    }

    /// Notes how many fields the installed definition lacks.
    pub fn missing_fields(&self, fields: usize) {
        self.missing_fields
            .set(i64::try_from(fields).expect("a definition has few fields"));
    }

    /// Everything in Prometheus' text format, with the series of these runs.
    pub fn text(&self, runs: &[Arc<PruningRun>]) -> String {
        let waiting = i64::try_from(self.agenda.waiting(Instant::now()));
        self.waiting.set(waiting.expect("runs fit in memory"));
        let mut families = self.registry.gather();
        families.extend(runs::families(runs));
        families.sort_by(|a, b| a.name().cmp(b.name()));
        let mut text = Vec::new();
        TextEncoder::new()
            .encode(&families, &mut text)
            .expect("memory takes everything, and every family has a series");
        String::from_utf8(text).expect("names and labels are text")
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

/// A reconcile at work.
#[derive(Debug)]
pub struct ActiveReconcile(IntGauge);

impl Drop for ActiveReconcile {
    fn drop(&mut self) {
        self.0.dec();
    }
}

#[cfg(test)]
mod names;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_operators_own_series_are_these() {
        let metrics = Metrics::new();
        metrics.reconciled(Some("observe"), Duration::from_millis(3));
        metrics.watch_broke();
        metrics
            .api_requests
            .with_label_values(&["get", "200"])
            .inc();
        let text = metrics.text(&[]);
        let names: Vec<&str> = text
            .lines()
            .filter_map(|line| line.strip_prefix("# TYPE "))
            .collect();
        assert_eq!(
            names,
            [
                "darwinlm_api_requests_total counter",
                "darwinlm_build_info gauge",
                "darwinlm_definition_missing_fields gauge",
                "darwinlm_leader gauge",
                "darwinlm_lease_transitions gauge",
                "darwinlm_reconcile_active gauge",
                "darwinlm_reconcile_duration_seconds histogram",
                "darwinlm_reconcile_errors_total counter",
                "darwinlm_reconcile_total counter",
                "darwinlm_reconcile_wait_seconds histogram",
                "darwinlm_reconcile_waiting gauge",
                "darwinlm_watch_errors_total counter",
            ]
        );
        assert!(
            text.contains("darwinlm_reconcile_total{result=\"error\"} 1"),
            "{text}"
        );
        assert!(
            text.contains("darwinlm_reconcile_total{result=\"success\"} 0"),
            "{text}"
        );
        assert!(
            text.contains("darwinlm_reconcile_errors_total{kind=\"observe\"} 1"),
            "{text}"
        );
    }

    #[test]
    fn a_run_waits_until_its_look_begins() {
        let metrics = Metrics::new();
        let key = |name: &str| ("n".to_owned(), name.to_owned());
        let long_ago = Instant::now() - Duration::from_secs(2);
        for name in ["a", "b", "c"] {
            metrics.look_is_asked_for(key(name), long_ago, Duration::ZERO);
        }
        assert!(metrics.text(&[]).contains("darwinlm_reconcile_waiting 3"));
        metrics.look_begins(&key("a"));
        metrics.no_look(&key("b"));
        let text = metrics.text(&[]);
        assert!(text.contains("darwinlm_reconcile_waiting 1"), "{text}");
        for line in [
            r#"darwinlm_reconcile_wait_seconds_bucket{le="1"} 0"#,
            r#"darwinlm_reconcile_wait_seconds_bucket{le="5"} 1"#,
        ] {
            assert!(text.contains(line), "{text}");
        }
    }

    #[test]
    fn a_reconcile_is_active_until_its_guard_is_dropped() {
        let metrics = Metrics::new();
        let guard = metrics.reconcile();
        assert!(metrics.text(&[]).contains("darwinlm_reconcile_active 1"));
        drop(guard);
        assert!(metrics.text(&[]).contains("darwinlm_reconcile_active 0"));
    }
}
