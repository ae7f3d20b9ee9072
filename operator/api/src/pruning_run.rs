//! The resource: one `PruningRun` is one pruned model, from the dense one to the export.

use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use crate::{
    artifacts::Artifacts,
    data::Data,
    evaluation::Evaluation,
    export::Export,
    immutable::immutable,
    model::Model,
    post_training::PostTraining,
    pruning::Pruning,
    references::{OBJECT_NAME_OR_EMPTY, absent_when_empty},
    retention::Retain,
    search::Search,
    status::PruningRunStatus,
    target::Target,
    worker::Worker,
};

/// What to prune, how far, and what to do with the result.
///
/// Absent means absent: without `postTraining`, `evaluation`, `export`, `budget` or
/// `ttlSecondsAfterFinished` that task or limit does not exist.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "darwinlm.io",
    version = "v1alpha1",
    kind = "PruningRun",
    plural = "pruningruns",
    shortname = "prun",
    category = "darwinlm",
    doc = "Prunes a dense language model to the best smaller one that an evolutionary search finds.",
    namespaced,
    status = "PruningRunStatus",
    derive = "PartialEq",
    selectable = ".spec.model.source",
    selectable = ".spec.queueName",
    selectable = ".status.stage",
    validation = Rule::new(
        "size(self.metadata.name) <= 40 && \
         self.metadata.name.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')"
    )
    .message(
        "metadata.name must be a DNS label of at most 40 characters: lower-case letters, digits \
         and hyphens, as the names of Jobs and pods begin with it"
    ),
    printcolumn(
        name = "Stage",
        type_ = "string",
        json_path = ".status.stage",
        description = "What the run is doing"
    ),
    printcolumn(
        name = "Progress",
        type_ = "string",
        json_path = ".status.progress",
        description = "How far the stage is"
    ),
    printcolumn(
        name = "Fitness",
        type_ = "string",
        json_path = ".status.search.survivor.fitness",
        description = "The survivor's fitness; lower is better"
    ),
    printcolumn(
        name = "Params",
        type_ = "integer",
        json_path = ".status.search.survivor.parameters",
        description = "The survivor's parameters"
    ),
    printcolumn(
        name = "GPU-h",
        type_ = "string",
        json_path = ".status.gpuHours",
        description = "GPU hours spent so far"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Progressing\")].reason",
        description = "Why the run progresses or does not",
        priority = 1
    ),
    printcolumn(name = "Model", type_ = "string", json_path = ".spec.model.source", priority = 1),
    printcolumn(name = "Queue", type_ = "string", json_path = ".spec.queueName", priority = 1)
)]
#[x_kube(
    validation = Rule::new(
        "!has(self.target.level) || self.target.level <= self.pruning.levels"
    )
    .message("target.level must be at most pruning.levels")
    .field_path(".target.level"),
    validation = Rule::new(
        "self.search.steps.all(step, step.trainingTokens <= self.data.training.tokens)"
    )
    .message("data.training.tokens must be at least the trainingTokens of every selection step")
    .field_path(".data.training.tokens"),
    validation = Rule::new(
        "self.search.steps.all(step, step.fitnessTokens <= self.data.fitness.tokens)"
    )
    .message("data.fitness.tokens must be at least the fitnessTokens of every selection step")
    .field_path(".data.fitness.tokens"),
    validation = Rule::new(
        "!has(self.postTraining) || \
         self.postTraining.tokens <= 100 * self.data.training.tokens"
    )
    .message(
        "postTraining.tokens must be at most 100 times data.training.tokens: raise those, or lower \
         these"
    )
    .field_path(".postTraining.tokens"),
    validation = Rule::new(
        "!has(self.postTraining) || !has(self.postTraining.sequenceLength) || \
         self.postTraining.sequenceLength <= self.data.calibration.sequenceLength"
    )
    .message("postTraining.sequenceLength must be at most data.calibration.sequenceLength")
    .field_path(".postTraining.sequenceLength"),
    validation = Rule::new(
        "!has(self.queuePriorityClass) || self.queuePriorityClass == '' || \
         (has(self.queueName) && self.queueName != '')"
    )
    .message("queuePriorityClass needs queueName")
    .field_path(".queuePriorityClass")
)]
#[serde(rename_all = "camelCase")]
pub struct PruningRunSpec {
    /// The dense model.
    #[x_kube(validation = immutable("model"))]
    pub model: Model,
    /// The tokens that calibrate, train, score and validate.
    #[x_kube(validation = immutable("data"))]
    pub data: Data,
    /// How modules are pruned.
    #[serde(default)]
    pub pruning: Pruning,
    /// What the pruned model must keep to: exactly one of level, parameters, sparsityPercent,
    /// speedupPercent.
    #[x_kube(validation = immutable("target"))]
    pub target: Target,
    /// The evolutionary search.
    #[serde(default)]
    pub search: Search,
    /// Trains the survivor. Absent: the survivor is not trained. May change until the first Job of
    /// this task is made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub post_training: Option<PostTraining>,
    /// Measures dense, uniform and pruned model. Absent: no evaluation. May change until the first
    /// Job of this task is made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evaluation: Option<Evaluation>,
    /// Writes checkpoints. Absent: no export. May change until the first Job of this task is made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub export: Option<Export>,
    /// The store that the run keeps everything in.
    #[x_kube(validation = immutable("artifacts"))]
    pub artifacts: Artifacts,
    /// How worker pods look. May change until the first Job of the run is made.
    #[serde(default)]
    pub worker: Worker,
    /// Kueue's local queue for the run's Jobs; Kueue then decides when they start and with how
    /// many workers. Absent or empty: no queue. May change until the first Job of the run is made.
    #[serde(
        default,
        deserialize_with = "absent_when_empty",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(length(max = 253), regex(pattern = OBJECT_NAME_OR_EMPTY))]
    pub queue_name: Option<String>,
    /// Kueue's workload priority class for the run's Jobs. Absent or empty: the queue's default.
    #[serde(
        default,
        deserialize_with = "absent_when_empty",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(length(max = 253), regex(pattern = OBJECT_NAME_OR_EMPTY))]
    pub queue_priority_class: Option<String>,
    /// What the run may spend. Absent: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<Budget>,
    /// Gives all devices back and starts nothing until this is false again.
    #[serde(default)]
    pub suspend: bool,
    /// What deletion keeps of the run's own prefix in the store, `runs/<namespace>.<name>/`: `All`;
    /// `Export`, the report and what was exported into the prefix; or `None`. Exports elsewhere, and what
    /// runs share, always stay. May change until the run is gone.
    #[serde(default)]
    pub retain: Retain,
    /// The run is deleted so many seconds after it has finished, whatever came of it. Absent: it stays.
    /// May change at any time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 2_147_483_647))]
    pub ttl_seconds_after_finished: Option<i32>,
}

/// What a run may spend.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Budget {
    /// GPU hours of all workers so far, by their own accounts. When they are spent, the search ends with
    /// the generation that is at work, and the tasks after it go on with its survivor, post-training
    /// too: what those take comes on top. Raised, the search goes on; a Job keeps the budget it was made
    /// with.
    #[schemars(range(min = 1, max = 10_000_000))]
    pub gpu_hours: i32,
}
