//! The Hugging Face Hub, by its documented HTTP interface: `hf://` models, `hf-dataset://` files.

use std::path::Path;

use reqwest::Url;
use reqwest::header::{HeaderMap, LINK};
use serde::Deserialize;

use super::download::Http;
use super::pattern::Pattern;
use super::place::chosen;
use super::{Fetcher, Listed, SourceError};

const ENDPOINT: &str = "https://huggingface.co";
const ACCEPTED: &str = "a repository that exists and, where it is private or gated, HF_TOKEN in the \
                        Secret that spec.model.credentialsSecretRef names (in the environment of \
                        `darwinlm run`), of an account that was granted access";

/// What the Hub keeps apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Collection {
    Models,
    Datasets,
}

/// A repository as an address names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Repository {
    collection: Collection,
    name: String,
    revision: String,
    path: String,
}

impl Collection {
    const fn word(self) -> &'static str {
        match self {
            Self::Models => "models",
            Self::Datasets => "datasets",
        }
    }

    const fn scheme(self) -> &'static str {
        match self {
            Self::Models => "hf",
            Self::Datasets => "hf-dataset",
        }
    }

    /// Reads what follows the scheme: `organisation/name[@revision]`, for data with `/path`.
    pub(super) fn parse(self, rest: &str) -> Option<Repository> {
        let (name, revision, path) = match self {
            Self::Models => {
                let (name, revision) = split_revision(rest)?;
                (name.to_owned(), revision, "")
            }
            Self::Datasets => {
                let (organisation, rest) = rest.split_once('/')?;
                let (name, path) = rest.split_once('/').unwrap_or((rest, ""));
                let (name, revision) = split_revision(name)?;
                (format!("{organisation}/{name}"), revision, path)
            }
        };
        let parts = name.split('/').count();
        let is_name = (1..=2).contains(&parts) && name.split('/').all(|part| !part.is_empty());
        is_name.then(|| Repository {
            collection: self,
            name,
            revision: revision.to_owned(),
            path: path.trim_end_matches('/').to_owned(),
        })
    }
}

fn split_revision(text: &str) -> Option<(&str, &str)> {
    match text.split_once('@') {
        None => Some((text, "main")),
        Some((_, "")) => None,
        Some(both) => Some(both),
    }
}

/// A repository at one commit: what it holds does not change while it is fetched.
#[derive(Debug)]
pub struct HubPlace {
    http: Http,
    endpoint: Url,
    repository: Repository,
    pattern: Pattern,
    commit: String,
}

#[derive(Deserialize)]
struct Revision {
    sha: String,
}

/// An entry of a repository's tree.
#[derive(Deserialize)]
struct Entry {
    r#type: String,
    oid: String,
    #[serde(default)]
    size: u64,
    path: String,
    lfs: Option<Lfs>,
}

/// What a large file is replaced by in git.
#[derive(Deserialize)]
struct Lfs {
    oid: String,
    size: u64,
}

impl HubPlace {
    /// Asks which commit the revision is.
    pub(super) async fn open(
        repository: Repository,
        fetcher: &Fetcher<'_>,
    ) -> Result<Self, SourceError> {
        let endpoint = fetcher.variables.get("HF_ENDPOINT").unwrap_or(ENDPOINT);
        let endpoint = Url::parse(endpoint)
            .ok()
            .filter(|url| !url.cannot_be_a_base())
            .ok_or_else(|| SourceError::Address {
                url: endpoint.to_owned(),
                accepted: "HF_ENDPOINT is an address such as https://huggingface.co",
            })?;
        let http = Http::new(
            endpoint.clone(),
            fetcher.variables.get("HF_TOKEN"),
            ACCEPTED,
        )?;
        let pattern = Pattern::parse(&repository.path)?;
        let mut place = Self {
            http,
            endpoint,
            repository,
            pattern,
            commit: String::new(),
        };
        let Repository { name, revision, .. } = &place.repository;
        let what = format!("revision {revision} of {} on {}", name, place.endpoint);
        let url = place.api(&["revision", revision], "");
        let (_, body) = place.http.get(&what, &url).await?;
        let found: Revision = read(&what, &body)?;
        let is_commit = found.sha.len() >= 7 && found.sha.bytes().all(|b| b.is_ascii_hexdigit());
        if !is_commit {
            let reason = format!("sha is {:?}, which is no commit", found.sha);
            return Err(SourceError::Answer { what, reason });
        }
        place.commit = found.sha;
        Ok(place)
    }

    /// The address with the commit for the revision.
    pub(super) fn from(&self) -> String {
        let Repository {
            collection,
            name,
            path,
            revision: _,
        } = &self.repository;
        let repository = format!("{}://{name}@{}", collection.scheme(), self.commit);
        match path.is_empty() {
            true => repository,
            false => format!("{repository}/{path}"),
        }
    }

    pub(super) async fn list(&self) -> Result<Vec<Listed>, SourceError> {
        let files = self.tree(self.pattern.folder(), true).await?;
        chosen(&self.from(), &self.pattern, files)
    }

    /// What lies at the top.
    pub(super) async fn folder(&self) -> Result<Vec<Listed>, SourceError> {
        self.tree("", false).await
    }

    /// The files below a folder, page by page.
    async fn tree(&self, folder: &str, recursive: bool) -> Result<Vec<Listed>, SourceError> {
        let what = format!("the list of files of {}", self.from());
        let mut url = self.api(&["tree", &self.commit], folder);
        if recursive {
            url.query_pairs_mut().append_pair("recursive", "true");
        }
        let mut files = Vec::new();
        let mut next = Some(url);
        while let Some(url) = next {
            let (headers, body) = self.http.get(&what, &url).await?;
            let page: Vec<Entry> = read(&what, &body)?;
            let entries = page.into_iter().filter(|entry| entry.r#type == "file");
            files.extend(entries.map(|entry| match entry.lfs {
                Some(lfs) => Listed {
                    name: entry.path,
                    bytes: Some(lfs.size),
                    content: Some(format!("sha256:{}", lfs.oid)),
                },
                None => Listed {
                    name: entry.path,
                    bytes: Some(entry.size),
                    content: Some(format!("git:{}", entry.oid)),
                },
            }));
            next = next_page(&headers, &url);
        }
        Ok(files)
    }

    /// Fetches a file unless an earlier process did: a commit's files do not change.
    pub(super) async fn fetch(
        &self,
        file: &Listed,
        to: &Path,
        fetcher: &Fetcher<'_>,
    ) -> Result<(), SourceError> {
        let here = tokio::fs::metadata(to).await;
        if here.is_ok_and(|here| Some(here.len()) == file.bytes) {
            return Ok(());
        }
        let Repository {
            collection, name, ..
        } = &self.repository;
        let mut url = self.endpoint.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty();
            if *collection == Collection::Datasets {
                segments.push("datasets");
            }
            segments.extend(name.split('/'));
            segments.extend(["resolve", &self.commit]);
            segments.extend(file.name.split('/'));
        }
        let what = format!("{} of {}", file.name, self.from());
        self.http
            .download(&what, &url, file, to, fetcher.tell)
            .await
    }

    /// `/api/models/<name>/<part>…/<path>`; a revision such as `refs/pr/1` is one part.
    fn api(&self, parts: &[&str], path: &str) -> Url {
        let Repository {
            collection, name, ..
        } = &self.repository;
        let mut url = self.endpoint.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty();
            segments.extend(["api", collection.word()]);
            segments.extend(name.split('/'));
            segments.extend(parts);
            segments.extend(path.split('/').filter(|part| !part.is_empty()));
        }
        url
    }
}

fn read<'a, T: Deserialize<'a>>(what: &str, body: &'a [u8]) -> Result<T, SourceError> {
    serde_json::from_slice(body).map_err(|error| SourceError::Answer {
        what: what.to_owned(),
        reason: error.to_string(),
    })
}

/// The page after this one: `Link: <address>; rel="next"`.
fn next_page(headers: &HeaderMap, this: &Url) -> Option<Url> {
    let links = headers.get_all(LINK).iter();
    let links = links.filter_map(|value| value.to_str().ok());
    links
        .flat_map(|value| value.split(','))
        .find_map(|link| {
            let (address, rest) = link.trim().strip_prefix('<')?.split_once('>')?;
            let is_next = rest.split(';').any(|word| {
                let word = word.trim();
                word == "rel=\"next\"" || word == "rel=next"
            });
            is_next.then(|| this.join(address).ok())?
        })
        .filter(|next| next != this)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_with_its_revision_and_path() {
        let of = |collection: Collection, rest: &str| {
            let found = collection.parse(rest)?;
            Some((found.name, found.revision, found.path))
        };
        let some = |name: &str, revision: &str, path: &str| {
            Some((name.to_owned(), revision.to_owned(), path.to_owned()))
        };
        let models = |rest| of(Collection::Models, rest);
        assert_eq!(models("gpt2"), some("gpt2", "main", ""));
        assert_eq!(models("a/b@refs/pr/1"), some("a/b", "refs/pr/1", ""));
        assert_eq!(models("a/b/c"), None);
        assert_eq!(models("a/b@"), None);
        let data = |rest| of(Collection::Datasets, rest);
        let path = "sample/10BT/*.parquet";
        assert_eq!(
            data("a/b@v1/sample/10BT/*.parquet"),
            some("a/b", "v1", path)
        );
        assert_eq!(data("a/b"), some("a/b", "main", ""));
        assert_eq!(data("a"), None);
    }

    #[test]
    fn the_next_page_is_the_link_that_says_so() {
        let this = Url::parse("http://hub/api/tree?recursive=true").unwrap();
        let next = |link: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(LINK, link.parse().unwrap());
            next_page(&headers, &this).map(String::from)
        };
        let both = "<http://hub/first>; rel=\"first\", </api/tree?cursor=x>; rel=\"next\"";
        assert_eq!(next(both).unwrap(), "http://hub/api/tree?cursor=x");
        assert_eq!(next("<http://hub/last>; rel=\"last\""), None);
        assert_eq!(next_page(&HeaderMap::new(), &this), None);
    }
}
