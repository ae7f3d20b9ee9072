//! What a Job says: one `TaskReport`, at most 4096 bytes, while running and at the end.
//!
//! Fields that are not known are passed over, other than in a task: a worker may be newer than the
//! operator, whose run would stand still if it read none of its reports.

use darwinlm_search::Genome;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{ExitCode, LatencyWorkload, RunIdentity, TaskKind, VERSION};

/// A termination message holds at most this many bytes (Kubernetes, "Determine the Reason for Pod
/// Failure").
pub const REPORT_LIMIT_BYTES: usize = 4096;

/// Declares the reasons once: the enum, the list of all and how they are spelt.
macro_rules! failure_reasons {
    ($($(#[doc = $meaning:literal])+ $name:ident,)+) => {
        /// Why a task failed, where more is known than an exit code says: a report's reason.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum FailureReason {
            $($(#[doc = $meaning])+ $name,)+
        }

        impl FailureReason {
            /// Every one.
            pub const ALL: &'static [Self] = &[$(Self::$name),+];

            /// The word as it stands in a report.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name),)+
                }
            }
        }
    };
}

failure_reasons! {
    /// The run's prefix in the store belongs to another search.
    StoreInUse,
    /// No genome of the model's ladders meets the target: `prepare` says it, for it is the first to
    /// know the model's shape.
    TargetUnreachable,
    /// Too few candidates of a selection step have a finite fitness, or post-training has made
    /// numbers that are none.
    NonFinite,
    /// Two workers disagree on a ledger entry.
    LedgerConflict,
    /// The device that was asked for does not work.
    DeviceUnusable,
}

/// What a worker says about its task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TaskReport {
    /// Version of this format.
    pub version: u32,
    /// UID of the run.
    pub run_uid: String,
    /// The worker that says it: the pod's UID, or a local process's name.
    pub worker: String,
    /// The task.
    pub task: TaskKind,
    /// How it stands.
    pub outcome: Outcome,
    /// How far it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<Progress>,
    /// Said by `prepare`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prepared: Option<PreparedReport>,
    /// Said by `measure`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub measured: Option<MeasuredReport>,
    /// Said by `build-database`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database: Option<DatabaseReport>,
    /// Said by `search`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub search: Option<SearchReport>,
    /// Said by `post-train`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub training: Option<TrainingReport>,
    /// Said by `evaluate`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evaluation: Option<EvaluationReport>,
    /// Said by `export`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub export: Option<ExportReport>,
    /// Key of the page that tells of the run, once this worker wrote it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub page: Option<String>,
    /// Summed over all workers that left a file in the store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpu_seconds: Option<GpuSeconds>,
    /// Seconds since this worker got any further, by its own clock; said while it runs. One that
    /// waits for others stands still, too.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub still_seconds: u32,
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// How a task stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "state", rename_all = "camelCase")]
pub enum Outcome {
    /// At work.
    Running,
    /// Done; the store holds everything the task leaves.
    Done,
    /// The GPU budget is spent; what is done so far is in the store.
    BudgetSpent,
    /// Ended without being done.
    Failed {
        /// The exit code's number.
        code: u8,
        /// A CamelCase word.
        reason: String,
        /// One sentence: what was found, where, and what would be accepted.
        message: String,
    },
}

/// How far a task is, in its own units.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Progress {
    /// Units done.
    pub done: u64,
    /// Units in all.
    pub total: u64,
    /// What a unit is: `modules`, `trials`, `bytes` …
    pub unit: String,
}

/// A model's size.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ModelReport {
    /// The `models/<digest>` it is stored under.
    pub digest: String,
    /// Blocks.
    pub blocks: u32,
    /// Parameters.
    pub parameters: u64,
}

/// What `prepare` fixed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PreparedReport {
    /// The model.
    pub model: ModelReport,
    /// The `tokens/<digest>` of its data.
    pub tokens: String,
}

/// The table of latencies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MeasuredReport {
    /// The `latency/<digest>.json` it is stored under.
    pub digest: String,
    /// The device's name.
    pub device: String,
    /// The dense model's time in the table, in nanoseconds.
    pub dense_nanoseconds: u64,
}

/// The level database.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DatabaseReport {
    /// The `databases/<digest>` it is stored under.
    pub digest: String,
    /// Bytes stored.
    pub bytes: u64,
}

/// How far the search is; all workers of a run say the same of the same ledger.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SearchReport {
    /// Generations in the ledger.
    pub generation: u32,
    /// Generations asked for.
    pub generations: u32,
    /// Head of the hash chain, `sha256:` and 64 hex digits.
    pub digest: String,
    /// The last ten distinct survivors, newest first.
    pub survivors: Vec<SurvivorReport>,
    /// Trials so far.
    pub trials: TrialCounts,
    /// Device seconds that the run had taken when its newest generation ended: what a budget is held
    /// against. The same for all workers.
    #[serde(default)]
    pub spent_gpu_seconds: u64,
}

/// A survivor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SurvivorReport {
    /// One base-36 level per module.
    #[schemars(with = "GenomeSchema")]
    pub genome: Genome,
    /// Its fitness when it was selected last, as a decimal number.
    pub fitness: String,
    /// KL on the validation slice, if measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation_kl: Option<String>,
    /// Perplexity on the validation slice, if measured; said of the newest survivor alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation_perplexity: Option<String>,
    /// Its parameters.
    pub parameters: u64,
    /// The generation it was born in.
    pub born_in_generation: u32,
}

/// The schema of [`Genome`], which lives in a crate without schemas.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "read by the schema generator alone")]
struct GenomeSchema {
    attention: String,
    mlp: String,
}

/// Trials by outcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TrialCounts {
    /// In the ledger, with a finite fitness.
    pub done: u64,
    /// In the ledger, with a failure.
    pub failed: u64,
    /// Attempted more than once.
    pub repeated: u64,
}

/// Device time by cause, summed over workers, in seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GpuSeconds {
    /// Computing what was kept.
    pub useful: u64,
    /// From a process's start to its first unit of work.
    pub starting: u64,
    /// Waiting for other workers.
    pub waiting: u64,
    /// Computing what was thrown away.
    pub lost: u64,
}

/// How far the training of the survivor is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TrainingReport {
    /// Tokens trained on.
    pub tokens: u64,
    /// Tokens in all.
    pub total_tokens: u64,
    /// Loss of the newest step, in nats per token, as a decimal number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loss: Option<String>,
    /// Key of the newest whole checkpoint in the store; at the end that of the trained weights.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<String>,
}

/// Figures of one model on the validation slice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Measured {
    /// Parameters.
    pub parameters: u64,
    /// exp of the mean negative log-likelihood of a token, as a decimal number.
    pub perplexity: String,
    /// Mean KL(dense ‖ this), in nats, as a decimal number.
    pub kl: String,
    /// Tokens of a forward pass in a second on the worker's device, as a decimal number.
    pub tokens_per_second: String,
}

/// Dense, uniform, pruned and trained side by side.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EvaluationReport {
    /// The dense model.
    pub dense: Measured,
    /// The start of the search: the uniform model at the same budget.
    pub uniform: Measured,
    /// The survivor as the search left it.
    pub pruned: Measured,
    /// The survivor after post-training, if it was trained.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trained: Option<Measured>,
    /// How fast dense and survivor read and write, if asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency: Option<LatencyReport>,
}

/// Dense and pruned model on the same workload, in turn.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LatencyReport {
    /// The workload.
    pub workload: LatencyWorkload,
    /// Pairs measured; every figure is of that many.
    pub pairs: u32,
    /// The device's name.
    pub device: String,
    /// The dense model.
    pub dense: ModelLatency,
    /// The survivor.
    pub pruned: ModelLatency,
    /// Dense total over pruned total of each pair, in percent: 200 is twice as fast.
    pub speedup_percent: Spread,
}

/// How fast one model is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ModelLatency {
    /// Microseconds to read the prompt and know the next token.
    pub prompt_microseconds: Spread,
    /// Prompt tokens in a second, of all sequences, as a decimal number.
    pub prompt_tokens_per_second: String,
    /// Microseconds for each new token, where any are generated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_microseconds: Option<Spread>,
    /// New tokens in a second, of all sequences, as a decimal number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub new_tokens_per_second: Option<String>,
    /// Memory at the workload's peak.
    pub memory: Memory,
}

/// A figure that was measured several times.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Spread {
    /// The median.
    pub median: u64,
    /// The smallest.
    pub least: u64,
    /// The largest.
    pub most: u64,
}

/// Bytes of memory, by how they are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Memory {
    /// The model's weights, and what the device's allocator held at most beyond what it held before.
    AllocatorPeak {
        /// Bytes.
        bytes: u64,
    },
    /// Weights and cached keys and values, computed: libtorch counts no bytes on the CPU.
    WeightsAndCache {
        /// Bytes.
        bytes: u64,
    },
}

impl Memory {
    /// The bytes, however they are known.
    pub const fn bytes(self) -> u64 {
        match self {
            Self::AllocatorPeak { bytes } | Self::WeightsAndCache { bytes } => bytes,
        }
    }
}

/// What was exported.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExportReport {
    /// URLs of the checkpoints, one per format.
    pub exports: Vec<String>,
}

impl TaskReport {
    /// A report that says only who is at work on what.
    pub fn running(run: &RunIdentity, worker: &str, task: TaskKind) -> Self {
        Self {
            version: VERSION,
            run_uid: run.uid.clone(),
            worker: worker.to_owned(),
            task,
            outcome: Outcome::Running,
            progress: None,
            prepared: None,
            measured: None,
            database: None,
            search: None,
            training: None,
            evaluation: None,
            export: None,
            page: None,
            gpu_seconds: None,
            still_seconds: 0,
        }
    }

    /// Writes the report as JSON of at most [`REPORT_LIMIT_BYTES`].
    ///
    /// A message that does not fit is cut at a character boundary; then the oldest survivors go,
    /// for the store holds them all.
    pub fn to_json(&self) -> String {
        let mut report = self.clone();
        loop {
            let text = serde_json::to_string(&report)
                .expect("a report holds only strings, numbers and lists");
            let excess = text.len().saturating_sub(REPORT_LIMIT_BYTES);
            if excess == 0 || !report.shorten(excess) {
                return text;
            }
        }
    }

    /// Drops at least one byte; false when nothing is left to drop.
    fn shorten(&mut self, excess: usize) -> bool {
        if let Outcome::Failed { message, .. } = &mut self.outcome
            && !message.is_empty()
        {
            let mut keep = message.len().saturating_sub(excess.max(1));
            while !message.is_char_boundary(keep) {
                keep -= 1;
            }
            message.truncate(keep);
            return true;
        }
        match &mut self.search {
            Some(search) => search.survivors.pop().is_some(),
            None => false,
        }
    }

    /// Marks the task as failed; `reason` is a CamelCase word, the code's own if nothing more is
    /// known.
    pub fn fail(&mut self, code: ExitCode, reason: &str, message: &str) {
        self.outcome = Outcome::Failed {
            code: code.code(),
            reason: reason.to_owned(),
            message: message.to_owned(),
        };
    }
}
