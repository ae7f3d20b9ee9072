//! What a worker says while it works: one `TaskReport` that every part adds to.

use std::sync::Arc;
use std::time::{Duration, Instant};

use darwinlm_task::{Progress, TaskReport};
use tokio::sync::watch;

/// How often a progress line is logged at most.
const LOG_EVERY: Duration = Duration::from_secs(5);

/// A handle on the worker's report; cheap to clone, safe to use from any thread.
#[derive(Clone, Debug)]
pub struct Reporter {
    report: Arc<watch::Sender<TaskReport>>,
    last_logged: Arc<std::sync::Mutex<Option<Instant>>>,
}

impl Reporter {
    /// Starts with a report that says who is at work on what.
    pub fn new(report: TaskReport) -> Self {
        Self {
            report: Arc::new(watch::Sender::new(report)),
            last_logged: Arc::new(std::sync::Mutex::new(None)),
        }
    }

    /// The report as it stands.
    pub fn current(&self) -> TaskReport {
        self.report.borrow().clone()
    }

    /// Changes the report, and logs a line for readers of the pod's log when it is time.
    pub fn update(&self, change: impl FnOnce(&mut TaskReport)) {
        self.report.send_modify(change);
        let mut last = self
            .last_logged
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if last.is_none_or(|at| at.elapsed() >= LOG_EVERY) {
            *last = Some(Instant::now());
            drop(last);
            self.log();
        }
    }

    /// Says how far the task is.
    pub fn progress(&self, done: u64, total: u64, unit: &str) {
        self.update(|report| {
            report.progress = Some(Progress {
                done,
                total,
                unit: unit.to_owned(),
            });
        });
    }

    /// Logs the whole report as one structured line: where the pod network refuses, the operator
    /// reads it through `pods/log`.
    pub fn log(&self) {
        let report = self.current();
        let progress = report.progress.as_ref();
        tracing::info!(
            task = %report.task,
            done = progress.map(|p| p.done),
            total = progress.map(|p| p.total),
            unit = progress.map(|p| p.unit.as_str()),
            progress_report = report.to_json(),
            "the task goes on"
        );
    }
}
