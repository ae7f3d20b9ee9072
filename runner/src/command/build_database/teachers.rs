//! The dense model's final hidden states over the fitness and validation slices.

use darwinlm_store::{Files, FolderWriter};
use darwinlm_task::{ExitCode, TokenSlice};
use serde_json::json;
use tokio::task::block_in_place;

use crate::command::compute::Prepared;
use crate::command::context::{Context, Ended, store_failure};
use crate::failure::{Failure, OrFail};
use crate::fitness::{FitnessError, write_teacher};
use crate::flops::Work;
use crate::model::DenseModel;

/// Writes both files and their manifest.
pub(super) async fn write_teachers(
    context: &Context,
    prepared: &Prepared,
    dense: &DenseModel,
    writer: &FolderWriter,
) -> Result<Ended, Failure> {
    let mut files = Files::new();
    for slice in [TokenSlice::Fitness, TokenSlice::Validation] {
        let pool = prepared.sequences(context, slice, dense).await?;
        let name = format!("{}.safetensors", slice.name());
        let path = context
            .cache
            .join(format!("{}-teacher-{name}", context.worker));
        let total = u64::from(pool.count()) * u64::from(pool.length());
        let mut done = 0;
        let written = block_in_place(|| {
            let hear = |work: Work| {
                context.metrics.passed(work);
                done += work.tokens;
                context.reporter.progress(done, total, "teacher tokens");
            };
            let batch = prepared.numerics().micro_batch_sequences;
            write_teacher(&dense.model, &pool, batch, &path, &context.stop.flag, hear)
        });
        if let Err(error) = written {
            let _ = std::fs::remove_file(&path);
            return match error {
                FitnessError::Cancelled => Ok(Ended::Stopped),
                error => Err(error).or_fail(ExitCode::Bug, "failed to write the teacher's states"),
            };
        }
        let file = writer.put_file(&name, &path).await.map_err(store_failure);
        let _ = std::fs::remove_file(&path);
        files.insert(name, file?);
    }
    let about = json!({ "model": prepared.plan.model });
    writer.finish(&about, files).await.map_err(store_failure)?;
    Ok(Ended::Done)
}
