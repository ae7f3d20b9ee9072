//! What one operator asks another: `helm test` needs no image but this one.

use std::{
    net::Ipv6Addr,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};

use crate::args::Question;

const ANSWER: Duration = Duration::from_secs(5);
const AGAIN: Duration = Duration::from_secs(1);

/// Asks until the answer is yes or the time is over, and prints it. A Service that was just made may lead
/// nowhere yet.
///
/// # Errors
/// When nobody answers in time, or the last answer is no; it is told in the answer's own words.
pub async fn ask(question: Question) -> anyhow::Result<()> {
    let Question::Ready { host, port, within } = question;
    let host = match host.parse::<Ipv6Addr>() {
        Ok(address) => format!("[{address}]"),
        Err(_) => host,
    };
    let deadline = Instant::now() + Duration::from_secs(within);
    loop {
        match once(&host, port).await {
            Err(_) if Instant::now() < deadline => tokio::time::sleep(AGAIN).await,
            answer => return answer,
        }
    }
}

async fn once(host: &str, port: u16) -> anyhow::Result<()> {
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
        let within = 0;
        let answer = ask(Question::Ready { host, port, within }).await;
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
    async fn one_that_comes_late_is_waited_for() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let late = tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(500)).await;
            let listener = tokio::net::TcpListener::bind(address).await.unwrap();
            let router = Router::new().route("/readyz", get(|| async { "ok" }));
            axum::serve(listener, router).await
        });
        let question = Question::Ready {
            host: "127.0.0.1".to_owned(),
            port: address.port(),
            within: 20,
        };
        ask(question).await.unwrap();
        late.abort();
    }

    #[tokio::test]
    async fn nobody_who_answers_is_told_with_the_address() {
        let host = "127.0.0.1".to_owned();
        let nobody = once(&host, 1).await.unwrap_err();
        let nobody = nobody.to_string();
        assert_eq!(nobody, "no operator answers at http://127.0.0.1:1/readyz");
    }
}
