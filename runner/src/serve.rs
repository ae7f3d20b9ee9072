//! The worker's small HTTP server: `/progress`, `/metrics`, `/healthz`.

use std::net::SocketAddr;

use axum::{Router, extract::State, http::header, response::IntoResponse, routing::get};
use tokio::net::TcpListener;

use crate::{metrics::Metrics, progress::Reporter};

/// A bound server; dropped, it stops.
#[derive(Debug)]
pub struct Server {
    /// The address it listens on; the port is known even when 0 was asked for.
    pub address: SocketAddr,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[derive(Clone)]
struct Served {
    reporter: Reporter,
    metrics: Metrics,
}

/// Binds `listen` and serves until dropped.
///
/// # Errors
/// When the address cannot be bound.
pub async fn serve(
    listen: &str,
    reporter: Reporter,
    metrics: Metrics,
) -> Result<Server, std::io::Error> {
    let listener = TcpListener::bind(listen).await?;
    let address = listener.local_addr()?;
    let router = Router::new()
        .route("/progress", get(progress))
        .route("/metrics", get(metrics_text))
        .route("/healthz", get(|| async { "ok\n" }))
        .with_state(Served { reporter, metrics });
    let task = tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, router).await {
            tracing::warn!(%error, "the progress server ended");
        }
    });
    Ok(Server { address, task })
}

async fn progress(State(served): State<Served>) -> impl IntoResponse {
    (
        [(header::CONTENT_TYPE, "application/json")],
        served.reporter.current().to_json(),
    )
}

async fn metrics_text(State(served): State<Served>) -> impl IntoResponse {
    (
        [(header::CONTENT_TYPE, "text/plain; version=0.0.4")],
        served.metrics.text(),
    )
}

#[cfg(test)]
mod tests {
    use darwinlm_task::{RunIdentity, TaskKind, TaskReport};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::flops::Work;

    async fn fetch(address: SocketAddr, path: &str) -> String {
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn a_worker_answers_progress_metrics_and_health() {
        let run = RunIdentity {
            namespace: "a".into(),
            name: "b".into(),
            uid: "c".into(),
        };
        let reporter = Reporter::new(TaskReport::running(&run, "w", TaskKind::Search));
        let metrics = Metrics::new();
        metrics.trained(Work {
            tokens: 7,
            flops: 0,
        });
        let server = serve("127.0.0.1:0", reporter.clone(), metrics)
            .await
            .unwrap();
        reporter.progress(3, 4, "trials");
        let progress = fetch(server.address, "/progress").await;
        assert!(
            progress.contains(r#""progress":{"done":3,"total":4,"unit":"trials"}"#),
            "{progress}"
        );
        let metrics = fetch(server.address, "/metrics").await;
        assert!(
            metrics.contains("darwinlm_worker_tokens_trained_total 7"),
            "{metrics}"
        );
        assert!(fetch(server.address, "/healthz").await.ends_with("ok\n"));
    }
}
