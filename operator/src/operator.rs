//! The operator's process: controllers and HTTP server, from start to SIGTERM.

use std::sync::Arc;

use anyhow::Context as _;
use futures::FutureExt;
use kube::Client;
use tokio::signal::unix::{SignalKind, signal};

use crate::{
    args::Args,
    metrics::Metrics,
    readiness::Readiness,
    run_controller::{self, Context},
    server,
};

/// Runs until SIGTERM or SIGINT; looks at work end first.
///
/// # Errors
/// When the process cannot start: no API server is configured, or the address is taken. An API
/// server that does not answer is no error, it is waited for.
pub async fn run(args: Args) -> anyhow::Result<()> {
    let client = Client::try_default()
        .await
        .context("failed to find an API server")?;
    let metrics = Metrics::new();
    let readiness = Readiness::default();
    let stop = stop()?;
    let listener = server::bind(args.listen)
        .await
        .with_context(|| format!("failed to listen on {}", args.listen))?;
    let serving = tokio::spawn(server::serve(
        listener,
        metrics.clone(),
        readiness.clone(),
        stop.clone(),
    ));
    let context = Arc::new(Context::new(
        client,
        args.pod_name.clone(),
        metrics,
        args.worker_image(),
        args.limits(),
    ));
    let namespaces = args.namespaces();
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        ?namespaces,
        worker_image = args.worker_image,
        "the operator starts"
    );
    run_controller::run(context, &namespaces, readiness, stop).await;
    serving
        .await
        .context("the server panicked")?
        .context("the server failed")?;
    tracing::info!("the operator ends");
    Ok(())
}

/// Resolves at the first SIGTERM or SIGINT.
fn stop() -> anyhow::Result<impl Future<Output = ()> + Clone + Send + Sync + 'static> {
    let mut terminate = signal(SignalKind::terminate()).context("failed to wait for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("failed to wait for SIGINT")?;
    let signals = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("the operator is asked to end");
    };
    Ok(signals.boxed().shared())
}
