//! HTTP: requests that are tried again, and files that go on where a connection broke.

use std::path::{Path, PathBuf};
use std::time::Duration;

use darwinlm_store::digest_file;
use reqwest::header::{
    AUTHORIZATION, CONTENT_RANGE, ETAG, HeaderMap, HeaderValue, IF_RANGE, RANGE, RETRY_AFTER,
};
use reqwest::{Client, Response, StatusCode, Url};
use tokio::fs::{File, OpenOptions};
use tokio::io::{AsyncSeekExt as _, AsyncWriteExt as _};

use super::{Listed, SourceError, Tell};

/// How long a server may say nothing.
const SILENCE: Duration = Duration::from_secs(60);
const CONNECT: Duration = Duration::from_secs(20);
/// Attempts in a row that bring nothing; one that brings bytes starts the count anew.
const ATTEMPTS: u32 = 7;
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// A client for one server, with what it is told about who asks.
#[derive(Clone, Debug)]
pub(super) struct Http {
    client: Client,
    authorization: Option<HeaderValue>,
    /// The server that the credential is for.
    home: Url,
    /// What to do about a refusal.
    accepted: &'static str,
}

/// Why one attempt failed.
enum Failed {
    /// Trying again may help, after a pause that the server may have named.
    ForNow(String, Option<Duration>),
    ForGood(SourceError),
}

impl Http {
    pub(super) fn new(
        home: Url,
        token: Option<&str>,
        accepted: &'static str,
    ) -> Result<Self, SourceError> {
        let client = Client::builder()
            .user_agent(concat!("darwinlm/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT)
            .read_timeout(SILENCE)
            .build()
            .map_err(|error| SourceError::Client(chain(&error)))?;
        let authorization = token.map(|token| {
            let value = HeaderValue::from_str(&format!("Bearer {token}"));
            value
                .map(|mut value| {
                    value.set_sensitive(true);
                    value
                })
                .map_err(|_| SourceError::Client("the token holds more than text".to_owned()))
        });
        Ok(Self {
            client,
            authorization: authorization.transpose()?,
            home,
            accepted,
        })
    }

    /// Reads a small answer whole.
    pub(super) async fn get(
        &self,
        what: &str,
        url: &Url,
    ) -> Result<(HeaderMap, Vec<u8>), SourceError> {
        let mut pauses = Pauses::default();
        loop {
            let attempt = async {
                let response = self.send(what, url, HeaderMap::new()).await?;
                let headers = response.headers().clone();
                let body = response.bytes().await.map_err(broken)?;
                Ok((headers, body.to_vec()))
            };
            match attempt.await {
                Ok(answer) => return Ok(answer),
                Err(failed) => pauses.wait(what, failed).await?,
            }
        }
    }

    /// Fetches a file to `to`, which appears whole or not at all.
    ///
    /// What came before a connection broke is kept in `<to>.part` and asked for no more, as long as
    /// the server's ETag or the file's sha256 says that the rest is of the same file.
    pub(super) async fn download(
        &self,
        what: &str,
        url: &Url,
        file: &Listed,
        to: &Path,
        tell: Tell<'_>,
    ) -> Result<(), SourceError> {
        let mut part = Part::open(to, file).await?;
        let mut pauses = Pauses::default();
        // All of it may be here: then an earlier process ended just before it said so.
        while part.length == 0 || part.expected != Some(part.length) {
            let before = part.length;
            match self.attempt(what, url, &mut part, tell).await {
                Ok(()) => break,
                Err(failed) => {
                    if part.length > before {
                        pauses = Pauses::default();
                    }
                    let waited = pauses.wait(what, failed).await;
                    if waited.is_err() && part.length == 0 {
                        let _ = tokio::fs::remove_file(&part.path).await;
                    }
                    waited?;
                }
            }
        }
        let found = digest_file(&part.path).await?;
        let checked = check(what, file, found.bytes, Some(&found.sha256));
        if checked.is_err() {
            // Nothing of it can be trusted; the next attempt starts anew.
            let _ = tokio::fs::remove_file(&part.path).await;
        }
        checked?;
        keep(&part.path, to).await
    }

    async fn attempt(
        &self,
        what: &str,
        url: &Url,
        part: &mut Part,
        tell: Tell<'_>,
    ) -> Result<(), Failed> {
        let response = self.send(what, url, part.rest()).await;
        let mut response = match response {
            // The rest begins beyond the end: this is another file, or all of it is here.
            Err(Failed::ForNow(reason, pause)) if reason.starts_with("416") => {
                part.start_anew().await?;
                return Err(Failed::ForNow(reason, pause));
            }
            response => response?,
        };
        let is_rest = response.status() == StatusCode::PARTIAL_CONTENT;
        let continues = is_rest && part.continues(&response);
        if !continues {
            part.start_anew().await?;
        }
        if is_rest && !continues {
            let reason = "the rest that came is not the one that was asked for";
            return Err(Failed::ForNow(reason.to_owned(), None));
        }
        let length = response.content_length();
        let total = part.expected.or(length.map(|rest| part.length + rest));
        part.etag = strong_etag(response.headers());
        while let Some(chunk) = response.chunk().await.map_err(broken)? {
            part.append(&chunk).await?;
            tell(part.length, total.unwrap_or(part.length));
        }
        part.flush().await?;
        match total {
            Some(total) if part.length < total => Err(Failed::ForNow(
                format!("it ended after {} of {total} bytes", part.length),
                None,
            )),
            _ => Ok(()),
        }
    }

    /// Sends one request. The credential goes to its own server alone.
    async fn send(&self, what: &str, url: &Url, headers: HeaderMap) -> Result<Response, Failed> {
        let mut request = self.client.get(url.clone()).headers(headers);
        if let Some(authorization) = &self.authorization
            && url.origin() == self.home.origin()
        {
            request = request.header(AUTHORIZATION, authorization);
        }
        let response = request.send().await.map_err(broken)?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let answer = words(&response);
        let what = what.to_owned();
        Err(match status.as_u16() {
            401 | 403 => Failed::ForGood(SourceError::Denied {
                what,
                answer,
                accepted: self.accepted,
            }),
            404 | 410 => Failed::ForGood(SourceError::Missing { what }),
            408 | 416 | 425 | 429 | 500..=599 => Failed::ForNow(answer, retry_after(&response)),
            _ => Failed::ForGood(SourceError::Unavailable {
                what,
                reason: answer,
            }),
        })
    }
}

/// The beginning of a file, on this machine.
struct Part {
    path: PathBuf,
    file: File,
    length: u64,
    /// The whole file's length, if it is known beforehand.
    expected: Option<u64>,
    /// Whether a sha256 will tell if the pieces belong together.
    is_checked: bool,
    etag: Option<HeaderValue>,
}

impl Part {
    /// Opens what an earlier process left, if it can be told whether that is of the same file.
    async fn open(to: &Path, file: &Listed) -> Result<Self, SourceError> {
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

    /// The headers that ask for what is missing: nothing for all of it.
    fn rest(&self) -> HeaderMap {
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
    fn continues(&self, response: &Response) -> bool {
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

    async fn start_anew(&mut self) -> Result<(), Failed> {
        let emptied = async {
            self.file.set_len(0).await?;
            self.file.rewind().await
        };
        emptied.await.map_err(|source| self.failed(source))?;
        self.length = 0;
        self.etag = None;
        Ok(())
    }

    async fn append(&mut self, chunk: &[u8]) -> Result<(), Failed> {
        let written = self.file.write_all(chunk).await;
        written.map_err(|source| self.failed(source))?;
        self.length += chunk.len() as u64;
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), Failed> {
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

/// Pauses that double, or are as long as the server says.
struct Pauses {
    attempt: u32,
    next: Duration,
}

impl Default for Pauses {
    fn default() -> Self {
        Self {
            attempt: 0,
            next: FIRST_PAUSE,
        }
    }
}

impl Pauses {
    async fn wait(&mut self, what: &str, failed: Failed) -> Result<(), SourceError> {
        let (reason, asked) = match failed {
            Failed::ForGood(error) => return Err(error),
            Failed::ForNow(reason, asked) => (reason, asked),
        };
        self.attempt += 1;
        if self.attempt >= ATTEMPTS {
            return Err(SourceError::Unavailable {
                what: what.to_owned(),
                reason: format!("{reason}, {ATTEMPTS} times in a row"),
            });
        }
        let pause = asked.unwrap_or(self.next).min(LONGEST_PAUSE);
        self.next *= 2;
        tracing::warn!(
            what,
            reason,
            pause_seconds = pause.as_secs_f64(),
            "tried again"
        );
        tokio::time::sleep(pause).await;
        Ok(())
    }
}

/// A connection that cannot be made or broke. The address is left out: it may hold a signature.
fn broken(error: reqwest::Error) -> Failed {
    Failed::ForNow(chain(&error.without_url()), None)
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(this) = cause {
        text = format!("{text}: {this}");
        cause = this.source();
    }
    text
}

/// The status, and what the Hub says of it.
fn words(response: &Response) -> String {
    let header = |name| response.headers().get(name).and_then(|v| v.to_str().ok());
    let said: Vec<&str> = ["x-error-code", "x-error-message"]
        .into_iter()
        .filter_map(header)
        .collect();
    match said.is_empty() {
        true => response.status().to_string(),
        false => format!("{} ({})", response.status(), said.join(": ")),
    }
}

/// The pause that the server asks for, where it counts seconds.
fn retry_after(response: &Response) -> Option<Duration> {
    let text = response.headers().get(RETRY_AFTER)?.to_str().ok()?;
    text.parse().ok().map(Duration::from_secs)
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
