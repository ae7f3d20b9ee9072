//! `export`: writes the survivor's checkpoint in every format asked for.

mod by_hand;
mod facts;
mod place;
mod record;
mod subject;

use std::path::PathBuf;

use darwinlm_task::{
    ExitCode, ExportFormat, ExportReport, ExportSpec, PostTrainingSpec, PruningSpec,
    SearchSettings, TargetSpec,
};

pub(super) use self::by_hand::by_hand;
use self::facts::provenance;
use self::place::Place;
use self::record::{Identity, is_there};
use self::subject::{Subject, Told};
use super::compute::Prepared;
use super::context::{Context, Ended, store_failure};
use super::evaluate::{Evaluated, Evaluation};
use super::post_train::training_digest;
use super::search::{found, problem};
use crate::failure::Failure;

/// The field that says where to.
const DESTINATION: &str = "spec.export.destination";

/// Writes each format into a folder of its own below the destination, unless it lies there.
pub(super) async fn task(
    context: &Context,
    pruning: &PruningSpec,
    target: TargetSpec,
    settings: &SearchSettings,
    training: Option<&PostTrainingSpec>,
    export: &ExportSpec,
) -> Result<Ended, Failure> {
    let destination = folder(&export.destination)?;
    let prepared = Prepared::open(context).await?;
    let stored = prepared.database_folder(context, pruning).await?;
    let about = stored.about().map_err(store_failure)?;
    let problem = problem(&prepared, &about, &stored, target, settings)?;
    let found = found(context, &problem).await?;
    let trained = training.map(|training| training_digest(&prepared, &found, training));
    let of = Evaluated::new(&found, trained.clone());
    // a run that went on after it has another
    let evaluation = Evaluation::stored(context).await?;
    let evaluation = evaluation.filter(|known| known.of == of);
    let identity = |format| {
        let told = evaluation.as_ref().map(Evaluation::sha256);
        let genome = found.survivor.genome.clone();
        let layout = export.query_head_layout;
        Identity::new(format, layout, found.digest, genome, trained.clone(), told)
    };
    let place = |format: ExportFormat| destination.join(format.folder());
    let mut missing = export.formats.clone();
    missing.retain(|&format| !is_there(&identity(format), &place(format)));
    if !missing.is_empty() {
        let database = prepared.database_digest(pruning);
        let plan = &prepared.plan;
        let told = Told {
            survivor: found.survivor.clone(),
            training: trained.clone(),
            layout: export.query_head_layout,
            evaluation: evaluation.as_ref().map(|known| known.report.clone()),
            provenance: provenance(context, plan, database, target, training, &problem, &found)
                .await?,
        };
        let subject = Subject::open(context, &prepared, &stored, told).await?;
        for format in missing {
            let place = Place::open(place(format), &context.spec.run, DESTINATION)?;
            subject.export(identity(format), place).await?;
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
            format!("{DESTINATION} is {url:?}; accepted: file:///path"),
        )
    })
}
