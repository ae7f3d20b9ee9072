//! HTTP: requests that are tried again, and files that go on where a connection broke.

use std::path::Path;
use std::time::Duration;

use darwinlm_store::digest_file;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::{Client, Response, StatusCode, Url};

use super::part::{Part, check, keep};
use super::{Listed, SourceError, Tell};

/// How long a server may say nothing.
const SILENCE: Duration = Duration::from_secs(60);
const CONNECT: Duration = Duration::from_secs(20);
/// Attempts in a row that bring nothing new; one that comes further than all before starts the count
/// anew.
const ATTEMPTS: u32 = 7;
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// The most that an answer which is no file may hold: a page of a list is far below it.
const ANSWER_BYTES: usize = 16 << 20;

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
pub(super) enum Failed {
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
            // it would carry a signature in the query on to wherever a redirect leads
            .referer(false)
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
                Ok((headers, small(what, response).await?))
            };
            match attempt.await {
                Ok(answer) => return Ok(answer),
                Err(failed) => pauses.wait(what, failed).await?,
            }
        }
    }

    /// Fetches a file to `to`, which appears whole or not at all. What comes damaged is fetched once
    /// more.
    ///
    /// # Errors
    /// When it is refused, cannot be had, or comes damaged twice.
    pub(super) async fn download(
        &self,
        what: &str,
        url: &Url,
        file: &Listed,
        to: &Path,
        tell: Tell<'_>,
    ) -> Result<(), SourceError> {
        match self.download_once(what, url, file, to, tell).await {
            Err(error @ SourceError::Damaged { .. }) => {
                tracing::warn!(what, %error, "fetched once more");
                self.download_once(what, url, file, to, tell).await
            }
            other => other,
        }
    }

    /// What came before a connection broke is kept in `<to>.part` and asked for no more, as long as
    /// the server's ETag or the file's sha256 says that the rest is of the same file.
    async fn download_once(
        &self,
        what: &str,
        url: &Url,
        file: &Listed,
        to: &Path,
        tell: Tell<'_>,
    ) -> Result<(), SourceError> {
        let mut part = Part::open(to, file).await?;
        let mut pauses = Pauses::default();
        let mut furthest = part.length;
        // All of it may be here: then an earlier process ended just before it said so.
        while part.length == 0 || part.expected != Some(part.length) {
            match self.attempt(what, url, &mut part, tell).await {
                Ok(()) => break,
                Err(failed) => {
                    if part.length > furthest {
                        furthest = part.length;
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
        part.of(response.headers());
        while let Some(chunk) = response.chunk().await.map_err(broken)? {
            part.append(&chunk).await?;
            if let Some(expected) = part.expected.filter(|expected| part.length > *expected) {
                let found = format!("more than {expected} bytes");
                part.start_anew().await?;
                return Err(Failed::ForGood(SourceError::Damaged {
                    what: what.to_owned(),
                    found,
                    expected: format!("{expected} bytes"),
                }));
            }
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

/// The whole of an answer that is no file.
async fn small(what: &str, mut response: Response) -> Result<Vec<u8>, Failed> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(broken)? {
        body.extend_from_slice(&chunk);
        if body.len() > ANSWER_BYTES {
            return Err(Failed::ForGood(SourceError::Answer {
                what: what.to_owned(),
                reason: format!("it is longer than {ANSWER_BYTES} bytes"),
            }));
        }
    }
    Ok(body)
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
