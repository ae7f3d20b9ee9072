//! `export`: writes the survivor's checkpoint in every format asked for.

mod place;

use std::path::PathBuf;

use darwinlm_task::{
    ExitCode, ExportFormat, ExportReport, ExportSpec, PruningSpec, SearchSettings, TargetSpec,
};
use tokio::task::block_in_place;

use self::place::{Place, RECORD};
use super::compute::Prepared;
use super::search::{found, problem};
use super::work::{Context, Ended};
use crate::export::{ExportSettings, export_masked_dense, export_transformers, mask};
use crate::failure::{Failure, OrFail};
use crate::stitch::stitch;

/// Writes each format into a folder of its own below the destination.
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
    let settings = ExportSettings {
        layout: export.query_head_layout,
    };
    let mut exports = Vec::new();
    for &format in &export.formats {
        let place = Place::open(destination.join(format.folder()), &context.spec.run)?;
        let partial = place.partial();
        let doing = || format!("failed to write {}", partial.display());
        block_in_place(|| match format {
            ExportFormat::Transformers => {
                export_transformers(&model, &dense.config, &model_folder, partial, &settings)
                    .or_fail(ExitCode::Bug, doing())
            }
            ExportFormat::MaskedDense => {
                let masked = mask(&model, &dense, &database, &survivor.genome)
                    .or_fail(ExitCode::BadData, "failed to assemble the survivor")?;
                export_masked_dense(&masked, &dense.config, &model_folder, partial)
                    .or_fail(ExitCode::Bug, doing())
            }
        })?;
        std::fs::write(partial.join(RECORD), "{}\n").or_fail(ExitCode::Bug, doing())?;
        place.finish()?;
        exports.push(format!("{}/{}", export.destination, format.folder()));
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
