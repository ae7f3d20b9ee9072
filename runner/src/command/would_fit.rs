//! What a task for which memory ran out needs, and what would fit instead.

use darwinlm_task::{ExitCode, PruningSpec, SearchSettings, TargetSpec, Task};

use super::compute::{Prepared, open_device};
use super::context::{Context, store_failure};
use super::search::problem;
use crate::device;
use crate::failure::{Failure, OrFail};
use crate::memory::{Kept, Need, Sizes};
use crate::model::ModelConfig;

/// Fields of the resource that decide how much memory a task takes.
const SEARCH_FIELDS: [&str; 2] = [
    "spec.data.calibration.sequenceLength",
    "spec.search.optimizer.batchSequences",
];
const POST_TRAINING_FIELDS: [&str; 2] = [
    "spec.postTraining.sequenceLength",
    "spec.postTraining.batchSequences",
];

/// The failure with what the task needs by the formula; as it is where that cannot be told.
pub(super) async fn told(context: &Context, failure: Failure) -> Failure {
    match advice(context).await {
        Ok(Some(advice)) => {
            let message = format!("{failure}; {advice}");
            Failure::because(failure.code, failure.reason, message)
        }
        Ok(None) => failure,
        Err(error) => {
            tracing::warn!(%error, "what would fit cannot be told");
            failure
        }
    }
}

/// `None` for tasks that compute nothing.
async fn advice(context: &Context) -> Result<Option<String>, Failure> {
    let task = &context.spec.task;
    if !task.kind().needs_device() {
        return Ok(None);
    }
    let prepared = Prepared::open(context).await?;
    let folder = prepared.model_folder(context).await?;
    let config = ModelConfig::open(&folder).or_fail(ExitCode::BadData, "config.json")?;
    let sizes = Sizes::of(&config, &prepared.plan);
    let kept = match task {
        Task::Search {
            pruning,
            target,
            settings,
            ..
        }
        | Task::PostTrain {
            pruning,
            target,
            settings,
            ..
        } => kept(context, &prepared, pruning, *target, settings).await?,
        _ => sizes.dense_blocks(),
    };
    let Some(need) = need(task, sizes, kept) else {
        return Ok(None);
    };
    let (device, _) = open_device(context.spec.device)?;
    Ok(Some(need.advice(device::capacity(device))))
}

/// The memory that a task takes whose candidates keep so much; `None` for tasks that compute nothing.
pub(super) fn need(task: &Task, sizes: Sizes, kept: Vec<Kept>) -> Option<Need> {
    Some(match task {
        Task::Prepare { .. } | Task::Export { .. } | Task::CleanUp { .. } => return None,
        Task::BuildDatabase { .. } => Need {
            sizes,
            fields: SEARCH_FIELDS,
            bytes: Box::new(|sizes| sizes.building(1).max(sizes.teacher_pass())),
        },
        Task::Search { settings, .. } => Need {
            sizes: Sizes {
                batch_sequences: settings.optimizer.batch_sequences,
                ..sizes
            },
            fields: SEARCH_FIELDS,
            bytes: Box::new(move |sizes| sizes.trial(&kept)),
        },
        Task::PostTrain { training, .. } => {
            let teaches = training.distillation_percent > 0;
            Need {
                sizes: Sizes {
                    sequence_length: training.sequence_length,
                    batch_sequences: training.batch_sequences,
                    ..sizes
                },
                fields: POST_TRAINING_FIELDS,
                bytes: Box::new(move |sizes| sizes.post_training(&kept, teaches)),
            }
        }
        // the dense model is the largest that is measured or timed
        Task::Measure { .. } | Task::Evaluate { .. } => Need {
            fields: SEARCH_FIELDS,
            bytes: Box::new(|sizes| sizes.evaluation(&sizes.dense_blocks())),
            sizes,
        },
    })
}

/// The genome that a search starts at: all others are about as large.
async fn kept(
    context: &Context,
    prepared: &Prepared,
    pruning: &PruningSpec,
    target: TargetSpec,
    settings: &SearchSettings,
) -> Result<Vec<Kept>, Failure> {
    let folder = prepared.database_folder(context, pruning).await?;
    let about = folder.about().map_err(store_failure)?;
    let problem = problem(prepared, &about, &folder, target, settings)?;
    Ok(Kept::of(&problem.shape, &problem.ladders, &problem.start))
}
