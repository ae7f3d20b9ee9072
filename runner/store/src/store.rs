//! The store: keys to bytes, each write whole or not at all.

mod address;
mod bucket;
mod file_system;
mod transfer;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use futures::TryStreamExt as _;
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use object_store::{ObjectStore, ObjectStoreExt as _, PutMode, PutPayload};
use serde::Serialize;
use serde::de::DeserializeOwned;

pub use bucket::Variable;

use address::Address;

use crate::StoreError;
use crate::digest::digest_bytes;
use crate::tally::{Counters, Tally};

/// What came of a create.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Created {
    /// The file is there now, and was not before.
    Created,
    /// A file was there already and stays as it is.
    Existed,
}

/// What lies under a key, as a listing says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The key.
    pub key: String,
    /// Length in bytes.
    pub bytes: u64,
    /// The store's word for this content (an ETag), where it has one.
    pub version: Option<String>,
    /// When it was last written, in seconds since 1970 by the store's clock.
    pub modified_unix_seconds: i64,
}

impl Listed {
    fn of(meta: object_store::ObjectMeta) -> Self {
        Self {
            key: meta.location.to_string(),
            bytes: meta.size,
            version: meta.e_tag,
            modified_unix_seconds: meta.last_modified.timestamp(),
        }
    }
}

/// An opened store. Clones share one connection.
#[derive(Clone, Debug)]
pub struct Store {
    inner: Arc<dyn ObjectStore>,
    url: Arc<str>,
    root: Option<Arc<Path>>,
    counters: Arc<Counters>,
}

impl Store {
    /// Opens a store for writing; a `file://` folder is made if it is missing. Credentials, region
    /// and endpoint of a bucket come from the environment (`AWS_…`, `GOOGLE_…`, `AZURE_…`).
    ///
    /// `memory:///` gives an empty store of its own each time; share it by cloning.
    ///
    /// # Errors
    /// When the URL cannot be read, its scheme is not supported, or the folder cannot be made.
    pub fn open(url: &str) -> Result<Self, StoreError> {
        match Address::parse(url)? {
            Address::Memory => Ok(Self::over(Arc::new(InMemory::new()), url)),
            Address::Bucket(bucket) => Self::bucket(url, &bucket, environment()),
            Address::Folder(path) => {
                std::fs::create_dir_all(&path).map_err(|source| StoreError::Local {
                    operation: "create the store's folder",
                    path: path.clone(),
                    source,
                })?;
                Self::folder(url, path)
            }
        }
    }

    /// Opens a store for reading: a `file://` folder has to be there.
    ///
    /// # Errors
    /// Like [`Store::open`]; a missing folder is [`StoreError::Local`], exit code 66.
    pub fn open_existing(url: &str) -> Result<Self, StoreError> {
        Self::open_existing_with(url, environment())
    }

    /// As [`Store::open_existing`], with these variables instead of the environment's.
    ///
    /// # Errors
    /// As [`Store::open_existing`].
    pub fn open_existing_with(
        url: &str,
        variables: impl IntoIterator<Item = Variable>,
    ) -> Result<Self, StoreError> {
        match Address::parse(url)? {
            Address::Memory => Ok(Self::over(Arc::new(InMemory::new()), url)),
            Address::Bucket(bucket) => Self::bucket(url, &bucket, variables),
            Address::Folder(path) => Self::folder(url, path),
        }
    }

    fn bucket(
        url: &str,
        bucket: &bucket::Bucket,
        variables: impl IntoIterator<Item = Variable>,
    ) -> Result<Self, StoreError> {
        Ok(Self::over(bucket.open(url, variables)?.into(), url))
    }

    /// A store over any backend; `url` is what messages call it.
    pub fn over(inner: Arc<dyn ObjectStore>, url: &str) -> Self {
        Self {
            inner,
            url: url.into(),
            root: None,
            counters: Arc::default(),
        }
    }

    fn folder(url: &str, path: PathBuf) -> Result<Self, StoreError> {
        let path = path.canonicalize().map_err(|source| StoreError::Local {
            operation: "open the store's folder",
            path: path.clone(),
            source,
        })?;
        let inner = LocalFileSystem::new_with_prefix(&path)
            .map_err(|source| StoreError::answered("open", "", url, source))?
            // A claim or result that vanishes with the power would be written twice.
            .with_fsync(true);
        Ok(Self {
            inner: Arc::new(inner),
            url: url.into(),
            root: Some(path.into()),
            counters: Arc::default(),
        })
    }

    /// The URL the store was opened with.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// What was counted since the store was opened, through it and all its clones.
    pub fn tally(&self) -> Tally {
        self.counters.tally()
    }

    pub(crate) fn counters(&self) -> &Counters {
        &self.counters
    }

    /// What kind of store this is, for messages: the file system's type, or the backend.
    pub fn system(&self) -> String {
        let named = self.root.as_deref().and_then(file_system::of);
        named.unwrap_or_else(|| self.inner.to_string())
    }

    /// Where a key lies on this machine, if the store is a folder: to map large files.
    ///
    /// The file may be missing; what it holds is to be trusted only through a manifest.
    pub fn local_path(&self, key: &str) -> Option<PathBuf> {
        let root = self.root.as_deref()?;
        let parts = key.split('/');
        self.location(key)
            .ok()
            .map(|_| root.join(parts.collect::<PathBuf>()))
    }

    /// Reads a small file.
    ///
    /// # Errors
    /// [`StoreError::Missing`] when there is none, or what the store answers.
    pub async fn get(&self, key: &str) -> Result<Bytes, StoreError> {
        self.get_if_exists(key)
            .await?
            .ok_or_else(|| self.missing("read", key))
    }

    /// Reads a small file that may be missing.
    ///
    /// # Errors
    /// What the store answers, unless it says that there is no such file.
    pub async fn get_if_exists(&self, key: &str) -> Result<Option<Bytes>, StoreError> {
        let location = self.location(key)?;
        let read = async { self.inner.get(&location).await?.bytes().await };
        match read.await {
            Ok(bytes) => Ok(Some(bytes)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(source) => Err(self.answered("read", key, source)),
        }
    }

    /// Writes a small file unless there is one.
    ///
    /// An error does not say that nothing was written: an acknowledgement can be lost. Whoever has
    /// to know uses [`Store::settle`].
    ///
    /// # Errors
    /// What the store answers, unless it says that the file exists.
    pub async fn put_create(&self, key: &str, bytes: Bytes) -> Result<Created, StoreError> {
        let location = self.location(key)?;
        let payload = PutPayload::from_bytes(bytes);
        match self
            .inner
            .put_opts(&location, payload, PutMode::Create.into())
            .await
        {
            Ok(_) => Ok(Created::Created),
            Err(object_store::Error::AlreadyExists { .. }) => Ok(Created::Existed),
            Err(source) => Err(self.answered("create", key, source)),
        }
    }

    /// Replaces a small file: only for beats, worker files and progress, which nobody pins.
    ///
    /// A reader sees the old bytes or the new ones, never a part.
    ///
    /// # Errors
    /// What the store answers.
    pub async fn put_overwrite(&self, key: &str, bytes: Bytes) -> Result<(), StoreError> {
        let location = self.location(key)?;
        let put = self
            .inner
            .put(&location, PutPayload::from_bytes(bytes))
            .await;
        put.map_err(|source| self.answered("write", key, source))?;
        Ok(())
    }

    /// The length of a file in bytes, or `None` if there is none.
    ///
    /// # Errors
    /// What the store answers, unless it says that there is no such file.
    pub async fn size(&self, key: &str) -> Result<Option<u64>, StoreError> {
        Ok(self.file(key).await?.map(|file| file.bytes))
    }

    /// Whether a file lies under the key.
    ///
    /// # Errors
    /// Like [`Store::size`].
    pub async fn exists(&self, key: &str) -> Result<bool, StoreError> {
        Ok(self.size(key).await?.is_some())
    }

    /// Removes a file; a missing one is fine.
    ///
    /// # Errors
    /// What the store answers, unless it says that there is no such file.
    pub async fn remove(&self, key: &str) -> Result<(), StoreError> {
        match self.inner.delete(&self.location(key)?).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(source) => Err(self.answered("remove", key, source)),
        }
    }

    /// The keys below a prefix, sorted. Claims are never found this way, only by name.
    ///
    /// # Errors
    /// What the store answers; a missing prefix is an empty list.
    pub async fn list(&self, prefix: &str) -> Result<Vec<String>, StoreError> {
        let files = self.list_files(prefix).await?;
        Ok(files.into_iter().map(|file| file.key).collect())
    }

    /// What lies below a prefix, by key.
    ///
    /// # Errors
    /// Like [`Store::list`].
    pub async fn list_files(&self, prefix: &str) -> Result<Vec<Listed>, StoreError> {
        let location = self.location(prefix)?;
        let metas: Vec<_> = match self.inner.list(Some(&location)).try_collect().await {
            Ok(metas) => metas,
            Err(object_store::Error::NotFound { .. }) => return Ok(Vec::new()),
            Err(source) => return Err(self.answered("list", prefix, source)),
        };
        let mut files: Vec<Listed> = metas.into_iter().map(Listed::of).collect();
        files.sort_by(|one, other| one.key.cmp(&other.key));
        Ok(files)
    }

    /// The file of a key, if there is one.
    ///
    /// # Errors
    /// What the store answers, unless it says that there is no such file.
    pub async fn file(&self, key: &str) -> Result<Option<Listed>, StoreError> {
        match self.inner.head(&self.location(key)?).await {
            Ok(meta) => Ok(Some(Listed::of(meta))),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(source) => Err(self.answered("look up", key, source)),
        }
    }

    /// Reads a small JSON file.
    ///
    /// # Errors
    /// Like [`Store::get`], and [`StoreError::Malformed`] when it is not what `T` is written as.
    pub async fn get_json<T: DeserializeOwned>(&self, key: &str) -> Result<T, StoreError> {
        let bytes = self.get(key).await?;
        serde_json::from_slice(&bytes).map_err(|error| self.malformed(key, error))
    }

    /// Writes a small JSON file unless there is one, then says what lies there.
    ///
    /// # Errors
    /// Like [`Store::settle`].
    pub async fn put_json_create<T: Serialize>(
        &self,
        key: &str,
        value: &T,
    ) -> Result<crate::Settled, StoreError> {
        let text = serde_json::to_vec(value).map_err(|error| self.malformed(key, error))?;
        self.settle(key, text.into()).await
    }

    /// Reads a small file and checks its sha256 (64 hex digits).
    ///
    /// # Errors
    /// Like [`Store::get`], and [`StoreError::Digest`] naming the file when a byte differs.
    pub async fn read_verified(&self, key: &str, sha256: &str) -> Result<Bytes, StoreError> {
        let bytes = self.get(key).await?;
        self.check_digest(key, &digest_bytes(&bytes).sha256, sha256)?;
        Ok(bytes)
    }

    pub(crate) fn check_digest(
        &self,
        key: &str,
        found: &str,
        expected: &str,
    ) -> Result<(), StoreError> {
        if found == expected {
            return Ok(());
        }
        Err(StoreError::Digest {
            key: key.to_owned(),
            url: self.url.to_string(),
            found: found.to_owned(),
            expected: expected.to_owned(),
        })
    }

    /// Counts an answer that is an error; that there is no such file, or another one, is none.
    fn answered(
        &self,
        operation: crate::Operation,
        key: &str,
        source: object_store::Error,
    ) -> StoreError {
        let error = StoreError::answered(operation, key, &self.url, source);
        if !matches!(
            error,
            StoreError::Missing { .. } | StoreError::Changed { .. }
        ) {
            self.counters.answered_an_error();
        }
        error
    }

    fn missing(&self, operation: crate::Operation, key: &str) -> StoreError {
        StoreError::Missing {
            operation,
            key: key.to_owned(),
            url: self.url.to_string(),
        }
    }

    pub(crate) fn malformed(&self, key: &str, reason: impl ToString) -> StoreError {
        StoreError::Malformed {
            key: key.to_owned(),
            url: self.url.to_string(),
            reason: reason.to_string(),
        }
    }

    fn location(&self, key: &str) -> Result<object_store::path::Path, StoreError> {
        object_store::path::Path::parse(key).map_err(|error| StoreError::Key {
            key: key.to_owned(),
            url: self.url.to_string(),
            reason: error.to_string(),
        })
    }
}

/// The variables of this process that are text.
fn environment() -> impl Iterator<Item = Variable> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}

#[cfg(test)]
mod tests;
