//! The six steps from a run as it stands to a run one step further.

pub mod apply;
pub mod build;
pub mod cache;
pub mod decide;
mod devices;
pub mod expiry;
pub mod farewell;
pub mod finalizer;
pub mod made_from;
pub mod memory;
mod next_look;
pub mod observe;
pub mod observed;
pub mod queue;
mod reconcile;
mod refusal;
mod said;
pub mod seen;
pub mod update_status;
pub mod validate;
mod watch;
pub(crate) mod words;

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
    time::Duration,
};

use kube::{Client, runtime::events::Recorder};

use crate::metrics::Metrics;
pub use build::WorkerImage;
use cache::Caches;
use memory::Memory;
pub use watch::run;

/// How often and how many at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Runs reconciled at the same time.
    pub concurrency: u16,
    /// Between two looks at a run whose workers are at work.
    pub poll: Duration,
    /// Between two writes of a status that only tell progress.
    pub status: Duration,
    /// Workers that get no further for so long have stalled.
    pub stall: Duration,
    /// How long a deleted run is held back until its prefix is removed.
    pub clean_up: Duration,
}

/// What every reconcile uses.
pub struct Context {
    client: Client,
    http: reqwest::Client,
    recorder: Recorder,
    metrics: Metrics,
    memory: Memory,
    caches: Arc<Caches>,
    worker_image: WorkerImage,
    limits: Limits,
}

/// A run could not be taken a step further; it is tried again.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Its Jobs and pods cannot be seen.
    #[error("failed to see what there is of the run")]
    Observe(#[from] observe::Error),
    /// An action failed.
    #[error("failed to carry out what was decided")]
    Apply(#[from] apply::Error),
    /// The status cannot be written.
    #[error("failed to say what was done")]
    UpdateStatus(#[from] update_status::Error),
    /// The run cannot be held back or let go.
    #[error("failed to hold the run back or let it go")]
    Finalizer(#[from] finalizer::Error),
    /// A run whose time is over cannot be deleted.
    #[error("failed to delete the run, whose time after its end is over")]
    Expire(#[source] kube::Error),
    /// All six steps together took too long.
    #[error("gave up after {} s: the API server hardly answers", .0.as_secs())]
    Deadline(Duration),
    /// One of the six steps panicked: a bug of ours, told with its words.
    #[error("the look at the run panicked: {0}")]
    Panicked(String),
}

impl Error {
    /// For metrics.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Observe(_) => "observe",
            Self::Apply(error) => error.kind(),
            Self::UpdateStatus(_) => "update_status",
            Self::Finalizer(_) => "finalizer",
            Self::Expire(_) => "expire",
            Self::Deadline(_) => "deadline",
            Self::Panicked(_) => "panicked",
        }
    }
}

impl Context {
    /// Puts together what every reconcile uses; `instance` names this process in events.
    pub fn new(
        client: Client,
        instance: Option<String>,
        metrics: Metrics,
        worker_image: WorkerImage,
        limits: Limits,
    ) -> Self {
        let reporter = kube::runtime::events::Reporter {
            controller: crate::names::MANAGER.to_owned(),
            instance,
        };
        Self {
            recorder: Recorder::new(client.clone(), reporter),
            client,
            http: crate::progress_client::progress_client(),
            metrics,
            memory: Memory::default(),
            caches: Arc::default(),
            worker_image,
            limits,
        }
    }
}

/// How long to wait after so many failures in a row: from 1 s, doubling, to 5 minutes, and up to a
/// quarter more, so that runs that failed together do not come back together.
fn backoff(failures: u32, uid: &str) -> Duration {
    const FIRST: Duration = Duration::from_secs(1);
    const LONGEST: Duration = Duration::from_secs(300);
    let doubled = 2_u32.saturating_pow(failures.saturating_sub(1).min(16));
    let wait = FIRST.saturating_mul(doubled).min(LONGEST);
    let mut hasher = DefaultHasher::new();
    (uid, failures).hash(&mut hasher);
    let thousandths = u32::try_from(hasher.finish() % 250).expect("less than 250");
    wait + wait * thousandths / 1000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_waited_for_longer_and_longer_up_to_a_cap() {
        let waits: Vec<_> = (1..=20)
            .map(|failures| backoff(failures, "a").as_secs_f64())
            .collect();
        assert!((1.0..1.25).contains(&waits[0]), "{waits:?}");
        assert!((4.0..5.0).contains(&waits[2]), "{waits:?}");
        assert!(waits.iter().all(|wait| *wait < 375.0), "{waits:?}");
        assert!(waits[19] >= 300.0, "{waits:?}");
    }

    #[test]
    fn runs_that_failed_together_do_not_come_back_together() {
        assert_ne!(backoff(5, "a"), backoff(5, "b"));
        assert_eq!(backoff(5, "a"), backoff(5, "a"));
    }
}
