//! Web servers: a model is a folder whose files are asked for by name, a text is one file.

use std::path::Path;

use reqwest::Url;

use super::download::Http;
use super::{Fetcher, Listed, SourceError};

const ACCEPTED: &str =
    "an address that can be read without a password, or with a signature in its query";

/// `http(s)://host/path`.
#[derive(Debug)]
pub struct WebPlace {
    http: Http,
    url: Url,
}

impl WebPlace {
    pub(super) fn parse(url: &str) -> Option<Result<Self, SourceError>> {
        let url = Url::parse(url).ok()?;
        url.host_str()?;
        let http = Http::new(url.clone(), None, ACCEPTED);
        Some(http.map(|http| Self { http, url }))
    }

    /// Without the query, which may be a signature.
    pub(super) fn from(&self) -> String {
        let mut url = self.url.clone();
        url.set_query(None);
        url.set_fragment(None);
        String::from(url)
    }

    /// The one file that the address names, by the last part of its path.
    pub(super) fn list(&self) -> Vec<Listed> {
        let name = self
            .url
            .path_segments()
            .and_then(|mut parts| parts.next_back());
        let name = name.filter(|name| !name.is_empty());
        let file = name.map(unlisted);
        file.into_iter().collect()
    }

    pub(super) async fn fetch(
        &self,
        file: &Listed,
        to: &Path,
        fetcher: &Fetcher<'_>,
    ) -> Result<(), SourceError> {
        let what = self.from();
        self.http
            .download(&what, &self.url, file, to, fetcher.tell)
            .await
    }

    /// A file below the address taken as a folder; the query, if any, goes with each.
    pub(super) async fn fetch_below(
        &self,
        name: &str,
        to: &Path,
        fetcher: &Fetcher<'_>,
    ) -> Result<(), SourceError> {
        let mut url = self.url.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().push(name);
        }
        let what = format!("{name} at {}", self.from());
        let file = unlisted(name);
        self.http
            .download(&what, &url, &file, to, fetcher.tell)
            .await
    }
}

fn unlisted(name: &str) -> Listed {
    Listed {
        name: name.to_owned(),
        bytes: None,
        content: None,
    }
}
