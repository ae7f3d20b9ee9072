//! `workers/<worker>.json`: where one worker's seconds went, and their sum over all workers.

use darwinlm_task::paths::RunPaths;
use darwinlm_task::{DeviceClass, GpuSeconds, TaskKind};
use serde::{Deserialize, Serialize};

use crate::{Store, StoreError};

/// One worker's own account, rewritten at each of its beats. Seconds are of devices: those of a worker
/// with two count twice.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WorkerFile {
    /// The worker's name.
    pub worker: String,
    /// What it works on.
    pub task: Option<TaskKind>,
    /// Devices that it holds.
    pub devices: u32,
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
    pub(crate) fn starting(
        worker: &str,
        task: TaskKind,
        devices: u32,
        earlier: Option<Self>,
    ) -> Self {
        let mut file = earlier.unwrap_or_default();
        file.worker = worker.to_owned();
        file.task = Some(task);
        file.devices = devices;
        file.lost_seconds += std::mem::take(&mut file.in_flight_seconds);
        file.started_unix_seconds = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .map_or(0, |since| since.as_secs());
        file
    }

    /// Everything in it: the device time from the process's start to the last beat.
    pub fn seconds(&self) -> f64 {
        self.starting_seconds
            + self.useful_seconds
            + self.waiting_seconds
            + self.lost_seconds
            + self.in_flight_seconds
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

/// Adds the accounts up. Seconds in flight are useful as long as their task is at work; those of other
/// tasks belong to workers that vanished.
pub fn sum_workers(files: &[WorkerFile], at_work: Option<TaskKind>) -> GpuSeconds {
    let sum = |seconds: fn(&WorkerFile) -> f64| files.iter().map(seconds).sum::<f64>();
    let in_flight = |is_at_work: bool| {
        let is_so = |file: &&WorkerFile| (at_work.is_some() && file.task == at_work) == is_at_work;
        let of_these = files.iter().filter(is_so);
        of_these.map(|file| file.in_flight_seconds).sum::<f64>()
    };
    let (useful, lost) = (in_flight(true), in_flight(false));
    GpuSeconds {
        useful: whole(useful + sum(|file| file.useful_seconds)),
        starting: whole(sum(|file| file.starting_seconds)),
        waiting: whole(sum(|file| file.waiting_seconds)),
        lost: whole(lost + sum(|file| file.lost_seconds)),
    }
}

/// Device time of all workers together, whatever it went into.
pub fn spent_milliseconds(files: &[WorkerFile]) -> u64 {
    let seconds: f64 = files.iter().map(WorkerFile::seconds).sum();
    whole(seconds * 1000.0)
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
            task: Some(TaskKind::Search),
            useful_seconds: 10.4,
            in_flight_seconds: 5.0,
            lost_seconds: 1.0,
            ..WorkerFile::default()
        };
        let files = [file.clone(), file.clone()];
        let sum = sum_workers(&files, Some(TaskKind::Search));
        assert_eq!((sum.useful, sum.lost), (31, 2));
        // Also once the next task is at work.
        for at_work in [None, Some(TaskKind::PostTrain)] {
            let sum = sum_workers(&files, at_work);
            assert_eq!((sum.useful, sum.lost), (21, 12));
        }
        assert_eq!(spent_milliseconds(&files), 32_800);
        let again = WorkerFile::starting("a", TaskKind::Search, 1, Some(file));
        assert_eq!((again.lost_seconds, again.in_flight_seconds), (6.0, 0.0));
    }
}
