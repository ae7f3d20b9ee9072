//! Which backend a store's URL names.

use std::path::PathBuf;

use url::Url;

use super::bucket::Bucket;
use crate::StoreError;

/// A store's URL, read.
pub(super) enum Address {
    Folder(PathBuf),
    Bucket(Bucket),
    Memory,
}

impl Address {
    pub(super) fn parse(url: &str) -> Result<Self, StoreError> {
        let refuse = |reason: &str| StoreError::Url {
            url: url.to_owned(),
            reason: reason.to_owned(),
        };
        let parsed = Url::parse(url).map_err(|error| refuse(&error.to_string()))?;
        match parsed.scheme() {
            "file" => parsed
                .to_file_path()
                .map(Self::Folder)
                .map_err(|()| refuse("a file:// URL has three slashes and an absolute path")),
            "memory" => Ok(Self::Memory),
            "s3" | "gs" | "az" => Bucket::parse(url)
                .map(Self::Bucket)
                .map_err(|reason| refuse(&reason)),
            scheme => Err(StoreError::Scheme {
                url: url.to_owned(),
                scheme: scheme.to_owned(),
            }),
        }
    }
}
