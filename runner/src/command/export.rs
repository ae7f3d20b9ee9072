//! `export`: writes the survivor's checkpoint in every format asked for.

mod place;
mod record;

use std::path::{Path, PathBuf};

use darwinlm_search::Genome;
use darwinlm_store::{Folder, digest_bytes};
use darwinlm_task::{
    ExitCode, ExportFormat, ExportReport, ExportSpec, PruningSpec, QueryHeadLayout, SearchSettings,
    TargetSpec,
};
use tokio::task::block_in_place;

use self::place::{Place, RECORD};
use self::record::{Identity, Record, is_there};
use super::compute::{Prepared, open_database};
use super::search::{found, problem};
use super::work::{Context, Ended, store_failure};
use crate::database::Database;
use crate::export::{ExportSettings, export_masked_dense, export_transformers, mask};
use crate::failure::{Failure, OrFail};
use crate::model::{DenseModel, Model};
use crate::stitch::stitch;

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
    let key = context.paths.evaluation();
    let evaluation = context.store.get_if_exists(&key).await;
    let evaluation = evaluation.map_err(store_failure)?;
    let identity = |format| {
        let told = evaluation.as_ref().map(|bytes| digest_bytes(bytes).sha256);
        let genome = found.survivor.genome.clone();
        Identity::new(format, export.query_head_layout, found.digest, genome, told)
    };
    let place = |format: ExportFormat| destination.join(format.folder());
    let mut missing = export.formats.clone();
    missing.retain(|&format| !is_there(&identity(format), &place(format)));
    if !missing.is_empty() {
        let subject = Subject::open(context, &prepared, &stored, &found.survivor.genome).await?;
        for format in missing {
            let (of, layout) = (identity(format), export.query_head_layout);
            subject.export(context, of, layout, &place(format)).await?;
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

/// The survivor, assembled, with what it was cut out of.
struct Subject {
    source: PathBuf,
    dense: DenseModel,
    database: Database,
    model: Model,
}

impl Subject {
    async fn open(
        context: &Context,
        prepared: &Prepared,
        stored: &Folder,
        genome: &Genome,
    ) -> Result<Self, Failure> {
        let database = open_database(stored, &context.cache).await?;
        let dense = prepared.dense(context).await?;
        let source = prepared.model_folder(context).await?;
        let model = block_in_place(|| stitch(&dense, &database, genome))
            .or_fail(ExitCode::BadData, "failed to assemble the survivor")?;
        Ok(Self {
            source,
            dense,
            database,
            model,
        })
    }

    /// Makes one export: the checkpoint, and the record that makes it count.
    async fn export(
        &self,
        context: &Context,
        of: Identity,
        layout: QueryHeadLayout,
        target: &Path,
    ) -> Result<(), Failure> {
        let place = Place::open(target.to_owned(), &context.spec.run)?;
        let partial = place.partial();
        block_in_place(|| self.write(&of, layout, partial))?;
        let record = Record::over(of, partial).await.map_err(store_failure)?;
        std::fs::write(partial.join(RECORD), record.to_bytes())
            .or_fail(ExitCode::PermissionDenied, writing(partial))?;
        place.finish()
    }

    fn write(&self, of: &Identity, layout: QueryHeadLayout, folder: &Path) -> Result<(), Failure> {
        let config = &self.dense.config;
        let written = match of.format {
            ExportFormat::Transformers => {
                let settings = ExportSettings { layout };
                export_transformers(&self.model, config, &self.source, folder, &settings)
            }
            ExportFormat::MaskedDense => {
                let masked = mask(&self.model, &self.dense, &self.database, &of.genome)
                    .or_fail(ExitCode::BadData, "failed to mask the survivor")?;
                export_masked_dense(&masked, config, &self.source, folder)
            }
        };
        written.or_fail(ExitCode::Bug, writing(folder))
    }
}

fn writing(folder: &Path) -> String {
    format!("failed to write {}", folder.display())
}
