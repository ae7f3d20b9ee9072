//! What one operator asks another: `helm test` needs no image but this one.

use std::{net::Ipv6Addr, time::Duration};

use anyhow::{Context, bail};

use crate::args::Question;

const ANSWER: Duration = Duration::from_secs(5);

/// Asks, and prints the answer.
///
/// # Errors
/// When nobody answers, or the answer is no; it is told in the answer's own words.
pub async fn ask(question: Question) -> anyhow::Result<()> {
    let Question::Ready { host, port } = question;
    let host = match host.parse::<Ipv6Addr>() {
        Ok(address) => format!("[{address}]"),
        Err(_) => host,
    };
    let url = format!("http://{host}:{port}/readyz");
    let client = reqwest::Client::builder()
        .no_proxy()
        .timeout(ANSWER)
        .build()?;
    let unheard = || format!("no operator answers at {url}");
    let answer = client.get(&url).send().await.with_context(unheard)?;
    let is_ready = answer.status().is_success();
    let words = answer.text().await.with_context(unheard)?;
    if !is_ready {
        bail!(
            "the operator at {host}:{port} is not ready: {}",
            words.trim()
        );
    }
    println!("the operator at {host}:{port} is ready: {}", words.trim());
    Ok(())
}

#[cfg(test)]
mod tests {
    use axum::{Router, http::StatusCode, routing::get};

    use super::*;

    async fn asked(code: StatusCode, words: &'static str) -> anyhow::Result<()> {
        let listener = tokio::net::TcpListener::bind("[::1]:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let router = Router::new().route("/readyz", get(move || async move { (code, words) }));
        let server = tokio::spawn(async { axum::serve(listener, router).await });
        let host = "::1".to_owned();
        let answer = ask(Question::Ready { host, port }).await;
        server.abort();
        answer
    }

    #[tokio::test]
    async fn an_operator_says_whether_it_is_ready_and_why_not() {
        asked(StatusCode::OK, "ok").await.unwrap();
        let no = asked(StatusCode::SERVICE_UNAVAILABLE, "runs were not listed").await;
        let no = no.unwrap_err().to_string();
        assert!(no.ends_with("is not ready: runs were not listed"), "{no}");
    }

    #[tokio::test]
    async fn nobody_who_answers_is_told_with_the_address() {
        let host = "127.0.0.1".to_owned();
        let nobody = ask(Question::Ready { host, port: 1 }).await.unwrap_err();
        let nobody = nobody.to_string();
        assert_eq!(nobody, "no operator answers at http://127.0.0.1:1/readyz");
    }
}
