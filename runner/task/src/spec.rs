//! What a Job is told: one self-contained, versioned `TaskSpec`.

use darwinlm_search::{AttentionUnit, Exchange, FitnessKind, Optimizer, SelectionStep};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::DeviceRequest;

/// The version of [`TaskSpec`] and of [`crate::TaskReport`] that this build writes and reads.
pub const VERSION: u32 = 1;

/// What [`TargetSpec`] accepts, for messages.
pub const TARGET_HELP: &str = "exactly one of level, parameters, sparsityPercent, speedupPercent";

/// The run a task belongs to. Never part of a digest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RunIdentity {
    /// Namespace of the resource; `local` on one machine.
    pub namespace: String,
    /// Name of the resource.
    pub name: String,
    /// UID of the resource.
    pub uid: String,
}

/// One task of a run, with everything it needs to know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TaskSpec {
    /// Version of this format; see [`VERSION`].
    pub version: u32,
    /// The run.
    pub run: RunIdentity,
    /// URL of the store as the worker sees it (a claim is a mounted `file://` folder).
    pub store: String,
    /// The device to work on.
    pub device: DeviceRequest,
    /// Devices that each worker holds: a second of it counts as so many. Decides nothing of the
    /// outcome.
    #[serde(default = "one")]
    pub devices: u32,
    /// What to do.
    pub task: Task,
}

const fn one() -> u32 {
    1
}

/// The tasks, in the order of a run's chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(
    tag = "kind",
    rename_all = "kebab-case",
    rename_all_fields = "camelCase"
)]
pub enum Task {
    /// Fetch and check model and data, tokenise, fix the numerics plan.
    Prepare {
        /// URL of the model's folder, as the worker sees it.
        model: String,
        /// The data.
        data: DataSpec,
        /// Threads of a worker, if the spec names a CPU limit.
        threads: Option<u32>,
        /// Everything immutable in the spec: a store prefix belongs to one of these alone.
        search_digest: String,
        /// How modules are to be pruned: with the model's shape this gives the ladders.
        pruning: PruningSpec,
        /// What the survivor must keep to: refused here if no genome of these ladders can.
        target: TargetSpec,
        /// What `evaluate` will time at the end: refused here if the model cannot hold it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        latency: Option<LatencyWorkload>,
    },
    /// Time modules of every size on the run's device: only where a ladder or the target counts in
    /// latency.
    Measure {
        /// How modules are to be pruned: the sizes to time, and the ladders that follow.
        pruning: PruningSpec,
        /// What the survivor must keep to: refused here if no genome of these ladders can.
        target: TargetSpec,
    },
    /// Fill the level database.
    BuildDatabase {
        /// How to prune.
        pruning: PruningSpec,
        /// Workers that share the blocks between them; changes who builds, never what.
        workers: u32,
    },
    /// Run trials until the given number of generations is in the ledger.
    Search {
        /// How to prune: names the database.
        pruning: PruningSpec,
        /// What the survivor must keep to.
        target: TargetSpec,
        /// How to search.
        settings: SearchSettings,
        /// Stop when the ledger holds this many generations.
        until_generation: u32,
        /// Stop at the next generation boundary when this much is spent.
        budget_gpu_seconds: Option<u64>,
    },
    /// Train the survivor.
    PostTrain {
        /// How to prune: names the database.
        pruning: PruningSpec,
        /// What the survivor keeps to.
        target: TargetSpec,
        /// How to search: the survivor is the last one of this search's ledger.
        settings: SearchSettings,
        /// How to train it.
        training: PostTrainingSpec,
    },
    /// Compare dense, uniform and survivor, trained or not, on the validation slice.
    Evaluate {
        /// How to prune: names the database.
        pruning: PruningSpec,
        /// What the uniform model must keep to.
        target: TargetSpec,
        /// How to search: the survivor is the last one of this search's ledger.
        settings: SearchSettings,
        /// How the survivor was trained, if it was.
        training: Option<PostTrainingSpec>,
        /// What to measure beyond perplexity and KL.
        evaluation: EvaluationSpec,
    },
    /// Write the survivor's checkpoint.
    Export {
        /// How to prune: names the database.
        pruning: PruningSpec,
        /// What the survivor keeps to.
        target: TargetSpec,
        /// How to search: the survivor is the last one of this search's ledger.
        settings: SearchSettings,
        /// How the survivor was trained, if it was.
        training: Option<PostTrainingSpec>,
        /// Where to and in which formats.
        export: ExportSpec,
    },
    /// Remove the run's own prefix from the store: the run was deleted.
    CleanUp {
        /// Everything immutable in the spec: a prefix that belongs to another search stays as it is.
        search_digest: String,
        /// Whether exports within the prefix, and the report, stay.
        keep_exports: bool,
        /// URLs of the folders that were exported to, as the worker sees them.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        exports: Vec<String>,
    },
}

/// A task's kind: the word in Job names, labels, metrics and logs.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum TaskKind {
    /// [`Task::Prepare`]
    Prepare,
    /// [`Task::Measure`]
    Measure,
    /// [`Task::BuildDatabase`]
    BuildDatabase,
    /// [`Task::Search`]
    Search,
    /// [`Task::PostTrain`]
    PostTrain,
    /// [`Task::Evaluate`]
    Evaluate,
    /// [`Task::Export`]
    Export,
    /// [`Task::CleanUp`]
    CleanUp,
}

impl TaskKind {
    /// Every kind, in the order of a run's chain; the last one is in none.
    pub const ALL: [Self; 8] = [
        Self::Prepare,
        Self::Measure,
        Self::BuildDatabase,
        Self::Search,
        Self::PostTrain,
        Self::Evaluate,
        Self::Export,
        Self::CleanUp,
    ];

    /// The word used everywhere.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Prepare => "prepare",
            Self::Measure => "measure",
            Self::BuildDatabase => "build-database",
            Self::Search => "search",
            Self::PostTrain => "post-train",
            Self::Evaluate => "evaluate",
            Self::Export => "export",
            Self::CleanUp => "clean-up",
        }
    }

    /// Whether the task computes on the run's device; the others drop GPU resources.
    pub const fn needs_device(self) -> bool {
        match self {
            Self::Prepare | Self::Export | Self::CleanUp => false,
            Self::Measure
            | Self::BuildDatabase
            | Self::Search
            | Self::PostTrain
            | Self::Evaluate => true,
        }
    }

    /// Whether any number of workers may share the task through the store.
    pub const fn is_work_queue(self) -> bool {
        match self {
            Self::BuildDatabase | Self::Search => true,
            Self::Prepare
            | Self::Measure
            | Self::PostTrain
            | Self::Evaluate
            | Self::Export
            | Self::CleanUp => false,
        }
    }
}

impl std::fmt::Display for TaskKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl Task {
    /// This task's kind.
    pub const fn kind(&self) -> TaskKind {
        match self {
            Self::Prepare { .. } => TaskKind::Prepare,
            Self::Measure { .. } => TaskKind::Measure,
            Self::BuildDatabase { .. } => TaskKind::BuildDatabase,
            Self::Search { .. } => TaskKind::Search,
            Self::PostTrain { .. } => TaskKind::PostTrain,
            Self::Evaluate { .. } => TaskKind::Evaluate,
            Self::Export { .. } => TaskKind::Export,
            Self::CleanUp { .. } => TaskKind::CleanUp,
        }
    }

    /// Whether the task works from the table of latencies that `measure` leaves.
    pub const fn reads_latency(&self) -> bool {
        match self {
            Self::Prepare { .. } | Self::Measure { .. } | Self::CleanUp { .. } => false,
            Self::BuildDatabase { pruning, .. } => pruning.spacing.is_measured(),
            Self::Search {
                pruning, target, ..
            }
            | Self::PostTrain {
                pruning, target, ..
            }
            | Self::Evaluate {
                pruning, target, ..
            }
            | Self::Export {
                pruning, target, ..
            } => pruning.spacing.is_measured() || target.is_measured(),
        }
    }
}

/// The data of a run; every slice is packed into sequences of one length.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DataSpec {
    /// Tokens per sequence.
    pub sequence_length: u32,
    /// Feeds the Hessians.
    pub calibration: SliceSpec,
    /// Trains candidates.
    pub training: SliceSpec,
    /// Scores candidates.
    pub fitness: SliceSpec,
    /// Held out.
    pub validation: SliceSpec,
}

/// One slice of the data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SliceSpec {
    /// Its own source; without one it is a disjoint slice of calibration's source.
    pub source: Option<TextSource>,
    /// Its size; rounded up to whole sequences.
    pub tokens: u64,
}

/// Where text comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TextSource {
    /// URL of a `.txt`, `.jsonl` or `.safetensors` file, as the worker sees it.
    pub url: String,
    /// The field of a JSON line that holds the text.
    pub text_field: String,
}

/// What the steps of a ladder are equal in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Spacing {
    /// Parameters.
    #[default]
    Parameters,
    /// Time, as `measure` found it.
    Latency,
}

impl Spacing {
    /// Whether ladders follow from a table of latencies.
    pub const fn is_measured(self) -> bool {
        match self {
            Self::Parameters => false,
            Self::Latency => true,
        }
    }
}

/// How modules are pruned: with the model, the calibration slice and the numerics plan this names
/// the level database.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PruningSpec {
    /// Levels above dense; the last removes the module. A kind with fewer units has fewer.
    pub levels: u32,
    /// What the steps are equal in.
    pub spacing: Spacing,
    /// Columns of the MLP are removed in multiples of this.
    pub mlp_granularity: u32,
    /// The unit of attention.
    #[schemars(with = "String")]
    pub attention_unit: AttentionUnit,
    /// Thousandths of the mean diagonal that are added to the Hessian's diagonal.
    pub damping_permille: u32,
}

/// What every genome of a search keeps to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum TargetSpec {
    /// The level sums of this uniform level (the paper).
    Level(u32),
    /// At most this many parameters.
    Parameters(u64),
    /// At least this many percent of the dense model's parameters removed.
    SparsityPercent(u32),
    /// At least this many percent as fast as the dense model, in the sum of the table of latencies:
    /// 150 is 1.5 times as fast.
    SpeedupPercent(u32),
}

impl TargetSpec {
    /// Whether costs follow from a table of latencies.
    pub const fn is_measured(self) -> bool {
        match self {
            Self::Level(_) | Self::Parameters(_) | Self::SparsityPercent(_) => false,
            Self::SpeedupPercent(_) => true,
        }
    }
}

/// How to search.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SearchSettings {
    /// Seed of everything random.
    pub seed: u64,
    /// Generations in all.
    pub generations: u32,
    /// Offspring of a generation.
    pub offspring: u32,
    /// Which modules may trade levels.
    #[schemars(with = "String")]
    pub exchange: Exchange,
    /// What is minimised.
    #[schemars(with = "String")]
    pub fitness: FitnessKind,
    /// The cuts within a generation.
    #[schemars(with = "Vec<StepSchema>")]
    pub steps: Vec<SelectionStep>,
    /// Whether survivors keep their training from step to step (not the paper).
    pub continue_training: bool,
    /// How candidates are trained.
    #[schemars(with = "OptimizerSchema")]
    pub optimizer: Optimizer,
}

/// The schema of [`Optimizer`], which lives in a crate without schemas.
#[derive(JsonSchema)]
#[serde(rename_all = "camelCase")]
#[expect(dead_code, reason = "read by the schema generator alone")]
struct OptimizerSchema {
    learning_rate: String,
    weight_decay: String,
    batch_sequences: u32,
}

/// The schema of [`SelectionStep`], which lives in a crate without schemas.
#[derive(JsonSchema)]
#[serde(rename_all = "camelCase")]
#[expect(dead_code, reason = "read by the schema generator alone")]
struct StepSchema {
    survivors: u32,
    training_tokens: u64,
    fitness_tokens: u64,
}

/// How the survivor is trained: AdamW on all of its weights, in float32.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PostTrainingSpec {
    /// Tokens to train on; the training slice is repeated, in another order each time, until they
    /// are had.
    pub tokens: u64,
    /// Tokens of a sequence; at most those of the slice.
    pub sequence_length: u32,
    /// Sequences of an optimizer step.
    pub batch_sequences: u32,
    /// The highest learning rate, as a positive decimal number.
    pub learning_rate: String,
    /// Hundredths of all steps over which the learning rate rises to the highest, linearly.
    pub warmup_percent: u32,
    /// What a cosine lets the learning rate fall to at the end, in hundredths of the highest.
    pub final_learning_rate_percent: u32,
    /// Decay of every weight relative to the learning rate, as a decimal number.
    pub weight_decay: String,
    /// The greatest norm of all gradients of a step together, as a positive decimal number: longer
    /// ones are shortened to it.
    pub gradient_norm: String,
    /// Hundredths of the loss that are KL(dense ‖ survivor); the rest is the cross-entropy of the
    /// next token. 0: the dense model is not kept in memory.
    pub distillation_percent: u32,
    /// A checkpoint is written after every so many tokens. Decides nothing of the outcome.
    pub checkpoint_every_tokens: u64,
}

/// What `evaluate` measures beyond perplexity and KL on the validation slice.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EvaluationSpec {
    /// Measures the latency of dense and pruned model on this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency: Option<LatencyWorkload>,
}

/// A prompt to read and tokens to generate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LatencyWorkload {
    /// Sequences at once.
    pub batch: u32,
    /// Tokens of each prompt.
    pub prompt_tokens: u32,
    /// Tokens to generate for each; 0: none.
    pub new_tokens: u32,
}

/// Where the survivor goes and in which formats.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ExportSpec {
    /// URL of the folder to write, as the worker sees it.
    pub destination: String,
    /// The formats.
    pub formats: Vec<ExportFormat>,
    /// How pruned query heads find their keys and values.
    pub query_head_layout: QueryHeadLayout,
}

/// A checkpoint format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ExportFormat {
    /// Shrunk safetensors with a modelling file of ours.
    Transformers,
    /// Safetensors in the dense shapes, with zeros where units were removed: stock classes load it.
    MaskedDense,
}

impl ExportFormat {
    /// The folder below the destination that holds this format.
    pub const fn folder(self) -> &'static str {
        match self {
            Self::Transformers => "transformers",
            Self::MaskedDense => "masked-dense",
        }
    }
}

/// How pruned query heads find their keys and values under grouped-query attention.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum QueryHeadLayout {
    /// K and V whole, an index per kept query head.
    #[default]
    Gather,
    /// K and V rows copied, so that each query head has its own.
    Expand,
}

/// A task that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum TaskSpecError {
    /// Not JSON, or a field is wrong.
    #[error("failed to read the task: {0}")]
    Json(#[from] serde_json::Error),
    /// Another version.
    #[error("failed to read the task: version is {found}, this build reads {VERSION}")]
    Version {
        /// The version found.
        found: u32,
    },
}

impl TaskSpec {
    /// Reads a task, looking at its version first.
    ///
    /// # Errors
    /// When it is not JSON, of another version, or holds an unknown or ill-typed field.
    pub fn from_json(text: &str) -> Result<Self, TaskSpecError> {
        #[derive(Deserialize)]
        struct Versioned {
            version: u32,
        }
        let Versioned { version } = serde_json::from_str(text)?;
        if version != VERSION {
            return Err(TaskSpecError::Version { found: version });
        }
        Ok(serde_json::from_str(text)?)
    }

    /// Writes the task as one line of JSON.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("a task holds only strings, numbers and lists")
    }
}
