//! What `darwinlm plan` asks the runner, and what the runner answers: a run's cost before it is run.

use serde::{Deserialize, Serialize};

use crate::{DeviceClass, DeviceRequest, Dtype, Task, TaskKind};

/// Version of a table of rates.
pub const RATES_VERSION: u32 = 1;

/// A run to forecast.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ForecastRequest {
    /// The run's tasks, in order.
    pub chain: Vec<Task>,
    /// The device that the run computes on.
    pub device: DeviceRequest,
    /// Workers that share building the database.
    pub pruning_workers: u32,
    /// Workers that share the search.
    pub search_workers: u32,
    /// Generations that one Job runs.
    pub generations_per_job: u32,
    /// Numbers of workers to forecast besides the run's own.
    pub workers: Vec<u32>,
    /// Bytes of memory that a worker has, if they are known: a device's, or on the CPU a pod's.
    pub memory: Option<u64>,
    /// What was measured before; without, it is measured here.
    pub rates: Option<Rates>,
}

/// How fast a device does what a run is made of: a short table, measured in a minute.
///
/// Rates of computing are floating-point operations a second, counted as [`Forecast`] counts them,
/// so that a table of one model serves for another. It serves best for the shape that it was
/// measured on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Rates {
    /// Version of this format.
    pub version: u32,
    /// The device's name.
    pub device: String,
    /// Its class.
    pub device_class: DeviceClass,
    /// The type of forward and backward passes.
    pub dtype: Dtype,
    /// Threads of one operation.
    pub threads: u32,
    /// Bytes of memory that the device has, where it says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<u64>,
    /// What was measured on, in words.
    pub measured_on: String,
    /// Forward passes of transformer blocks.
    pub forward: f64,
    /// Two output matrices, their log-probabilities and the KL between them.
    pub score: f64,
    /// Forward and backward passes of blocks.
    pub train: f64,
    /// Forward and backward passes of the output matrix.
    pub train_output: f64,
    /// Parameters that the optimizer moves, a second.
    pub optimizer: f64,
    /// Products that Hessians are sums of, with the passes of their blocks.
    pub hessian: f64,
    /// Pruning of an attention module to all levels.
    pub prune_attention: f64,
    /// Pruning of an MLP to all levels.
    pub prune_mlp: f64,
    /// Bytes of weights copied a second, as a candidate is assembled.
    pub copy: f64,
    /// Bytes read from this machine and checked against their digest, a second.
    pub read: f64,
    /// Seconds from a process's start until its device is open.
    pub start_seconds: f64,
}

/// What a run will come to, if nothing fails.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Forecast {
    /// Transformer blocks.
    pub blocks: u32,
    /// Parameters of the dense model.
    pub dense_parameters: u64,
    /// Parameters of the model that the search starts with.
    pub target_parameters: u64,
    /// How much searching there is.
    pub search: SearchForecast,
    /// Bytes of memory that a worker has, if they are known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_available: Option<u64>,
    /// The most memory that a worker of each task holds at once.
    pub memory: Vec<MemoryForecast>,
    /// What the store will hold.
    pub storage: Vec<StorageForecast>,
    /// The rates that all times follow from.
    pub rates: Rates,
    /// Times with the run's own workers, then with each number that was asked for.
    pub times: Vec<TimeForecast>,
}

/// How much searching there is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SearchForecast {
    /// Generations.
    pub generations: u32,
    /// Candidates of each selection step of a generation.
    pub candidates: Vec<u32>,
    /// Trials in all.
    pub trials: u64,
    /// Tokens that all candidates together are trained on.
    pub tokens_trained: u64,
    /// Tokens that all candidates together are scored on, survivors on the validation slice included.
    pub tokens_scored: u64,
}

/// The memory of one task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MemoryForecast {
    /// The task.
    pub task: TaskKind,
    /// Bytes.
    pub bytes: u64,
    /// Where it does not fit: what would.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub does_not_fit: Option<String>,
}

/// Something that the store will hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StorageForecast {
    /// What it is.
    pub what: String,
    /// Bytes.
    pub bytes: u64,
    /// Whether runs of the same model, data and settings share it.
    pub shared: bool,
}

/// How long a run takes with so many workers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TimeForecast {
    /// Workers that share building the database.
    pub pruning_workers: u32,
    /// Workers that share the search.
    pub search_workers: u32,
    /// Each task that holds devices, in order.
    pub tasks: Vec<TaskTime>,
}

/// How long one task takes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TaskTime {
    /// The task.
    pub task: TaskKind,
    /// Its workers.
    pub workers: u32,
    /// Seconds from its first worker's start to its last one's end.
    pub seconds: f64,
    /// Of all workers' seconds together those that nothing is computed in: starting, and waiting for
    /// others.
    pub idle_seconds: f64,
}

impl TimeForecast {
    /// Seconds from the first task's start to the last one's end, without what is between them.
    pub fn seconds(&self) -> f64 {
        self.tasks.iter().map(|task| task.seconds).sum()
    }

    /// Seconds that all workers together hold their devices.
    pub fn device_seconds(&self) -> f64 {
        self.tasks.iter().map(TaskTime::device_seconds).sum()
    }
}

impl TaskTime {
    /// Seconds that its workers together hold their devices.
    pub fn device_seconds(&self) -> f64 {
        self.seconds * f64::from(self.workers)
    }
}
