//! What is known when it is asked for: memory, and what the store counts.

use darwinlm_store::Tally;
use prometheus::{
    IntCounter, IntCounterVec, IntGauge, Opts, Registry, core::Collector, proto::MetricFamily,
};

use crate::device::Held;
use crate::process::Resident;

/// As it is now. What nobody knows has no series.
#[derive(Clone, Copy, Debug)]
pub(super) struct Now {
    pub(super) held: Option<Held>,
    pub(super) resident: Option<Resident>,
    pub(super) tally: Tally,
}

impl Now {
    pub(super) fn families(self) -> Vec<MetricFamily> {
        let registry = Registry::new();
        for collector in self.collectors() {
            let registered = registry.register(collector);
            registered.expect("each name is registered once");
        }
        registry.gather()
    }

    /// One where everything is known.
    pub(super) fn in_full() -> Self {
        Self {
            held: Some(Held { now: 0, most: 0 }),
            resident: Some(Resident { now: 0, most: 0 }),
            tally: Tally::default(),
        }
    }

    pub(super) fn collectors(self) -> Vec<Box<dyn Collector>> {
        let mut all = Vec::new();
        let Self {
            held,
            resident,
            tally,
        } = self;
        if let Some(Held { now, most }) = held {
            let name = "darwinlm_worker_device_memory_bytes";
            all.push(gauge(name, "Bytes of tensors on the device.", now));
            let name = "darwinlm_worker_device_memory_peak_bytes";
            let help = "The most bytes of tensors on the device at one time so far.";
            all.push(gauge(name, help, most));
        }
        if let Some(Resident { now, most }) = resident {
            let name = "darwinlm_worker_resident_memory_bytes";
            let help = "Bytes of memory that the process holds, mapped files included.";
            all.push(gauge(name, help, now));
            let name = "darwinlm_worker_resident_memory_peak_bytes";
            let help = "The most bytes of memory that the process held at one time so far.";
            all.push(gauge(name, help, most));
        }
        all.extend(counters(tally));
        all
    }
}

fn counters(tally: Tally) -> Vec<Box<dyn Collector>> {
    let Tally {
        claims_first,
        claims_again,
        claims_lost,
        errors,
        retries,
    } = tally;
    let claims = IntCounterVec::new(
        Opts::new(
            "darwinlm_worker_claims_total",
            "Claims that this worker took, by attempt: first, or again where one was not finished.",
        ),
        &["attempt"],
    )
    .expect("a name and a label");
    claims.with_label_values(&["first"]).inc_by(claims_first);
    claims.with_label_values(&["again"]).inc_by(claims_again);
    let mut all: Vec<Box<dyn Collector>> = vec![Box::new(claims)];
    for (name, help, value) in [
        (
            "darwinlm_worker_claims_lost_total",
            "Claims of this worker that another is known to have taken over.",
            claims_lost,
        ),
        (
            "darwinlm_worker_store_errors_total",
            "Answers of the store that were errors.",
            errors,
        ),
        (
            "darwinlm_worker_store_retries_total",
            "Writes to the store that were done again after an error.",
            retries,
        ),
    ] {
        let counter = IntCounter::new(name, help).expect("a name");
        counter.inc_by(value);
        all.push(Box::new(counter));
    }
    all
}

fn gauge(name: &str, help: &str, bytes: u64) -> Box<dyn Collector> {
    let gauge = IntGauge::new(name, help).expect("a name");
    gauge.set(i64::try_from(bytes).expect("no machine has that much memory"));
    Box::new(gauge)
}
