//! What the operator says of a run; display and history, never input to a decision but its own.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use crate::pod_fields;

/// Levels of a genome: one base-36 character per module.
const LEVELS: &str = "^[0-9a-z]*$";

/// A measured number as text. Rounding may leave a KL of zero slightly negative and a hopeless
/// model's perplexity infinite; neither may keep the status from being written.
const MEASURED: &str = r"^(-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?|inf)$";

/// What the operator says of a run.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct PruningRunStatus {
    /// The spec revision that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub observed_generation: Option<i64>,
    /// What the run is doing, for display; conditions are what to rely on. New values may come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub stage: Option<String>,
    /// What is known of the run, by type: Accepted, Prepared, Measured, DatabaseReady,
    /// SearchComplete, Trained, Evaluated, Exported, Progressing, Suspended, Succeeded.
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "pod_fields::conditions")]
    pub conditions: Vec<Condition>,
    /// How far the stage is: done of all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub progress: Option<String>,
    /// How far the search is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub search: Option<SearchStatus>,
    /// GPU seconds by cause, of all tasks that compute. A pod with two GPUs counts twice; one without
    /// any counts as one, so that seconds on CPUs are counted, too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpu_seconds: Option<GpuSeconds>,
    /// What `gpuSeconds` is made from beside the workers' own accounts: what their pods were seen to
    /// hold. Bookkeeping of the operator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held: Option<HeldStatus>,
    /// GPU hours so far, of all tasks and all causes together, as a decimal number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32), regex(pattern = MEASURED))]
    pub gpu_hours: Option<String>,
    /// What the run was expected to take, where `darwinlm plan --apply` has said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forecast: Option<ForecastStatus>,
    /// How far post-training is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub post_training: Option<PostTrainingStatus>,
    /// What was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evaluation: Option<EvaluationStatus>,
    /// Where the results lie.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifacts: Option<ArtifactsStatus>,
}

/// What a run is doing, in the words of `status.stage`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// Nothing has started.
    Pending,
    /// Fetching, checking and tokenising.
    Preparing,
    /// Measuring the latency of every level.
    Measuring,
    /// Building the level database.
    BuildingDatabase,
    /// Searching.
    Searching,
    /// Training the survivor.
    PostTraining,
    /// Measuring the models.
    Evaluating,
    /// Writing checkpoints.
    Exporting,
    /// Waiting in a queue.
    Queued,
    /// Suspended by the user.
    Suspended,
    /// Deleted, and removing its own prefix from the store.
    CleaningUp,
    /// Ended as asked.
    Succeeded,
    /// Ended without a result.
    Failed,
}

impl std::fmt::Display for Stage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Debug::fmt(self, f)
    }
}

/// How far the search is.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct SearchStatus {
    /// Generations in the ledger.
    #[serde(default)]
    #[schemars(range(min = 0, max = 100_000))]
    pub generation: i32,
    /// The survivor of the last generation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub survivor: Option<Survivor>,
    /// The last ten distinct survivors, newest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 10))]
    pub survivors: Vec<Survivor>,
    /// Head of the ledger's hash chain: `sha256:` and 64 hex digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 71), regex(pattern = "^sha256:[0-9a-f]{64}$"))]
    pub digest: Option<String>,
    /// Trials by outcome.
    #[serde(default)]
    pub trials: TrialCounts,
    /// GPU seconds that the workers of all tasks had taken by their own accounts when the newest
    /// generation ended: what `budget` is held against.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub spent_gpu_seconds: i64,
}

/// A genome that survived a generation.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Survivor {
    /// Its levels.
    pub genome: GenomeStatus,
    /// Its fitness when it was selected last, as a decimal number; lower is better.
    #[schemars(length(max = 32), regex(pattern = MEASURED))]
    pub fitness: String,
    /// Its KL to the dense model on the validation tokens, as a decimal number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32), regex(pattern = MEASURED))]
    pub validation_kl: Option<String>,
    /// Its perplexity on the validation tokens, as a decimal number; of the last survivor alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32), regex(pattern = MEASURED))]
    pub validation_perplexity: Option<String>,
    /// Its parameters.
    #[schemars(range(min = 0))]
    pub parameters: i64,
    /// The generation it was born in.
    #[schemars(range(min = 0, max = 100_000))]
    pub born_in_generation: i32,
}

/// One level per module, from the first block to the last, each a base-36 character.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct GenomeStatus {
    /// Levels of the attention modules.
    #[schemars(length(max = 1024), regex(pattern = LEVELS))]
    pub attention: String,
    /// Levels of the mlp modules.
    #[schemars(length(max = 1024), regex(pattern = LEVELS))]
    pub mlp: String,
}

/// Trials by outcome.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct TrialCounts {
    /// With a finite fitness.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub done: i64,
    /// Without one.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub failed: i64,
    /// Attempted more than once.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub repeated: i64,
}

/// GPU seconds by cause, over all workers. Together they are what pods held, from the moment they had a
/// node to their end.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct GpuSeconds {
    /// Computing what was kept.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub useful: i64,
    /// From a pod's way onto a node to its worker's first unit of work: image, process, model.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub starting: i64,
    /// Waiting for other workers, for the store, or between two units of work.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub waiting: i64,
    /// Computing what was thrown away: by a worker that was killed or stopped in the middle, or when
    /// another was first.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub lost: i64,
    /// What no worker has spoken for: by pods that never said what they did, and after a worker's last
    /// words.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub unattributed: i64,
}

impl GpuSeconds {
    /// Each cause by its name, with its seconds.
    pub const fn causes(&self) -> [(&'static str, i64); 5] {
        let Self {
            useful,
            starting,
            waiting,
            lost,
            unattributed,
        } = *self;
        [
            ("useful", useful),
            ("starting", starting),
            ("waiting", waiting),
            ("lost", lost),
            ("unattributed", unattributed),
        ]
    }

    /// All causes together.
    pub fn total(&self) -> i64 {
        let parts = self.causes().into_iter().map(|(_, part)| part);
        parts.fold(0, i64::saturating_add)
    }
}

/// What worker pods were seen to hold.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct HeldStatus {
    /// GPU seconds of workers that have ended or are gone.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub ended_seconds: i64,
    /// Of these, before their processes started.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub ended_starting_seconds: i64,
    /// The ended workers that can still be seen, by the start of their pods' UIDs: they are counted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1000), inner(length(max = 8)))]
    pub ended: Vec<String>,
    /// The workers that have not ended.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 200))]
    pub working: Vec<HeldBy>,
    /// Starting by the workers' own accounts; `gpuSeconds.starting` less what pods held before.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub reported_starting_seconds: i64,
}

/// What one worker holds.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct HeldBy {
    /// The start of its pod's UID.
    #[schemars(length(max = 8))]
    pub worker: String,
    /// GPU seconds.
    #[schemars(range(min = 0))]
    pub seconds: i64,
    /// Of these, before its process started.
    #[schemars(range(min = 0))]
    pub starting_seconds: i64,
}

/// What a run was expected to take, and how far that was off.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ForecastStatus {
    /// GPU seconds of all tasks together.
    #[schemars(range(min = 1))]
    pub gpu_seconds: i64,
    /// Once the run has succeeded: how many percent more it took, less where negative.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = -100, max = 1_000_000))]
    pub error_percent: Option<i32>,
}

/// How far post-training is.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct PostTrainingStatus {
    /// Tokens trained on.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub tokens: i64,
    /// Loss of the newest step in nats per token, as a decimal number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32), regex(pattern = MEASURED))]
    pub loss: Option<String>,
}

/// What was measured.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct EvaluationStatus {
    /// On the validation tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation: Option<Validation>,
    /// Scores of lm-evaluation-harness.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub tasks: Vec<TaskScore>,
    /// Latency of the dense and of the pruned model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency: Option<LatencyStatus>,
}

/// The models side by side on the validation tokens.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Validation {
    /// The dense model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dense: Option<Measured>,
    /// The uniformly pruned model of the same budget, where the search started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uniform: Option<Measured>,
    /// The survivor as the search left it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pruned: Option<Measured>,
    /// The survivor after post-training.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trained: Option<Measured>,
}

/// One model on the validation tokens.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Measured {
    /// exp of the mean negative log-likelihood of a token, as a decimal number.
    #[schemars(length(max = 32), regex(pattern = MEASURED))]
    pub perplexity: String,
    /// Mean KL(dense ‖ this) in nats, as a decimal number.
    #[schemars(length(max = 32), regex(pattern = MEASURED))]
    pub kl: String,
    /// Its parameters.
    #[schemars(range(min = 0))]
    pub parameters: i64,
}

/// The score of one task of lm-evaluation-harness.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct TaskScore {
    /// The task's name.
    #[schemars(length(min = 1, max = 128))]
    pub name: String,
    /// What is measured, by the harness's name.
    #[schemars(length(max = 64))]
    pub metric: String,
    /// The dense model's score, as a decimal number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32), regex(pattern = MEASURED))]
    pub dense: Option<String>,
    /// The pruned model's score, as a decimal number.
    #[schemars(length(max = 32), regex(pattern = MEASURED))]
    pub pruned: String,
}

/// Latency of the two models on the same workload and device.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct LatencyStatus {
    /// The dense model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dense: Option<MeasuredLatency>,
    /// The pruned model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pruned: Option<MeasuredLatency>,
    /// Dense total over pruned total in percent: 200 is twice as fast.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1_000_000))]
    pub speedup_percent: Option<i32>,
}

/// Latency of one model: medians over repetitions.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct MeasuredLatency {
    /// Microseconds for the prompt.
    #[schemars(range(min = 0))]
    pub prompt_microseconds: i64,
    /// Microseconds for each new token; 0 where none were asked for.
    #[schemars(range(min = 0))]
    pub token_microseconds: i64,
    /// Bytes at the workload's peak: as the device's allocator counts them, or on a CPU those of
    /// weights and cached keys and values.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub memory_bytes: Option<i64>,
}

/// Where the results lie.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ArtifactsStatus {
    /// URL of the level database.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048))]
    pub level_database: Option<String>,
    /// URL of the newest checkpoint of post-training.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048))]
    pub checkpoint: Option<String>,
    /// URLs of what was exported, one per format.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), inner(length(min = 1, max = 2048)))]
    pub exports: Vec<String>,
    /// URL of the page that tells of the run, a single HTML file; written anew as there is more to tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048))]
    pub report: Option<String>,
}
