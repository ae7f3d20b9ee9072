//! Write-once folders: files first, `manifest.json` last; nothing is trusted that it does not name.

mod manifest;
mod writer;

use std::path::{Path, PathBuf};

use bytes::Bytes;
use darwinlm_task::paths::MANIFEST;
use serde::de::DeserializeOwned;

use crate::{Store, StoreError, digest_bytes};

pub use manifest::{FileEntry, Manifest};
pub use writer::{Files, FolderWriter};

/// A complete write-once folder, read through its manifest.
#[derive(Clone, Debug)]
pub struct Folder {
    store: Store,
    key: String,
    manifest: Manifest,
    sha256: String,
}

/// Opens a write-once folder (`models/<digest>`, `tokens/…`, `databases/…`, `teachers/…`).
///
/// `None` when it has no manifest: whatever lies there is not complete.
///
/// # Errors
/// What the store answers, and [`StoreError::Malformed`] when the manifest cannot be read.
pub async fn open_folder(store: &Store, key: &str) -> Result<Option<Folder>, StoreError> {
    let manifest_key = format!("{key}/{MANIFEST}");
    let bytes = store.get_if_exists(&manifest_key).await?;
    bytes
        .map(|bytes| Folder::read_from(store, key, &bytes))
        .transpose()
}

impl Folder {
    fn read_from(store: &Store, key: &str, bytes: &[u8]) -> Result<Self, StoreError> {
        let manifest = Manifest::from_bytes(bytes)
            .map_err(|reason| store.malformed(&format!("{key}/{MANIFEST}"), reason))?;
        let sha256 = digest_bytes(bytes).sha256;
        Ok(Self {
            store: store.clone(),
            key: key.to_owned(),
            manifest,
            sha256,
        })
    }

    /// The folder's key.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The manifest.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// sha256 of the manifest's bytes as 64 hex digits: it pins the whole folder.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// Bytes of all files together.
    pub fn bytes(&self) -> u64 {
        self.manifest.files.values().map(|file| file.bytes).sum()
    }

    /// What the folder is about, as its writer put it.
    ///
    /// # Errors
    /// [`StoreError::Malformed`] naming the manifest when it is not what `T` is written as.
    pub fn about<T: DeserializeOwned>(&self) -> Result<T, StoreError> {
        serde_json::from_value(self.manifest.about.clone()).map_err(|error| {
            self.store
                .malformed(&format!("{}/{MANIFEST}", self.key), error)
        })
    }

    /// What the manifest says of a file.
    ///
    /// # Errors
    /// [`StoreError::NotInFolder`], listing what there is.
    pub fn file(&self, name: &str) -> Result<&FileEntry, StoreError> {
        self.manifest
            .files
            .get(name)
            .ok_or_else(|| StoreError::NotInFolder {
                name: name.to_owned(),
                folder: self.key.clone(),
                url: self.store.url().to_owned(),
                known: self
                    .manifest
                    .files
                    .keys()
                    .cloned()
                    .collect::<Vec<_>>()
                    .join(", "),
            })
    }

    /// The key a file lies under.
    ///
    /// # Errors
    /// Like [`Folder::file`].
    pub fn file_key(&self, name: &str) -> Result<String, StoreError> {
        Ok(format!("{}/{}", self.key, self.file(name)?.stored))
    }

    /// Reads a small file and checks it.
    ///
    /// # Errors
    /// Like [`Folder::file`] and [`Store::read_verified`].
    pub async fn read(&self, name: &str) -> Result<Bytes, StoreError> {
        self.store
            .read_verified(&self.file_key(name)?, &self.file(name)?.sha256)
            .await
    }

    /// A path on this machine to a large file, to map it: checked, and copied to `cache` first if
    /// the store is not a folder.
    ///
    /// # Errors
    /// Like [`Folder::file`] and [`Store::fetch`].
    pub async fn fetch(&self, name: &str, cache: &Path) -> Result<PathBuf, StoreError> {
        self.store
            .fetch(&self.file_key(name)?, &self.file(name)?.sha256, cache)
            .await
    }

    /// Checks every file.
    ///
    /// # Errors
    /// The first file that is missing or differs, by name.
    pub async fn verify(&self) -> Result<(), StoreError> {
        for (name, file) in &self.manifest.files {
            let key = self.file_key(name)?;
            let found = self.store.digest(&key).await?;
            self.store.check_digest(&key, &found.sha256, &file.sha256)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
