#![doc = include_str!("../README.md")]
#![expect(
    unreachable_pub,
    reason = "KubeSchema copies each struct, `pub` and all, into a function"
)]

mod artifacts;
mod check;
mod crd;
mod data;
mod evaluation;
mod export;
mod immutable;
mod model;
mod pod_fields;
mod post_training;
mod pruning;
mod pruning_run;
mod quantity;
mod reference;
mod references;
mod retention;
mod search;
mod status;
mod target;
mod worker;

pub mod conditions;
pub mod sources;

pub use artifacts::Artifacts;
pub use check::{Violation, check, check_update};
pub use crd::{GENERATED_BY, crd, manifest};
pub use data::{Calibration, Data, FitnessPool, TrainingPool, ValidationPool};
pub use evaluation::{Evaluation, LatencyWorkload};
pub use export::{Export, ExportFormat, QueryHeadLayout};
pub use model::Model;
pub use post_training::PostTraining;
pub use pruning::{AttentionUnit, Pruning, Spacing};
pub use pruning_run::{Budget, PruningRun, PruningRunSpec};
pub use quantity::{QuantityError, parse_quantity};
pub use reference::reference;
pub use references::{ConfigMapRef, SecretRef};
pub use retention::Retain;
pub use search::{Exchange, Fitness, Optimizer, Search, SelectionStep};
pub use status::{
    ArtifactsStatus, EvaluationStatus, ForecastStatus, GenomeStatus, GpuSeconds, HeldBy,
    HeldStatus, LatencyStatus, Measured, MeasuredLatency, PostTrainingStatus, PruningRunStatus,
    SearchStatus, Stage, Survivor, TaskScore, TrialCounts, Validation,
};
pub use target::{Target, TargetError, TargetKind};
pub use worker::{
    Cache, Device, EmptyDirCache, Overrides, PersistentVolumeClaimCache, Placement, Resources,
    TaskOverride, Worker,
};
