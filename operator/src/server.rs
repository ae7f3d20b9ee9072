//! The operator's HTTP server: `/metrics`, `/healthz`, `/readyz`.

use std::net::SocketAddr;

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::IntoResponse,
    routing::get,
};
use tokio::net::TcpListener;

use crate::{lease::Leadership, metrics::Metrics, readiness::Readiness};

#[derive(Clone)]
struct Served {
    metrics: Metrics,
    readiness: Readiness,
    leadership: Leadership,
}

/// Binds the address; port 0 takes any free one.
///
/// # Errors
/// When the address cannot be bound.
pub async fn bind(listen: SocketAddr) -> Result<TcpListener, std::io::Error> {
    let listener = TcpListener::bind(listen).await?;
    tracing::info!(address = %listener.local_addr()?, "metrics and probes are served");
    Ok(listener)
}

/// Serves until `stop` resolves.
///
/// # Errors
/// When the listener breaks.
pub async fn serve(
    listener: TcpListener,
    metrics: Metrics,
    readiness: Readiness,
    leadership: Leadership,
    stop: impl Future<Output = ()> + Send + 'static,
) -> Result<(), std::io::Error> {
    axum::serve(listener, router(metrics, readiness, leadership))
        .with_graceful_shutdown(stop)
        .await
}

fn router(metrics: Metrics, readiness: Readiness, leadership: Leadership) -> Router {
    Router::new()
        .route("/metrics", get(metrics_text))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .with_state(Served {
            metrics,
            readiness,
            leadership,
        })
}

async fn metrics_text(State(served): State<Served>) -> impl IntoResponse {
    let leads = served.leadership.may_write();
    served.metrics.leads(leads);
    // The leader alone tells of runs, so that sums over all operators count each once.
    let runs = if leads {
        served.readiness.runs()
    } else {
        Vec::new()
    };
    let text = served.metrics.text(&runs);
    (
        [(
            header::CONTENT_TYPE,
            "text/plain; version=0.0.4; charset=utf-8",
        )],
        text,
    )
}

async fn ready(State(served): State<Served>) -> impl IntoResponse {
    match served.readiness.check() {
        Ok(()) => (StatusCode::OK, "ok\n".to_owned()),
        Err(missing) => (StatusCode::SERVICE_UNAVAILABLE, format!("{missing}\n")),
    }
}

#[cfg(test)]
mod tests {
    use kube::runtime::reflector;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    async fn fetch(address: SocketAddr, path: &str) -> String {
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn an_operator_that_has_seen_no_runs_is_alive_and_not_ready() {
        let readiness = Readiness::default();
        let (reader, _writer) = reflector::store();
        readiness.add(reader);
        let listener = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let server = tokio::spawn(serve(
            listener,
            Metrics::new(),
            readiness,
            Leadership::alone(),
            async {
                let _ = stopped.await;
            },
        ));
        assert!(fetch(address, "/healthz").await.starts_with("HTTP/1.1 200"));
        assert!(fetch(address, "/readyz").await.starts_with("HTTP/1.1 503"));
        assert!(
            fetch(address, "/metrics")
                .await
                .contains("darwinlm_build_info{")
        );
        assert!(
            fetch(address, "/metrics")
                .await
                .contains("darwinlm_leader 1\n")
        );
        stop.send(()).unwrap();
        server.await.unwrap().unwrap();
    }
}
