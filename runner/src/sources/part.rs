//! A file in the making: what came of it so far, and what is to be asked for.

use std::path::{Path, PathBuf};

use reqwest::Response;
use reqwest::header::{CONTENT_RANGE, ETAG, HeaderMap, HeaderValue, IF_RANGE, RANGE};
use tokio::fs::{File, OpenOptions};
use tokio::io::{AsyncSeekExt as _, AsyncWriteExt as _};

use super::download::Failed;
use super::{Listed, SourceError};

/// The beginning of a file, on this machine.
pub(super) struct Part {
    pub(super) path: PathBuf,
    file: File,
    pub(super) length: u64,
    /// The whole file's length, if it is known beforehand.
    pub(super) expected: Option<u64>,
    /// Whether a sha256 will tell if the pieces belong together.
    is_checked: bool,
    etag: Option<HeaderValue>,
}

impl Part {
    /// Opens what an earlier process left, if it can be told whether that is of the same file.
    pub(super) async fn open(to: &Path, file: &Listed) -> Result<Self, SourceError> {
        let path = part_of(to);
        let failed = |source| SourceError::Local {
            operation: "write",
            path: path.clone(),
            source,
        };
        let is_checked = file.sha256().is_some();
        let mut opened = OpenOptions::new()
            .create(true)
            .write(true)
            .truncate(!is_checked)
            .open(&path)
            .await
            .map_err(failed)?;
        let length = opened
            .seek(std::io::SeekFrom::End(0))
            .await
            .map_err(failed)?;
        Ok(Self {
            file: opened,
            length,
            expected: file.bytes,
            is_checked,
            etag: None,
            path,
        })
    }

    /// Remembers which content this is the beginning of.
    pub(super) fn of(&mut self, headers: &HeaderMap) {
        self.etag = strong_etag(headers);
    }

    /// The headers that ask for what is missing: nothing for all of it.
    pub(super) fn rest(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        if self.length == 0 || (self.etag.is_none() && !self.is_checked) {
            return headers;
        }
        let range = format!("bytes={}-", self.length);
        if let Ok(range) = HeaderValue::from_str(&range) {
            headers.insert(RANGE, range);
        }
        if let Some(etag) = &self.etag {
            headers.insert(IF_RANGE, etag.clone());
        }
        headers
    }

    /// Whether an answer of a part begins where this one ends.
    pub(super) fn continues(&self, response: &Response) -> bool {
        let range = response.headers().get(CONTENT_RANGE);
        let start = range
            .and_then(|range| {
                range
                    .to_str()
                    .ok()?
                    .strip_prefix("bytes ")?
                    .split('-')
                    .next()
            })
            .and_then(|start| start.parse::<u64>().ok());
        start == Some(self.length)
    }

    pub(super) async fn start_anew(&mut self) -> Result<(), Failed> {
        let emptied = async {
            self.file.set_len(0).await?;
            self.file.rewind().await
        };
        emptied.await.map_err(|source| self.failed(source))?;
        self.length = 0;
        self.etag = None;
        Ok(())
    }

    pub(super) async fn append(&mut self, chunk: &[u8]) -> Result<(), Failed> {
        let written = self.file.write_all(chunk).await;
        written.map_err(|source| self.failed(source))?;
        self.length += chunk.len() as u64;
        Ok(())
    }

    pub(super) async fn flush(&mut self) -> Result<(), Failed> {
        let flushed = self.file.flush().await;
        flushed.map_err(|source| self.failed(source))
    }

    fn failed(&self, source: std::io::Error) -> Failed {
        Failed::ForGood(SourceError::Local {
            operation: "write",
            path: self.path.clone(),
            source,
        })
    }
}

/// Only a strong ETag says that two answers are the same bytes.
fn strong_etag(headers: &HeaderMap) -> Option<HeaderValue> {
    let etag = headers.get(ETAG)?;
    etag.as_bytes().starts_with(b"\"").then(|| etag.clone())
}

/// Where a file grows.
pub(super) fn part_of(to: &Path) -> PathBuf {
    let mut name = to.as_os_str().to_owned();
    name.push(".part");
    name.into()
}

/// Whether a file is the one that was announced.
pub(super) fn check(
    what: &str,
    file: &Listed,
    bytes: u64,
    sha256: Option<&str>,
) -> Result<(), SourceError> {
    let damaged = |found: String, expected: String| SourceError::Damaged {
        what: what.to_owned(),
        found,
        expected,
    };
    if let Some(expected) = file.bytes.filter(|expected| *expected != bytes) {
        return Err(damaged(
            format!("{bytes} bytes"),
            format!("{expected} bytes"),
        ));
    }
    if let (Some(expected), Some(found)) = (file.sha256(), sha256)
        && expected != found
    {
        return Err(damaged(
            format!("sha256 {found}"),
            format!("sha256 {expected}"),
        ));
    }
    Ok(())
}

/// Gives a whole file its name.
pub(super) async fn keep(part: &Path, to: &Path) -> Result<(), SourceError> {
    tokio::fs::rename(part, to)
        .await
        .map_err(|source| SourceError::Local {
            operation: "write",
            path: to.to_owned(),
            source,
        })
}
