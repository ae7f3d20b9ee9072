#![doc = include_str!("../README.md")]

mod exit;
mod forecast;
mod latency;
mod numerics;
pub mod paths;
mod plan;
mod report;
mod schema;
mod spec;

pub use exit::ExitCode;
pub use forecast::{
    Forecast, ForecastRequest, MemoryForecast, RATES_VERSION, Rates, SearchForecast,
    StorageForecast, TaskTime, TimeForecast,
};
pub use latency::{ForwardPass, LATENCY_VERSION, LatencyRecord, StoredLatency};
pub use numerics::{DeviceClass, DeviceRequest, Dtype, NumericsPlan, OptimizerPrecision};
pub use plan::{Fetched, Plan, PlannedTokens, TOKENS_VERSION, TokenSlice};
pub use report::{
    DatabaseReport, EvaluationReport, ExportReport, FailureReason, GpuSeconds, LatencyReport,
    Measured, MeasuredReport, Memory, ModelLatency, ModelReport, Outcome, PreparedReport, Progress,
    REPORT_LIMIT_BYTES, SearchReport, Spread, SurvivorReport, TaskReport, TrainingReport,
    TrialCounts,
};
pub use schema::schemas;
pub use spec::{
    DataSpec, EvaluationSpec, ExportFormat, ExportSpec, LatencyWorkload, PostTrainingSpec,
    PruningSpec, QueryHeadLayout, RunIdentity, SearchSettings, SliceSpec, Spacing, TARGET_HELP,
    TargetSpec, Task, TaskKind, TaskSpec, TaskSpecError, TextSource, VERSION,
};

/// What stands before the name of a variable that is meant for sources alone, such as
/// `DARWINLM_SOURCE_HF_TOKEN`: in a pod of `prepare` the Secret of the sources comes so.
pub const SOURCE_PREFIX: &str = "DARWINLM_SOURCE_";
/// Environment variable that carries the [`TaskSpec`] as JSON.
pub const ENV_TASK: &str = "DARWINLM_TASK";
/// Environment variable that names the file the final [`TaskReport`] is written to.
pub const ENV_REPORT: &str = "DARWINLM_REPORT";
/// Where the final report goes in a pod, if [`ENV_REPORT`] is unset.
pub const DEFAULT_REPORT: &str = "/dev/termination-log";
/// Environment variable that holds the address to serve progress, metrics and health on.
pub const ENV_LISTEN: &str = "DARWINLM_LISTEN";
/// The address served in a pod, if [`ENV_LISTEN`] is unset.
pub const DEFAULT_LISTEN: &str = "0.0.0.0:9090";
/// Environment variable that names this worker: the pod's UID, or a local process's name.
pub const ENV_WORKER: &str = "DARWINLM_WORKER";
/// Environment variable that names the runner binary for the local backend.
pub const ENV_RUNNER: &str = "DARWINLM_RUNNER";
/// Environment variable that names a PEM file with the certificates of the authorities that the
/// addresses of buckets are checked against, beside those that the machine trusts.
pub const ENV_CA_BUNDLE: &str = "DARWINLM_CA_BUNDLE";
/// Environment variable that names a folder for files fetched from a remote store.
pub const ENV_CACHE: &str = "DARWINLM_CACHE";
