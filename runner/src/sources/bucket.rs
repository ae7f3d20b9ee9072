//! Models and texts in buckets: `s3://`, `gs://`, `az://`.

use std::path::Path;

use darwinlm_store::Store;

use super::pattern::Pattern;
use super::place::chosen;
use super::{Fetcher, Listed, SourceError};

/// A path, or a pattern of paths, in a bucket.
#[derive(Debug)]
pub struct BucketPlace {
    url: String,
    pattern: Pattern,
    store: Store,
}

impl BucketPlace {
    /// Opens the whole bucket; nothing is asked yet.
    pub(super) fn open(url: &str, fetcher: &Fetcher<'_>) -> Result<Self, SourceError> {
        let (scheme, rest) = url.split_once("://").unwrap_or((url, ""));
        let (bucket, path) = rest.split_once('/').unwrap_or((rest, ""));
        let family = match scheme {
            "s3" => "AWS_",
            "gs" => "GOOGLE_",
            _ => "AZURE_",
        };
        let root = format!("{scheme}://{bucket}");
        Ok(Self {
            url: url.trim_end_matches('/').to_owned(),
            pattern: Pattern::parse(path.trim_end_matches('/'))?,
            store: Store::open_existing_with(&root, fetcher.variables.family(family))?,
        })
    }

    pub(super) fn from(&self) -> String {
        self.url.clone()
    }

    /// Names are whole keys here.
    pub(super) async fn list(&self) -> Result<Vec<Listed>, SourceError> {
        chosen(
            &self.from(),
            &self.pattern,
            self.below(self.pattern.folder()).await?,
        )
    }

    /// What lies right below the address taken as a folder, by its name there.
    pub(super) async fn folder(&self) -> Result<Vec<Listed>, SourceError> {
        let Pattern::Literal(path) = &self.pattern else {
            return Ok(Vec::new());
        };
        let mut files = self.below(path).await?;
        let prefix = format!("{path}/");
        let start = if path.is_empty() { "" } else { prefix.as_str() };
        files.retain(|file| {
            let below = file.name.strip_prefix(start);
            below.is_some_and(|name| !name.contains('/'))
        });
        Ok(files)
    }

    async fn below(&self, folder: &str) -> Result<Vec<Listed>, SourceError> {
        let files = self.store.list_files(folder).await?;
        let listed = files.into_iter().map(|file| Listed {
            content: file.version.map(|version| format!("etag:{version}")),
            name: file.key,
            bytes: Some(file.bytes),
        });
        Ok(listed.collect())
    }

    /// Copies a file. A broken connection goes on where it broke, as long as the file is the same.
    pub(super) async fn fetch(
        &self,
        file: &Listed,
        to: &Path,
        fetcher: &Fetcher<'_>,
    ) -> Result<(), SourceError> {
        let part = super::part::part_of(to);
        let found = self.store.download(&file.name, &part).await?;
        super::part::check(&self.what(file), file, found.bytes, Some(&found.sha256))?;
        (fetcher.tell)(found.bytes, found.bytes);
        super::part::keep(&part, to).await
    }

    fn what(&self, file: &Listed) -> String {
        format!("{} in {}", file.name, self.store.url())
    }
}
