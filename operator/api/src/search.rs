//! The evolutionary search: what it depends on, which never changes, and how it is run.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::immutable::immutable;

/// A decimal number as text: floats have no place in an API.
pub(crate) const DECIMAL: &str = r"^[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?$";

// `size(..) == 0` in a rule: an empty list has its own message from `minItems`.
/// How to search. All but `workers` and `generationsPerJob` decides the outcome and never changes.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[x_kube(validation = Rule::new(
    "size(self.steps) == 0 || self.offspring >= self.steps[0].survivors"
)
    .message("offspring must be at least the survivors of the first selection step")
    .field_path(".offspring"))]
#[serde(rename_all = "camelCase")]
pub struct Search {
    /// Seed of everything random in the search.
    #[x_kube(validation = immutable("search.seed"))]
    #[serde(default)]
    #[schemars(range(min = 0, max = 9_007_199_254_740_991_i64))]
    pub seed: i64,
    /// Generations in all.
    #[x_kube(validation = immutable("search.generations"))]
    #[serde(default = "generations")]
    #[schemars(range(min = 1, max = 100_000))]
    pub generations: i32,
    /// Offspring of a generation.
    #[x_kube(validation = immutable("search.offspring"))]
    #[serde(default = "offspring")]
    #[schemars(range(min = 1, max = 999))]
    pub offspring: i32,
    /// Which modules may trade levels: `WithinKind`, attention with attention and mlp with mlp
    /// (the paper), or `AcrossKinds`, which compares costs.
    #[x_kube(validation = immutable("search.exchange"))]
    #[serde(default)]
    pub exchange: Exchange,
    /// What is minimised: `KullbackLeibler` to the dense model, or `Perplexity`.
    #[x_kube(validation = immutable("search.fitness"))]
    #[serde(default)]
    pub fitness: Fitness,
    /// Survivors keep their training from one selection step to the next (not the paper).
    #[x_kube(validation = immutable("search.continueTraining"))]
    #[serde(default)]
    pub continue_training: bool,
    /// The cuts within a generation: survivors strictly fall to 1.
    #[x_kube(
        validation = immutable("search.steps"),
        // One rule for two-variable `all`, which not every evaluator knows: sorted without equals.
        validation = (
            "self.map(s, 0 - s.survivors).isSorted() && \
             self.all(s, self.exists_one(other, other.survivors == s.survivors))",
            "survivors must strictly fall from one selection step to the next"
        ),
        validation = (
            "size(self) == 0 || self[size(self) - 1].survivors == 1",
            "the last selection step must keep exactly one survivor"
        )
    )]
    #[serde(default = "steps")]
    #[schemars(length(min = 1, max = 8))]
    pub steps: Vec<SelectionStep>,
    /// How candidates train within a trial.
    #[x_kube(validation = immutable("search.optimizer"))]
    #[serde(default)]
    pub optimizer: Optimizer,
    /// Workers that share the trials. May change at any time.
    #[serde(default = "workers")]
    #[schemars(range(min = 1, max = 1024))]
    pub workers: i32,
    /// Generations that one Job runs with warm workers; 1 makes a Job per generation. May change
    /// at any time.
    #[serde(default = "generations_per_job")]
    #[schemars(range(min = 1, max = 100_000))]
    pub generations_per_job: i32,
}

/// One cut within a generation.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct SelectionStep {
    /// Candidates that this step keeps.
    #[schemars(range(min = 1, max = 999))]
    pub survivors: i32,
    /// Tokens that each candidate trains on before it is scored; 0 scores it untrained.
    #[schemars(range(min = 0, max = 1_000_000_000_000_i64))]
    pub training_tokens: i64,
    /// Tokens that each candidate is scored on.
    #[schemars(range(min = 1, max = 1_000_000_000_000_i64))]
    pub fitness_tokens: i64,
}

/// Which modules may trade levels.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Exchange {
    /// Modules of one kind.
    #[default]
    WithinKind,
    /// Any two modules.
    AcrossKinds,
}

/// What is minimised.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fitness {
    /// KL(dense ‖ candidate), in nats per token.
    #[default]
    KullbackLeibler,
    /// exp of the mean negative log-likelihood of a token.
    Perplexity,
}

/// AdamW, as candidates train within a trial.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Optimizer {
    /// Learning rate, as a decimal number in quotes.
    #[serde(default = "learning_rate")]
    #[schemars(length(min = 1, max = 24), regex(pattern = DECIMAL))]
    pub learning_rate: String,
    /// Decoupled weight decay, as a decimal number in quotes.
    #[serde(default = "weight_decay")]
    #[schemars(length(min = 1, max = 24), regex(pattern = DECIMAL))]
    pub weight_decay: String,
    /// Sequences per optimizer step.
    #[serde(default = "batch_sequences")]
    #[schemars(range(min = 1, max = 65_536))]
    pub batch_sequences: i32,
}

impl Default for Search {
    fn default() -> Self {
        Self {
            seed: 0,
            generations: generations(),
            offspring: offspring(),
            exchange: Exchange::default(),
            fitness: Fitness::default(),
            continue_training: false,
            steps: steps(),
            optimizer: Optimizer::default(),
            workers: workers(),
            generations_per_job: generations_per_job(),
        }
    }
}

impl Default for Optimizer {
    fn default() -> Self {
        Self {
            learning_rate: learning_rate(),
            weight_decay: weight_decay(),
            batch_sequences: batch_sequences(),
        }
    }
}

fn generations() -> i32 {
    200
}

fn offspring() -> i32 {
    16
}

/// The schedule of DarwinLM (arXiv 2502.07780).
fn steps() -> Vec<SelectionStep> {
    [
        (8, 10_000, 1024),
        (4, 50_000, 2048),
        (2, 100_000, 4096),
        (1, 200_000, 8192),
    ]
    .map(
        |(survivors, training_tokens, fitness_tokens)| SelectionStep {
            survivors,
            training_tokens,
            fitness_tokens,
        },
    )
    .to_vec()
}

fn learning_rate() -> String {
    "1e-5".to_owned()
}

fn weight_decay() -> String {
    "0.01".to_owned()
}

fn batch_sequences() -> i32 {
    1
}

fn workers() -> i32 {
    1
}

fn generations_per_job() -> i32 {
    25
}
