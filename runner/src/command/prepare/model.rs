//! The model of a run: which of its files are kept, and their copy in the store.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use darwinlm_store::{FolderWriter, digest_file};
use darwinlm_task::{ExitCode, Fetched, paths};
use serde_json::json;
use tch::Kind;
use tokio::task::block_in_place;

use super::super::context::{Context, store_failure};
use super::{digest_of, source_failure};
use crate::failure::{Failure, OrFail};
use crate::model::{DenseModel, ModelConfig};
use crate::sources::{Fetcher, MODEL_FILES, ModelSource};
use crate::weights::Checkpoint;

/// A model that was looked at and found whole.
pub(super) struct Model {
    pub(super) folder: PathBuf,
    pub(super) config: ModelConfig,
    /// sha256 of all that is kept: the folder `models/<digest>/`.
    pub(super) digest: String,
    /// sha256 of each file that is kept, by name.
    pub(super) digests: BTreeMap<String, String>,
    /// Where it was fetched from, unless it was here.
    pub(super) fetched: Option<Fetched>,
    files: BTreeMap<String, PathBuf>,
}

const FIELD: &str = "spec.model.source";

impl Model {
    /// Fetches the model and digests every file. The configuration comes first: a model that is
    /// refused is not fetched.
    pub(super) async fn open(
        context: &Context,
        url: &str,
        fetcher: &Fetcher<'_>,
    ) -> Result<Self, Failure> {
        let failed = |error| source_failure(FIELD, error);
        let source = ModelSource::open(url, fetcher).await.map_err(failed)?;
        source.fetch_descriptions(fetcher).await.map_err(failed)?;
        let folder = source.folder().to_owned();
        let config =
            ModelConfig::open(&folder).or_fail(ExitCode::BadData, "the model is refused")?;
        source.fetch_weights(fetcher).await.map_err(failed)?;
        let files = model_files(&folder)?;
        let mut digests = BTreeMap::new();
        for (done, (name, path)) in files.iter().enumerate() {
            context
                .reporter
                .progress(done as u64, files.len() as u64, "model files");
            let digest = digest_file(path).await.map_err(store_failure)?;
            digests.insert(name.clone(), digest.sha256);
        }
        Ok(Self {
            digest: digest_of(&json!({ "files": digests })),
            fetched: source.fetched_from().map(|from| Fetched {
                field: FIELD.to_owned(),
                from,
            }),
            folder,
            config,
            digests,
            files,
        })
    }

    /// Loads every weight once: a file that is not whole is found here, before anything is kept.
    pub(super) fn check_weights(&self, kind: Kind) -> Result<(), Failure> {
        block_in_place(|| DenseModel::open(&self.folder, kind, tch::Device::Cpu)).or_fail(
            ExitCode::BadData,
            format!("failed to load the model in {}", self.folder.display()),
        )?;
        Ok(())
    }

    /// Copies the files into the store, unless they are there.
    pub(super) async fn keep(&self, context: &Context) -> Result<(), Failure> {
        let folder = paths::model(&self.digest);
        context.uses(&folder).await?;
        let writer = FolderWriter::new(&context.store, &folder);
        if writer.complete().await.map_err(store_failure)?.is_some() {
            return Ok(());
        }
        let mut kept = BTreeMap::new();
        for (done, (name, path)) in self.files.iter().enumerate() {
            context
                .reporter
                .progress(done as u64, self.files.len() as u64, "model files");
            let file = writer.put_file(name, path).await.map_err(store_failure)?;
            kept.insert(name.clone(), file);
        }
        writer
            .finish(&json!({ "digest": self.digest }), kept)
            .await
            .map_err(store_failure)?;
        Ok(())
    }
}

/// The files of the model's folder that are kept, by name. Of weights those alone that are read:
/// some folders hold them a second time, in another layout.
fn model_files(folder: &Path) -> Result<BTreeMap<String, PathBuf>, Failure> {
    let checkpoint = Checkpoint::open(folder).or_fail(
        ExitCode::BadData,
        format!("failed to open the weights in {}", folder.display()),
    )?;
    let weights: BTreeSet<String> = checkpoint.file_names().collect();
    let entries = std::fs::read_dir(folder).or_fail(
        ExitCode::InputMissing,
        format!("failed to read {}", folder.display()),
    )?;
    let files = entries.flatten().filter_map(|entry| {
        let name = entry.file_name().into_string().ok()?;
        let kept = MODEL_FILES.contains(&name.as_str()) || weights.contains(&name);
        (kept && entry.path().is_file()).then(|| (name, entry.path()))
    });
    Ok(files.collect())
}
