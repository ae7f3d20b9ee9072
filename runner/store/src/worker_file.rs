//! `workers/<worker>.json`: where one worker's seconds went, and their sum over all workers.

use darwinlm_task::paths::RunPaths;
use darwinlm_task::{DeviceClass, GpuSeconds};
use serde::{Deserialize, Serialize};

use crate::{Store, StoreError};

/// One worker's own account, rewritten at each of its beats.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WorkerFile {
    /// The worker's name.
    pub worker: String,
    /// When it started, in seconds since 1970, by its own clock. For people: nothing compares it.
    pub started_unix_seconds: u64,
    /// What it computed on, once it has.
    pub device: Option<DeviceClass>,
    /// From the process's start to its first unit of work.
    pub starting_seconds: f64,
    /// Computing what was kept.
    pub useful_seconds: f64,
    /// Waiting for other workers.
    pub waiting_seconds: f64,
    /// Computing what was thrown away.
    pub lost_seconds: f64,
    /// Computing what is neither kept nor lost yet. A vanished worker leaves it so.
    pub in_flight_seconds: f64,
    /// Its trials.
    pub trials: WorkerTrials,
    /// Tokens trained on, in trials of its own.
    pub tokens_trained: u64,
    /// Tokens scored on, in trials of its own.
    pub tokens_scored: u64,
}

/// What became of a worker's trials.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WorkerTrials {
    /// Scored.
    pub done: u64,
    /// Not finite.
    pub failed: u64,
    /// Ended in an exception.
    pub exceptions: u64,
    /// Begun although another attempt had begun before.
    pub repeated: u64,
}

impl WorkerFile {
    /// The account of a worker that starts now, going on from its earlier one of the same name:
    /// what was in flight then is lost.
    pub(crate) fn starting(worker: &str, earlier: Option<Self>) -> Self {
        let mut file = earlier.unwrap_or_default();
        file.worker = worker.to_owned();
        file.lost_seconds += std::mem::take(&mut file.in_flight_seconds);
        file.started_unix_seconds = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .map_or(0, |since| since.as_secs());
        file
    }
}

/// The accounts of all workers of a run, by name.
///
/// # Errors
/// What the store answers, or when a file cannot be read.
pub async fn read_workers(store: &Store, paths: &RunPaths) -> Result<Vec<WorkerFile>, StoreError> {
    let mut files = Vec::new();
    for key in store.list(&format!("{}/workers", paths.prefix())).await? {
        // Listed is not yet there: a folder's list shows files that are being replaced.
        if let Some(bytes) = store.get_if_exists(&key).await? {
            let file = serde_json::from_slice(&bytes);
            files.push(file.map_err(|error| store.malformed(&key, error))?);
        }
    }
    Ok(files)
}

/// Adds the accounts up. Seconds in flight are useful until the work is over; those that are still
/// in flight then belong to workers that vanished.
pub fn sum_workers(files: &[WorkerFile], is_over: bool) -> GpuSeconds {
    let sum = |seconds: fn(&WorkerFile) -> f64| files.iter().map(seconds).sum::<f64>();
    let in_flight = sum(|file| file.in_flight_seconds);
    let (useful, lost) = if is_over {
        (0.0, in_flight)
    } else {
        (in_flight, 0.0)
    };
    GpuSeconds {
        useful: whole(useful + sum(|file| file.useful_seconds)),
        starting: whole(sum(|file| file.starting_seconds)),
        waiting: whole(sum(|file| file.waiting_seconds)),
        lost: whole(lost + sum(|file| file.lost_seconds)),
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "`as` saturates"
)]
fn whole(seconds: f64) -> u64 {
    seconds.round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_in_flight_are_useful_until_the_work_is_over() {
        let file = WorkerFile {
            useful_seconds: 10.4,
            in_flight_seconds: 5.0,
            lost_seconds: 1.0,
            ..WorkerFile::default()
        };
        let files = [file.clone(), file.clone()];
        let sum = sum_workers(&files, false);
        assert_eq!((sum.useful, sum.lost), (31, 2));
        let sum = sum_workers(&files, true);
        assert_eq!((sum.useful, sum.lost), (21, 12));
        let again = WorkerFile::starting("a", Some(file));
        assert_eq!((again.lost_seconds, again.in_flight_seconds), (6.0, 0.0));
    }
}
