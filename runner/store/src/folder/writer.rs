//! Fills a write-once folder, alone or as one of several workers.

use std::collections::BTreeMap;
use std::path::Path;

use bytes::Bytes;
use darwinlm_task::paths::MANIFEST;
use serde::Serialize;

use super::{FileEntry, Folder, Manifest, open_folder};
use crate::seal::{seal, unseal};
use crate::{Store, StoreError, digest_bytes, digest_file};

/// Files of a folder by the name they are asked for.
pub type Files = BTreeMap<String, FileEntry>;

/// Writes the files of one write-once folder, and its manifest last.
///
/// Any number of writers may fill the same folder at once. Files are named by their content, so
/// that none overwrites another's; parts and the manifest are create-only, and the first wins.
#[derive(Clone, Debug)]
pub struct FolderWriter {
    store: Store,
    key: String,
}

impl FolderWriter {
    /// A writer of the folder under this key; see [`open_folder`] for whether one is needed.
    pub fn new(store: &Store, key: &str) -> Self {
        Self {
            store: store.clone(),
            key: key.to_owned(),
        }
    }

    /// The complete folder, if it is there already.
    ///
    /// # Errors
    /// Like [`open_folder`].
    pub async fn complete(&self) -> Result<Option<Folder>, StoreError> {
        open_folder(&self.store, &self.key).await
    }

    /// Writes a small file.
    ///
    /// # Errors
    /// What the store answers.
    pub async fn put(&self, name: &str, bytes: Bytes) -> Result<FileEntry, StoreError> {
        let file = FileEntry::new(name, digest_bytes(&bytes));
        let key = format!("{}/{}", self.key, file.stored);
        let settled = self.store.settle(&key, bytes).await?;
        self.store
            .check_digest(&key, &digest_bytes(&settled.stored).sha256, &file.sha256)?;
        Ok(file)
    }

    /// Copies a large file of this machine.
    ///
    /// # Errors
    /// When the file cannot be read or changes meanwhile, or what the store answers.
    pub async fn put_file(&self, name: &str, path: &Path) -> Result<FileEntry, StoreError> {
        let file = FileEntry::new(name, digest_file(path).await?);
        let key = format!("{}/{}", self.key, file.stored);
        // Its digest, not its length: an earlier writer's machine may have died over it.
        let is_there = self.store.size(&key).await? == Some(file.bytes)
            && self.store.digest(&key).await?.sha256 == file.sha256;
        if !is_there {
            let copied = self.store.put_file(&key, path).await?;
            self.store
                .check_digest(&key, &copied.sha256, &file.sha256)?;
        }
        Ok(file)
    }

    /// Reads a small file that a writer of this folder put, and checks it.
    ///
    /// # Errors
    /// Like [`Store::read_verified`].
    pub async fn read(&self, file: &FileEntry) -> Result<Bytes, StoreError> {
        self.store
            .read_verified(&format!("{}/{}", self.key, file.stored), &file.sha256)
            .await
    }

    /// Says that a part of the folder is done, for folders that several workers fill, and returns
    /// the part's files: those of whoever was first.
    ///
    /// # Errors
    /// What the store answers, or when the part cannot be read.
    pub async fn finish_part(&self, part: &str, files: &Files) -> Result<Files, StoreError> {
        let key = self.part_key(part);
        let settled = self.store.settle(&key, seal(files)).await?;
        unseal(&self.store, &key, &settled.stored)
    }

    /// The files of a part, if it is done.
    ///
    /// # Errors
    /// What the store answers, or when the part cannot be read.
    pub async fn part(&self, part: &str) -> Result<Option<Files>, StoreError> {
        let key = self.part_key(part);
        let bytes = self.store.get_if_exists(&key).await?;
        bytes
            .map(|bytes| unseal(&self.store, &key, &bytes))
            .transpose()
    }

    /// Writes the manifest, which completes the folder, and opens it as it is stored.
    ///
    /// Another writer may have been first. If its files differ (the same computation on another
    /// device), its files are used; if it is about something else, the folder's key leaves out an
    /// input, and that is an error.
    ///
    /// # Errors
    /// What the store answers, or [`StoreError::Conflict`] with both descriptions.
    pub async fn finish<T: Serialize>(
        &self,
        about: &T,
        files: Files,
    ) -> Result<Folder, StoreError> {
        let key = format!("{}/{MANIFEST}", self.key);
        let about =
            serde_json::to_value(about).map_err(|error| self.store.malformed(&key, error))?;
        let manifest = Manifest::new(about, files);
        let settled = self.store.settle(&key, manifest.to_bytes()).await?;
        let folder = Folder::read_from(&self.store, &self.key, &settled.stored)?;
        if folder.manifest.about != manifest.about {
            return Err(StoreError::Conflict {
                key,
                url: self.store.url().to_owned(),
                stored: folder.manifest.about.to_string(),
                ours: manifest.about.to_string(),
            });
        }
        if !settled.ours {
            tracing::warn!(
                key,
                "Another worker completed the folder with other files; they stay."
            );
        }
        Ok(folder)
    }

    fn part_key(&self, part: &str) -> String {
        format!("{}/parts/{part}.json", self.key)
    }
}
