//! Checkpoints in the store: written whole, found again by a pointer, and removed when outlived.

use std::path::{Path, PathBuf};

use darwinlm_search::Digest;
use darwinlm_store::{Files, Folder, FolderWriter, open_folder};
use darwinlm_task::ExitCode;
use darwinlm_task::paths::{MANIFEST, TRAINED_LOSSES};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::task::block_in_place;

use super::failure;
use super::trained::TRAINED_WEIGHTS;
use crate::command::context::{Context, store_failure};
use crate::failure::{Failure, OrFail};
use crate::train::{CHECKPOINT_FILES, PostTraining, TrainError};
use crate::weights::MappedTensors;

/// The newest whole checkpoint, and the one before, which stays in case the newest is damaged.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Newest {
    step: u64,
    before: Option<u64>,
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

    /// Goes on from the newest checkpoint that is whole and returns its key, if there is one.
    pub(super) async fn resume(
        &self,
        run: &mut PostTraining<'_>,
    ) -> Result<Option<String>, Failure> {
        let Some(Newest { step, before }) = self.newest().await? else {
            return Ok(None);
        };
        for step in [Some(step), before].into_iter().flatten() {
            let key = self.context.paths.checkpoint(&self.digest, step);
            let files = match self.files(&key).await {
                Ok(files) => files,
                Err(failure)
                    if matches!(failure.code, ExitCode::BadData | ExitCode::InputMissing) =>
                {
                    tracing::warn!(%failure, "a checkpoint is not whole; the one before is tried");
                    continue;
                }
                Err(failure) => return Err(failure),
            };
            block_in_place(|| run.resume(files.each_ref().map(PathBuf::as_path)))
                .or_fail(ExitCode::BadData, format!("failed to go on from {key}"))?;
            tracing::info!(step, "training goes on from a checkpoint");
            return Ok(Some(key));
        }
        Ok(None)
    }

    /// The files of a checkpoint on this machine, each checked.
    async fn files(&self, key: &str) -> Result<[PathBuf; 4], Failure> {
        let missing = || Failure::new(ExitCode::InputMissing, format!("{key} is not complete"));
        let folder = self.folder(key).await?.ok_or_else(missing)?;
        let mut files: [PathBuf; 4] = Default::default();
        for (file, name) in files.iter_mut().zip(CHECKPOINT_FILES) {
            let fetched = folder.fetch(name, &self.context.cache).await;
            *file = fetched.map_err(store_failure)?;
        }
        Ok(files)
    }

    /// Writes a checkpoint, points to it, and removes what is older than the one before.
    pub(super) async fn write(&self, run: &PostTraining<'_>) -> Result<String, Failure> {
        let step = run.losses().len() as u64;
        let key = self.context.paths.checkpoint(&self.digest, step);
        let about = json!({ "training": self.digest, "step": step });
        let folder = self
            .put(&key, &CHECKPOINT_FILES, &about, |scratch| {
                run.write_checkpoint(scratch)
            })
            .await?;
        let known = self.newest().await?.map(|newest| newest.step);
        let before = known.filter(|&known| known < step);
        let newest = serde_json::to_vec(&Newest { step, before }).expect("numbers are JSON");
        let pointer = self.context.paths.newest_checkpoint(&self.digest);
        let pointed = self.context.store.put_overwrite(&pointer, newest.into());
        pointed.await.map_err(store_failure)?;
        self.sweep(before.unwrap_or(step)).await?;
        Ok(folder.key().to_owned())
    }

    /// Writes the trained weights; then nothing goes on from a checkpoint any more.
    pub(super) async fn finish(
        &self,
        run: &PostTraining<'_>,
        ledger: Digest,
    ) -> Result<(), Failure> {
        let key = self.context.paths.trained(&self.digest);
        let about = json!({
            "training": self.digest,
            "tokens": run.tokens(),
            "ledger": ledger,
        });
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
        self.sweep(u64::MAX).await
    }

    /// Removes every checkpoint of a step before `first`, also what a killed worker left of one;
    /// with the last of them goes the pointer. A folder's manifest goes before its files.
    pub(super) async fn sweep(&self, first: u64) -> Result<(), Failure> {
        let all = self.context.paths.training(&self.digest);
        let mut keys = self.context.store.list(&all).await.map_err(store_failure)?;
        keys.retain(|key| outlived(key, &all, first));
        keys.sort_by_key(|key| !key.ends_with(MANIFEST));
        for key in keys {
            let removed = self.context.store.remove(&key).await;
            removed.map_err(store_failure)?;
        }
        Ok(())
    }

    async fn newest(&self) -> Result<Option<Newest>, Failure> {
        let key = self.context.paths.newest_checkpoint(&self.digest);
        let bytes = self.context.store.get_if_exists(&key).await;
        let Some(bytes) = bytes.map_err(store_failure)? else {
            return Ok(None);
        };
        serde_json::from_slice(&bytes)
            .map(Some)
            .or_fail(ExitCode::BadData, format!("failed to read {key}"))
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

/// Whether a key below a training's folder belongs to a checkpoint of a step before `first`, or is
/// the pointer when all of them are.
fn outlived(key: &str, training: &str, first: u64) -> bool {
    let below = key
        .strip_prefix(training)
        .and_then(|rest| rest.strip_prefix('/'));
    let part = below.and_then(|rest| rest.split('/').next()).unwrap_or("");
    match part.parse::<u64>() {
        Ok(step) => step < first,
        Err(_) => part == "newest.json" && first == u64::MAX,
    }
}

/// A folder of this worker that goes with its value.
struct Scratch(PathBuf);

impl Scratch {
    fn make(path: PathBuf) -> Result<Self, Failure> {
        std::fs::create_dir_all(&path).or_fail(
            ExitCode::StoreUnavailable,
            format!("failed to make {}", path.display()),
        )?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::outlived;

    #[test]
    fn only_older_steps_of_this_training_are_outlived() {
        let training = "runs/a.b/checkpoints/abc";
        let is = |rest: &str, first| outlived(&format!("{training}{rest}"), training, first);
        assert!(is("/00000010/manifest.json", 20) && is("/00000010/weights.1.safetensors", 20));
        assert!(!is("/00000020/manifest.json", 20) && !is("/00000030/manifest.json", 20));
        assert!(!is("/newest.json", 20) && is("/newest.json", u64::MAX));
        for kept in [
            "/trained/manifest.json",
            "/trained/model.1.safetensors",
            "d/00000010/x",
        ] {
            assert!(!is(kept, u64::MAX), "{kept}");
        }
    }
}
