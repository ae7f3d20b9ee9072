//! Checkpoints in the store: written whole, found again by a pointer, and removed when outlived.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use darwinlm_store::{Files, Folder, FolderWriter, open_folder};
use darwinlm_task::ExitCode;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::task::block_in_place;

use super::failure;
use super::trained::{TRAINED_LOSSES, TRAINED_WEIGHTS};
use crate::command::work::{Context, store_failure};
use crate::failure::{Failure, OrFail};
use crate::train::{CHECKPOINT_FILES, PostTraining, TrainError};
use crate::weights::MappedTensors;

/// The newest whole checkpoint.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Newest {
    step: u64,
}

/// Everything that one training keeps in the store.
pub(super) struct Checkpoints<'a> {
    context: &'a Context,
    digest: String,
}

impl<'a> Checkpoints<'a> {
    pub(super) fn new(context: &'a Context, digest: &str) -> Self {
        Self {
            context,
            digest: digest.to_owned(),
        }
    }

    /// The loss of every step and the key of the trained weights, once they are there.
    pub(super) async fn trained(&self) -> Result<Option<(Vec<f64>, String)>, Failure> {
        let key = self.context.paths.trained(&self.digest);
        let Some(folder) = self.folder(&key).await? else {
            return Ok(None);
        };
        let path = folder.fetch(TRAINED_LOSSES, &self.context.cache).await;
        let path = path.map_err(store_failure)?;
        let losses = MappedTensors::open(&path).and_then(|file| file.doubles("losses"));
        let losses = losses.or_fail(ExitCode::BadData, "failed to read the loss curve")?;
        Ok(Some((losses, key)))
    }

    /// Goes on from the newest checkpoint and returns its key, if there is one.
    pub(super) async fn resume(
        &self,
        run: &mut PostTraining<'_>,
    ) -> Result<Option<String>, Failure> {
        let Some(newest) = self.newest().await? else {
            return Ok(None);
        };
        let key = self.context.paths.checkpoint(&self.digest, newest);
        let Some(folder) = self.folder(&key).await? else {
            return Ok(None);
        };
        let mut files: [PathBuf; 4] = Default::default();
        for (file, name) in files.iter_mut().zip(CHECKPOINT_FILES) {
            let fetched = folder.fetch(name, &self.context.cache).await;
            *file = fetched.map_err(store_failure)?;
        }
        block_in_place(|| run.resume(files.each_ref().map(PathBuf::as_path)))
            .or_fail(ExitCode::BadData, format!("failed to go on from {key}"))?;
        tracing::info!(step = newest, "training goes on from a checkpoint");
        Ok(Some(key))
    }

    /// Writes a checkpoint, points to it, and removes the one before the one before.
    pub(super) async fn write(&self, run: &PostTraining<'_>) -> Result<String, Failure> {
        let before = self.newest().await?;
        let step = run.losses().len() as u64;
        let key = self.context.paths.checkpoint(&self.digest, step);
        let about = json!({ "training": self.digest, "step": step });
        let folder = self
            .put(&key, &CHECKPOINT_FILES, &about, |scratch| {
                run.write_checkpoint(scratch)
            })
            .await?;
        let newest = serde_json::to_vec(&Newest { step }).expect("a number is JSON");
        self.context
            .store
            .put_overwrite(
                &self.context.paths.newest_checkpoint(&self.digest),
                Bytes::from(newest),
            )
            .await
            .map_err(store_failure)?;
        if let Some(before) = before.filter(|&before| before != step) {
            self.remove(before).await?;
        }
        Ok(folder.key().to_owned())
    }

    /// Writes the trained weights, then removes the last checkpoint: nothing goes on from it.
    pub(super) async fn finish(&self, run: &PostTraining<'_>) -> Result<(), Failure> {
        let key = self.context.paths.trained(&self.digest);
        let about = json!({ "training": self.digest, "tokens": run.tokens() });
        self.put(
            &key,
            &[TRAINED_WEIGHTS, TRAINED_LOSSES],
            &about,
            |scratch| {
                run.write_weights(&scratch.join(TRAINED_WEIGHTS))?;
                run.write_losses(&scratch.join(TRAINED_LOSSES))
            },
        )
        .await?;
        if let Some(newest) = self.newest().await? {
            self.remove(newest).await?;
            let pointer = self.context.paths.newest_checkpoint(&self.digest);
            let removed = self.context.store.remove(&pointer).await;
            removed.map_err(store_failure)?;
        }
        Ok(())
    }

    async fn newest(&self) -> Result<Option<u64>, Failure> {
        let key = self.context.paths.newest_checkpoint(&self.digest);
        let bytes = self.context.store.get_if_exists(&key).await;
        let Some(bytes) = bytes.map_err(store_failure)? else {
            return Ok(None);
        };
        let newest: Newest = serde_json::from_slice(&bytes)
            .or_fail(ExitCode::BadData, format!("failed to read {key}"))?;
        Ok(Some(newest.step))
    }

    async fn remove(&self, step: u64) -> Result<(), Failure> {
        let key = self.context.paths.checkpoint(&self.digest, step);
        match self.folder(&key).await? {
            Some(folder) => folder.remove().await.map_err(store_failure),
            None => Ok(()),
        }
    }

    async fn folder(&self, key: &str) -> Result<Option<Folder>, Failure> {
        open_folder(&self.context.store, key)
            .await
            .map_err(store_failure)
    }

    /// Writes files on this machine, copies them into a folder of the store, and completes it.
    async fn put(
        &self,
        key: &str,
        names: &[&str],
        about: &serde_json::Value,
        write: impl FnOnce(&Path) -> Result<(), TrainError>,
    ) -> Result<Folder, Failure> {
        let name = format!("checkpoint-{}", self.context.worker);
        let scratch = Scratch::make(self.context.cache.join(name))?;
        block_in_place(|| write(&scratch.0)).map_err(failure)?;
        let writer = FolderWriter::new(&self.context.store, key);
        let mut files = Files::new();
        for name in names {
            let stored = writer.put_file(name, &scratch.0.join(name)).await;
            files.insert((*name).to_owned(), stored.map_err(store_failure)?);
        }
        writer.finish(about, files).await.map_err(store_failure)
    }
}

/// A folder of this worker that goes with its value.
struct Scratch(PathBuf);

impl Scratch {
    fn make(path: PathBuf) -> Result<Self, Failure> {
        std::fs::create_dir_all(&path)
            .or_fail(ExitCode::Bug, format!("failed to make {}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
