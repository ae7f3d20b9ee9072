//! Asking a worker how far it is.

use std::time::{Duration, Instant};

use darwinlm_task::TaskReport;

use super::job::LocalJob;

/// Pause between two questions.
const EVERY: Duration = Duration::from_millis(1000);
/// A worker that computes may take a moment; the run does not wait longer.
const PATIENCE: Duration = Duration::from_millis(500);

/// Asks one worker of the live Job every second: all say the same of the same ledger.
#[derive(Debug)]
pub(super) struct Poll {
    client: reqwest::Client,
    asked: Option<Instant>,
}

impl Poll {
    pub(super) fn new() -> Self {
        Self {
            client: crate::progress_client::progress_client(),
            asked: None,
        }
    }

    /// Asks, if it is time, and keeps the answer with its Job.
    pub(super) async fn poll(&mut self, jobs: &mut [LocalJob]) {
        if self.asked.is_some_and(|asked| asked.elapsed() < EVERY) {
            return;
        }
        for job in jobs {
            let Some(address) = job.addresses().next() else {
                continue;
            };
            self.asked = Some(Instant::now());
            let report = self.ask(&address).await;
            if let Some(report) = report.filter(|report| job.is_ours(report)) {
                job.progress = Some(report);
            }
        }
    }

    /// A worker that does not answer is one that ends, starts, or computes: ask again later.
    async fn ask(&self, address: &str) -> Option<TaskReport> {
        let url = format!("http://{address}/progress");
        let answer = self.client.get(url).timeout(PATIENCE).send().await.ok()?;
        serde_json::from_str(&answer.text().await.ok()?).ok()
    }
}
