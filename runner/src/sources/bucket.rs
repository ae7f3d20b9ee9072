//! Models and texts in buckets: `s3://`, `gs://`, `az://`.

use std::path::Path;

use darwinlm_store::Store;
use darwinlm_task::ENV_CA_BUNDLE;

use super::pattern::Pattern;
use super::place::chosen;
use super::{Fetcher, Listed, SourceError};

/// Before what a bucket says of a file's content.
const ETAG: &str = "etag:";

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
        let authorities = fetcher.variables.get(ENV_CA_BUNDLE);
        let authorities = authorities.map(|file| (ENV_CA_BUNDLE.to_owned(), file.to_owned()));
        let variables = fetcher.variables.family(family);
        let variables = variables.into_iter().chain(authorities);
        Ok(Self {
            url: url.trim_end_matches('/').to_owned(),
            pattern: Pattern::parse(path.trim_end_matches('/'))?,
            store: Store::open_existing_with(&root, variables)?,
        })
    }

    pub(super) fn from(&self) -> String {
        self.url.clone()
    }

    /// Names are whole keys here.
    pub(super) async fn list(&self) -> Result<Vec<Listed>, SourceError> {
        let files = match &self.pattern {
            Pattern::Glob { .. } => self.below(self.pattern.folder()).await?,
            Pattern::Literal(path) => self.file_or_folder(path).await?,
        };
        chosen(&self.from(), &self.pattern, files)
    }

    /// A file, else what lies below: never what lies beside it, which may be a whole bucket.
    async fn file_or_folder(&self, path: &str) -> Result<Vec<Listed>, SourceError> {
        let file = match path {
            "" => None,
            path => self.store.file(path).await?,
        };
        // Consoles mark a folder with an empty file of its name.
        if let Some(file) = file.filter(|file| file.bytes > 0) {
            return Ok(vec![listed(file)]);
        }
        let mut files = self.below(path).await?;
        files.retain(|file| file.name != path);
        Ok(files)
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
        Ok(files.into_iter().map(listed).collect())
    }

    /// Copies a file that is still the one that was listed.
    pub(super) async fn fetch(
        &self,
        file: &Listed,
        to: &Path,
        fetcher: &Fetcher<'_>,
    ) -> Result<(), SourceError> {
        let part = super::part::part_of(to);
        let version = file.content.as_deref();
        let version = version.and_then(|content| content.strip_prefix(ETAG));
        let found = self.store.download(&file.name, version, &part).await?;
        super::part::check(&self.what(file), file, found.bytes, Some(&found.sha256))?;
        (fetcher.tell)(found.bytes, found.bytes);
        super::part::keep(&part, to).await
    }

    fn what(&self, file: &Listed) -> String {
        format!("{} in {}", file.name, self.store.url())
    }
}

fn listed(file: darwinlm_store::Listed) -> Listed {
    Listed {
        content: file.version.map(|version| format!("{ETAG}{version}")),
        name: file.key,
        bytes: Some(file.bytes),
    }
}
