//! `export`: writes the survivor's checkpoint, whole or not at all.

use std::path::{Path, PathBuf};

use darwinlm_task::{
    ExitCode, ExportFormat, ExportReport, ExportSpec, PruningSpec, RunIdentity, SearchSettings,
    TargetSpec,
};
use tokio::task::block_in_place;

use super::compute::Prepared;
use super::search::{found, problem};
use super::work::{Context, Ended};
use crate::export::{ExportSettings, export_transformers};
use crate::failure::{Failure, OrFail};
use crate::stitch::stitch;

/// What tells an export of ours from any other folder.
const MODELLING_FILE: &str = "modeling_darwinlm.py";

/// Writes every format asked for.
pub(super) async fn task(
    context: &Context,
    pruning: &PruningSpec,
    target: TargetSpec,
    settings: &SearchSettings,
    export: &ExportSpec,
) -> Result<Ended, Failure> {
    let destination = folder(&export.destination)?;
    let prepared = Prepared::open(context).await?;
    let (database, stored) = prepared.database(context, pruning).await?;
    let problem = problem(&prepared, &database, &stored, target, settings)?;
    let survivor = found(context, &problem).await?;
    let dense = prepared.dense(context).await?;
    let model_folder = prepared.model_folder(context).await?;
    let model = stitch(&dense, &database, &survivor.genome)
        .or_fail(ExitCode::BadData, "failed to assemble the survivor")?;
    let mut exports = Vec::new();
    for format in &export.formats {
        let ExportFormat::Transformers = format;
        let target = destination.join("transformers");
        let partial = partial_of(&target, &context.spec.run);
        let doing = || format!("failed to write {}", partial.display());
        let _ = std::fs::remove_dir_all(&partial);
        std::fs::create_dir_all(&partial).or_fail(ExitCode::PermissionDenied, doing())?;
        block_in_place(|| {
            let settings = ExportSettings {
                layout: export.query_head_layout,
            };
            export_transformers(&model, &dense.config, &model_folder, &partial, &settings)
        })
        .or_fail(ExitCode::Bug, doing())?;
        replace(&partial, &target)?;
        exports.push(format!("{}/transformers", export.destination));
    }
    context
        .reporter
        .update(|report| report.export = Some(ExportReport { exports }));
    Ok(Ended::Done)
}

fn folder(url: &str) -> Result<PathBuf, Failure> {
    let path = url
        .strip_prefix("file://")
        .filter(|path| path.starts_with('/'));
    path.map(PathBuf::from).ok_or_else(|| {
        Failure::new(
            ExitCode::Usage,
            format!("spec.export.destination is {url:?}; accepted: file:///path"),
        )
    })
}

/// Beside the target, so that a rename moves nothing; one name a run, so that what a killed worker
/// left is swept by the next.
fn partial_of(target: &Path, run: &RunIdentity) -> PathBuf {
    target.with_file_name(format!(".transformers.{}.{}.part", run.namespace, run.name))
}

/// Puts the finished folder in place of an earlier export, and of nothing else.
fn replace(partial: &Path, target: &Path) -> Result<(), Failure> {
    let doing = || format!("failed to put the export at {}", target.display());
    let old = partial.with_extension("old");
    let _ = std::fs::remove_dir_all(&old);
    let replaces = target.exists();
    if replaces {
        if !target.join(MODELLING_FILE).exists() {
            return Err(Failure::new(
                ExitCode::PermissionDenied,
                format!(
                    "spec.export.destination: {} exists and is no export of ours; move it away",
                    target.display()
                ),
            ));
        }
        std::fs::rename(target, &old).or_fail(ExitCode::PermissionDenied, doing())?;
    }
    if let Err(error) = std::fs::rename(partial, target) {
        if replaces {
            let _ = std::fs::rename(&old, target);
        }
        return Err(error).or_fail(ExitCode::PermissionDenied, doing());
    }
    let _ = std::fs::remove_dir_all(&old);
    Ok(())
}
