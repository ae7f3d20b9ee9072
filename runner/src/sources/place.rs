//! An address that was opened: what lies there can be listed and fetched.

use std::path::{Component, Path, PathBuf};

use darwinlm_store::digest_file;

use super::bucket::BucketPlace;
use super::folder::FolderPlace;
use super::hub::{Collection, HubPlace};
use super::pattern::Pattern;
use super::web::WebPlace;
use super::{Fetcher, SourceError};

const MODELS: &str =
    "hf://organisation/name[@revision], s3://, gs://, az://, http(s):// or file:///path";
const DATA: &str = "hf-dataset://organisation/name[@revision]/path, s3://, gs://, az://, http(s):// \
                    or file:///path";

/// Whether an address lies on another machine.
pub fn is_remote(url: &str) -> bool {
    !url.starts_with("file://")
}

/// A file that a place holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its path below the place, with `/`.
    pub name: String,
    /// Length, if the place says it.
    pub bytes: Option<u64>,
    /// What tells this content from any other, if the place says it: `sha256:…` wherever it can.
    pub content: Option<String>,
}

impl Listed {
    /// The sha256 that the place announced.
    pub(super) fn sha256(&self) -> Option<&str> {
        self.content.as_deref()?.strip_prefix("sha256:")
    }
}

/// A place to fetch from.
#[derive(Debug)]
pub enum Place {
    /// A folder of this machine.
    Folder(FolderPlace),
    /// A repository of the Hub, at a commit.
    Hub(Box<HubPlace>),
    /// A folder or file of a web server.
    Web(WebPlace),
    /// A bucket.
    Bucket(BucketPlace),
}

impl Place {
    /// Opens the folder of a model.
    ///
    /// # Errors
    /// When the address is none of a model's, or the server cannot be asked.
    pub async fn of_model(url: &str, fetcher: &Fetcher<'_>) -> Result<Self, SourceError> {
        Self::open(url, Collection::Models, MODELS, fetcher).await
    }

    /// Opens a source of text: a file, a folder or a pattern.
    ///
    /// # Errors
    /// When the address is none of data's, or the server cannot be asked.
    pub async fn of_text(url: &str, fetcher: &Fetcher<'_>) -> Result<Self, SourceError> {
        Self::open(url, Collection::Datasets, DATA, fetcher).await
    }

    async fn open(
        url: &str,
        collection: Collection,
        accepted: &'static str,
        fetcher: &Fetcher<'_>,
    ) -> Result<Self, SourceError> {
        let unknown = || SourceError::Address {
            url: url.to_owned(),
            accepted,
        };
        let (scheme, rest) = url.split_once("://").ok_or_else(unknown)?;
        Ok(match (scheme, collection) {
            ("file", _) => Self::Folder(FolderPlace::parse(rest).ok_or_else(unknown)?),
            ("hf", Collection::Models) | ("hf-dataset", Collection::Datasets) => {
                let repository = collection.parse(rest).ok_or_else(unknown)?;
                Self::Hub(Box::new(HubPlace::open(repository, fetcher).await?))
            }
            ("http" | "https", _) => Self::Web(WebPlace::parse(url).ok_or_else(unknown)??),
            ("s3" | "gs" | "az", _) => Self::Bucket(BucketPlace::open(url, fetcher)?),
            _ => return Err(unknown()),
        })
    }

    /// The address, pinned as far as it can be and without what may be a credential.
    pub fn from(&self) -> String {
        match self {
            Self::Folder(folder) => folder.from(),
            Self::Hub(hub) => hub.from(),
            Self::Web(web) => web.from(),
            Self::Bucket(bucket) => bucket.from(),
        }
    }

    /// The files that the address names, by name.
    ///
    /// # Errors
    /// When nothing is there, or the place cannot be asked.
    pub async fn list(&self) -> Result<Vec<Listed>, SourceError> {
        let mut files = match self {
            Self::Folder(folder) => folder.list()?,
            Self::Hub(hub) => hub.list().await?,
            Self::Web(web) => web.list(),
            Self::Bucket(bucket) => bucket.list().await?,
        };
        if files.is_empty() {
            return Err(SourceError::Missing { what: self.from() });
        }
        files.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(files)
    }

    /// The path of a listed file on this machine, fetched if it is not here.
    ///
    /// # Errors
    /// When it cannot be fetched, or is not what was announced.
    pub async fn fetch(
        &self,
        file: &Listed,
        fetcher: &Fetcher<'_>,
    ) -> Result<PathBuf, SourceError> {
        if let Self::Folder(folder) = self {
            return Ok(folder.path(&file.name));
        }
        if !is_plain(Path::new(&file.name)) {
            return Err(SourceError::Answer {
                what: format!("the list of files of {}", self.from()),
                reason: format!("{:?} is no path below it", file.name),
            });
        }
        let to = fetcher.place_of(&self.from()).join(&file.name);
        if let Some(parent) = to.parent() {
            tokio::fs::create_dir_all(parent)
                .await
                .map_err(|source| SourceError::Local {
                    operation: "make",
                    path: parent.to_owned(),
                    source,
                })?;
        }
        if is_here(file, &to).await {
            return Ok(to);
        }
        match self {
            Self::Folder(_) => {}
            Self::Hub(hub) => hub.fetch(file, &to, fetcher).await?,
            Self::Web(web) => web.fetch(file, &to, fetcher).await?,
            Self::Bucket(bucket) => bucket.fetch(file, &to, fetcher).await?,
        }
        Ok(to)
    }
}

/// Whether a file was fetched before: it has the content that is meant.
async fn is_here(file: &Listed, path: &Path) -> bool {
    let Some(expected) = file.sha256() else {
        return false;
    };
    let found = digest_file(path).await;
    found.is_ok_and(|found| found.sha256 == expected)
}

impl Fetcher<'_> {
    /// Where the files of a place are put, by its address.
    pub(super) fn place_of(&self, from: &str) -> PathBuf {
        self.scratch
            .join(darwinlm_store::digest_bytes(from.as_bytes()).sha256)
    }
}

/// Whether a name that a server gave stays below the folder it is joined to.
pub(super) fn is_plain(name: &Path) -> bool {
    let mut parts = name.components();
    parts.all(|part| matches!(part, Component::Normal(_)))
}

/// Keeps the files that a pattern means; where it names a folder or several, only those that are
/// read as text.
pub(super) fn chosen(
    from: &str,
    pattern: &Pattern,
    files: Vec<Listed>,
) -> Result<Vec<Listed>, SourceError> {
    if let Some(file) = files.iter().find(|file| pattern.names(&file.name)) {
        return Ok(vec![file.clone()]);
    }
    let matching = files.into_iter().filter(|file| pattern.matches(&file.name));
    let matching: Vec<Listed> = matching.collect();
    let found = matching.len();
    let is_text = |file: &Listed| crate::tokens::Form::of(Path::new(&file.name)).is_some();
    let texts: Vec<Listed> = matching.into_iter().filter(is_text).collect();
    if texts.is_empty() && found > 0 {
        return Err(SourceError::NoText {
            from: from.to_owned(),
            found,
            accepted: crate::tokens::Form::ACCEPTED,
        });
    }
    Ok(texts)
}
