//! The survivor as it is written: assembled, with what it was cut out of and what is told of it.

use std::path::{Path, PathBuf};

use darwinlm_search::Survivor;
use darwinlm_store::Folder;
use darwinlm_task::{EvaluationReport, ExitCode, ExportFormat, QueryHeadLayout};
use tokio::task::block_in_place;

use super::super::compute::{Prepared, open_database};
use super::super::context::{Context, store_failure};
use super::super::post_train::open_trained;
use super::place::{Place, RECORD};
use super::record::{CARD, Identity, Record};
use crate::database::Database;
use crate::export::{
    Card, ExportSettings, Parameters, Provenance, export_masked_dense, export_transformers,
    hub_name, mask,
};
use crate::failure::{Failure, OrFail};
use crate::model::{DenseModel, Model};
use crate::stitch::stitch;

/// What is told of the survivor, whatever the format.
pub(super) struct Told {
    pub(super) survivor: Survivor,
    /// Digest of its training, if it was trained.
    pub(super) training: Option<String>,
    pub(super) layout: QueryHeadLayout,
    pub(super) evaluation: Option<EvaluationReport>,
    pub(super) provenance: Provenance,
}

pub(super) struct Subject {
    source: PathBuf,
    dense: DenseModel,
    database: Database,
    model: Model,
    told: Told,
}

impl Subject {
    /// Loads the dense model and assembles the survivor.
    pub(super) async fn open(
        context: &Context,
        prepared: &Prepared,
        stored: &Folder,
        told: Told,
    ) -> Result<Self, Failure> {
        let database = open_database(stored, &context.cache).await?;
        let dense = prepared.dense(context).await?;
        let source = prepared.model_folder(context).await?;
        let mut subject = Self::assemble(source, dense, database, told)?;
        if let Some(digest) = &subject.told.training {
            subject.model = open_trained(context, digest, &subject.model).await?;
        }
        Ok(subject)
    }

    /// The survivor as the search left it, untrained.
    pub(super) fn assemble(
        source: PathBuf,
        dense: DenseModel,
        database: Database,
        told: Told,
    ) -> Result<Self, Failure> {
        let model = block_in_place(|| stitch(&dense, &database, &told.survivor.genome))
            .or_fail(ExitCode::BadData, "failed to assemble the survivor")?;
        Ok(Self {
            source,
            dense,
            database,
            model,
            told,
        })
    }

    /// Makes one export in a place: the checkpoint, its card, and the record that makes it count. Of one
    /// that fails nothing stays.
    pub(super) async fn export(&self, of: Identity, place: Place) -> Result<(), Failure> {
        self.fill(of, &place).await?;
        place.finish()
    }

    async fn fill(&self, of: Identity, place: &Place) -> Result<(), Failure> {
        let partial = place.partial();
        let writing = || format!("failed to write {}", partial.display());
        let write = |name, bytes: &[u8]| {
            std::fs::write(partial.join(name), bytes).or_fail(ExitCode::PermissionDenied, writing())
        };
        let stored = block_in_place(|| self.write_checkpoint(of.format, partial))?;
        write(CARD, self.card(of.format, stored, partial).as_bytes())?;
        let record = Record::over(of, partial).await.map_err(store_failure)?;
        write(RECORD, &record.to_bytes())
    }

    /// Writes everything that engines read; the number of weights.
    fn write_checkpoint(&self, format: ExportFormat, folder: &Path) -> Result<u64, Failure> {
        let config = &self.dense.config;
        let written = match format {
            ExportFormat::Transformers => {
                let layout = self.told.layout;
                let settings = ExportSettings { layout };
                export_transformers(&self.model, config, &self.source, folder, &settings)
            }
            ExportFormat::MaskedDense => {
                let genome = &self.told.survivor.genome;
                let masked = mask(&self.model, &self.dense, &self.database, genome)
                    .or_fail(ExitCode::BadData, "failed to mask the survivor")?;
                export_masked_dense(&masked, config, &self.source, folder)
            }
        };
        written.or_fail(
            ExitCode::Bug,
            format!("failed to write {}", folder.display()),
        )
    }

    fn card(&self, format: ExportFormat, stored: u64, folder: &Path) -> String {
        let manifest = self.database.manifest();
        let config = &self.dense.config;
        let written = config.raw.get("_name_or_path");
        let tokenizers = ["tokenizer.json", "tokenizer.model", "vocab.json"];
        let card = Card {
            format,
            layout: self.told.layout,
            family: config.family,
            base_model: written.and_then(|name| name.as_str()).and_then(hub_name),
            tokenizer: tokenizers.iter().any(|name| folder.join(name).exists()),
            shape: &manifest.shape,
            ladders: &manifest.ladders,
            genome: &self.told.survivor.genome,
            parameters: Parameters {
                dense: self.told.provenance.plan.dense_parameters,
                pruned: self.told.survivor.parameters,
                stored,
            },
            evaluation: self.told.evaluation.as_ref(),
            provenance: &self.told.provenance,
        };
        card.text()
    }
}
