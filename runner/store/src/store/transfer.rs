//! Large files into the store and out of it, in pieces, hashed on the way.

use std::path::{Path, PathBuf};

use futures::TryStreamExt as _;
use object_store::{GetOptions, ObjectStore as _, ObjectStoreExt as _, WriteMultipart};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::Store;
use crate::digest::Hasher;
use crate::{FileDigest, StoreError, digest_file};

const CHUNK_BYTES: usize = 8 << 20;
const CHUNKS_IN_FLIGHT: usize = 4;

impl Store {
    /// Copies a file of this machine into the store and says what was copied.
    ///
    /// It appears whole or not at all, but replaces what lies there: the key must be named by the
    /// content, as in a write-once folder.
    ///
    /// # Errors
    /// When the file cannot be read, or what the store answers.
    pub async fn put_file(&self, key: &str, path: &Path) -> Result<FileDigest, StoreError> {
        let answered = |source| self.answered("write", key, source);
        let failed = |source| StoreError::Local {
            operation: "read",
            path: path.to_owned(),
            source,
        };
        let mut file = tokio::fs::File::open(path).await.map_err(failed)?;
        let upload = self
            .inner
            .put_multipart(&self.location(key)?)
            .await
            .map_err(answered)?;
        let mut writer = WriteMultipart::new_with_chunk_size(upload, CHUNK_BYTES);
        let mut hasher = Hasher::default();
        let mut chunk = vec![0; CHUNK_BYTES];
        loop {
            let read = match file.read(&mut chunk).await {
                Ok(0) => break,
                Ok(read) => read,
                Err(source) => {
                    // The upload is given up in any case; the file's error is the one that helps.
                    writer.abort().await.map_err(answered)?;
                    return Err(failed(source));
                }
            };
            hasher.update(&chunk[..read]);
            writer
                .wait_for_capacity(CHUNKS_IN_FLIGHT)
                .await
                .map_err(answered)?;
            writer.write(&chunk[..read]);
        }
        writer.finish().await.map_err(answered)?;
        Ok(hasher.finish())
    }

    /// The path of a file on this machine with the given content: where it lies, if the store is a
    /// folder, else a copy at `cache/<sha256>`, made if it is missing. Its digest is checked.
    ///
    /// # Errors
    /// What the store answers, [`StoreError::Digest`] naming the key when a byte differs, or when
    /// the cache cannot be written.
    pub async fn fetch(
        &self,
        key: &str,
        sha256: &str,
        cache: &Path,
    ) -> Result<PathBuf, StoreError> {
        if let Some(path) = self.local_path(key) {
            if !self.exists(key).await? {
                return Err(self.missing("read", key));
            }
            self.check_digest(key, &digest_file(&path).await?.sha256, sha256)?;
            return Ok(path);
        }
        let path = cache.join(sha256);
        if path.exists() && digest_file(&path).await?.sha256 == sha256 {
            return Ok(path);
        }
        // Two workers may share a cache: each fills a file of its own and renames it.
        let partial = cache.join(format!("{sha256}.{}", uuid::Uuid::new_v4()));
        let found = self.download(key, None, &partial).await?;
        if let Err(error) = self.check_digest(key, &found.sha256, sha256) {
            remove_local(&partial).await?;
            return Err(error);
        }
        tokio::fs::rename(&partial, &path)
            .await
            .map_err(|source| StoreError::Local {
                operation: "fill the cache",
                path: path.clone(),
                source,
            })?;
        Ok(path)
    }

    /// Copies a file to a path of this machine, whole or not at all as far as the caller can tell
    /// by the result; a broken connection goes on where it broke. With a version, as a listing says
    /// it, no other content will do.
    ///
    /// # Errors
    /// What the store answers ([`StoreError::Changed`] for another version), or when the path cannot
    /// be written.
    pub async fn download(
        &self,
        key: &str,
        version: Option<&str>,
        to: &Path,
    ) -> Result<FileDigest, StoreError> {
        let answered = |source| self.answered("read", key, source);
        let failed = |source| StoreError::Local {
            operation: "write",
            path: to.to_owned(),
            source,
        };
        let wanted = GetOptions {
            if_match: version.map(str::to_owned),
            ..GetOptions::default()
        };
        if let Some(folder) = to.parent() {
            tokio::fs::create_dir_all(folder).await.map_err(failed)?;
        }
        let mut chunks = self
            .inner
            .get_opts(&self.location(key)?, wanted)
            .await
            .map_err(answered)?
            .into_stream();
        let mut file = tokio::fs::File::create(to).await.map_err(failed)?;
        let mut hasher = Hasher::default();
        while let Some(chunk) = chunks.try_next().await.map_err(answered)? {
            hasher.update(&chunk);
            file.write_all(&chunk).await.map_err(failed)?;
        }
        file.flush().await.map_err(failed)?;
        Ok(hasher.finish())
    }

    /// The digest of a file of any size, read from the store.
    ///
    /// # Errors
    /// [`StoreError::Missing`] when there is none, or what the store answers.
    pub async fn digest(&self, key: &str) -> Result<FileDigest, StoreError> {
        let answered = |source| self.answered("read", key, source);
        let mut chunks = self
            .inner
            .get(&self.location(key)?)
            .await
            .map_err(answered)?
            .into_stream();
        let mut hasher = Hasher::default();
        while let Some(chunk) = chunks.try_next().await.map_err(answered)? {
            hasher.update(&chunk);
        }
        Ok(hasher.finish())
    }
}

async fn remove_local(path: &Path) -> Result<(), StoreError> {
    tokio::fs::remove_file(path)
        .await
        .map_err(|source| StoreError::Local {
            operation: "remove",
            path: path.to_owned(),
            source,
        })
}
