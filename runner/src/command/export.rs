//! `export`: writes the survivor's checkpoint in every format asked for.

mod facts;
mod place;
mod record;
mod subject;

use std::path::PathBuf;

use darwinlm_task::{
    ExitCode, ExportFormat, ExportReport, ExportSpec, PruningSpec, SearchSettings, TargetSpec,
};

use self::facts::{Evaluation, provenance};
use self::record::{Identity, is_there};
use self::subject::{Subject, Told};
use super::compute::Prepared;
use super::search::{found, problem};
use super::work::{Context, Ended, store_failure};
use crate::failure::Failure;

/// Writes each format into a folder of its own below the destination, unless it lies there.
pub(super) async fn task(
    context: &Context,
    pruning: &PruningSpec,
    target: TargetSpec,
    settings: &SearchSettings,
    export: &ExportSpec,
) -> Result<Ended, Failure> {
    let destination = folder(&export.destination)?;
    let prepared = Prepared::open(context).await?;
    let stored = prepared.database_folder(context, pruning).await?;
    let about = stored.about().map_err(store_failure)?;
    let problem = problem(&prepared, &about, &stored, target, settings)?;
    let found = found(context, &problem).await?;
    let evaluation = Evaluation::of(context, &found.survivor).await?;
    let identity = |format| {
        let told = evaluation.as_ref().map(|known| known.sha256.clone());
        let genome = found.survivor.genome.clone();
        Identity::new(format, export.query_head_layout, found.digest, genome, told)
    };
    let place = |format: ExportFormat| destination.join(format.folder());
    let mut missing = export.formats.clone();
    missing.retain(|&format| !is_there(&identity(format), &place(format)));
    if !missing.is_empty() {
        let database = prepared.database_digest(pruning);
        let plan = &prepared.plan;
        let told = Told {
            survivor: found.survivor.clone(),
            layout: export.query_head_layout,
            evaluation: evaluation.as_ref().map(|known| known.report.clone()),
            provenance: provenance(context, plan, database, target, &problem, &found).await?,
        };
        let subject = Subject::open(context, &prepared, &stored, told).await?;
        for format in missing {
            subject
                .export(context, identity(format), &place(format))
                .await?;
        }
    }
    let url = |format: &ExportFormat| format!("{}/{}", export.destination, format.folder());
    let exports = export.formats.iter().map(url).collect();
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
