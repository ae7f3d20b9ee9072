//! What a worker says while it works: one `TaskReport` that every part adds to.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use darwinlm_task::{Outcome, Progress, TaskReport};
use tokio::sync::watch;

/// How often a progress line is logged at most.
const LOG_EVERY: Duration = Duration::from_secs(5);

/// A handle on the worker's report; cheap to clone, safe to use from any thread.
#[derive(Clone, Debug)]
pub struct Reporter {
    report: Arc<watch::Sender<TaskReport>>,
    last_logged: Arc<Mutex<Option<Instant>>>,
    moved: Arc<Mutex<Instant>>,
}

impl Reporter {
    /// Starts with a report that says who is at work on what.
    pub fn new(report: TaskReport) -> Self {
        Self {
            report: Arc::new(watch::Sender::new(report)),
            last_logged: Arc::new(Mutex::new(None)),
            moved: Arc::new(Mutex::new(Instant::now())),
        }
    }

    /// The report as it stands.
    pub fn current(&self) -> TaskReport {
        let mut report = self.report.borrow().clone();
        if report.outcome == Outcome::Running {
            let still = locked(&self.moved).elapsed().as_secs();
            report.still_seconds = u32::try_from(still).unwrap_or(u32::MAX);
        }
        report
    }

    /// Notes that the worker got further, within what the report counts.
    pub fn moved(&self) {
        *locked(&self.moved) = Instant::now();
    }

    /// Changes the report, and logs a line for readers of the pod's log when it is time.
    ///
    /// Device time passes by itself; a report that says anything else than before tells that the
    /// worker got further.
    pub fn update(&self, change: impl FnOnce(&mut TaskReport)) {
        let mut before = self.report.borrow().clone();
        self.report.send_modify(change);
        before.gpu_seconds = self.report.borrow().gpu_seconds;
        if before != *self.report.borrow() {
            self.moved();
        }
        let mut last = locked(&self.last_logged);
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

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use darwinlm_task::{GpuSeconds, RunIdentity, TaskKind};

    use super::*;

    fn reporter_that_stood_still_for(seconds: u64) -> Reporter {
        let run = RunIdentity {
            namespace: "n".to_owned(),
            name: "r".to_owned(),
            uid: "u".to_owned(),
        };
        let reporter = Reporter::new(TaskReport::running(&run, "w", TaskKind::Search));
        *locked(&reporter.moved) = Instant::now() - Duration::from_secs(seconds);
        reporter
    }

    #[test]
    fn device_time_alone_is_no_progress() {
        let reporter = reporter_that_stood_still_for(100);
        let seconds = GpuSeconds {
            useful: 7,
            ..GpuSeconds::default()
        };
        reporter.update(|report| report.gpu_seconds = Some(seconds));
        assert_eq!(reporter.current().still_seconds, 100);
        reporter.progress(1, 2, "trials");
        assert_eq!(reporter.current().still_seconds, 0);
    }

    #[test]
    fn the_same_progress_again_is_none() {
        let reporter = reporter_that_stood_still_for(0);
        reporter.progress(1, 2, "trials");
        *locked(&reporter.moved) = Instant::now() - Duration::from_secs(100);
        reporter.progress(1, 2, "trials");
        assert_eq!(reporter.current().still_seconds, 100);
        reporter.moved();
        assert_eq!(reporter.current().still_seconds, 0);
    }

    #[test]
    fn a_worker_that_has_ended_stands_still_no_longer() {
        let reporter = reporter_that_stood_still_for(0);
        reporter.update(|report| report.outcome = Outcome::Done);
        *locked(&reporter.moved) = Instant::now() - Duration::from_secs(100);
        assert_eq!(reporter.current().still_seconds, 0);
    }
}
