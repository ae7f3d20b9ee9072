//! The operator's process: election, controllers and HTTP server, from start to SIGTERM.

use std::sync::Arc;

use anyhow::Context as _;
use futures::FutureExt;
use http::header::{HeaderValue, USER_AGENT};
use kube::{Client, Config, client::ClientBuilder};
use tokio::signal::unix::{SignalKind, signal};

use crate::{
    args::Args,
    definition,
    lease::{Elector, GuardLayer, Leadership, Lost},
    metrics::Metrics,
    readiness::Readiness,
    run_controller::{self, Context},
    server,
};

/// How the operator names itself to the API server, for its audit log.
const AGENT: HeaderValue =
    HeaderValue::from_static(concat!("darwinlm-operator/", env!("CARGO_PKG_VERSION")));

/// Why the operator ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// It was asked to, and its looks have ended.
    Asked,
    /// It led and may write no more: the process is to end at once, with [`LEASE_LOST`].
    LeaseLost(Lost),
}

/// Exit code of an operator that lost its lease: try again (`EX_TEMPFAIL`).
pub const LEASE_LOST: i32 = 75;

/// Runs until SIGTERM or SIGINT, and then lets looks at work end first; or until the lease is lost.
///
/// # Errors
/// When the process cannot start: settings that do not go together, no API server is configured,
/// or the address is taken. An API server that does not answer is no error, it is waited for.
pub async fn run(args: Args) -> anyhow::Result<End> {
    let metrics = Metrics::new();
    let mut config = Config::infer()
        .await
        .context("failed to find an API server")?;
    config.headers.push((USER_AGENT, AGENT));
    // What failed is tried again by who knows why it was to be done, and each try has a time limit of its
    // own: a write that is only sent again would keep the limit of its first try, beyond the lease.
    config.default_retry = false;
    let elector = elector(&args, &config, &metrics)?;
    let leadership = elector
        .as_ref()
        .map_or_else(Leadership::alone, Elector::leadership);
    let client = ClientBuilder::try_from(config)
        .context("failed to make a client")?
        .with_layer(&metrics.count_requests())
        .with_layer(&GuardLayer(leadership.clone()))
        .build();
    let readiness = Readiness::default();
    let stop = stop()?;
    let listener = server::bind(args.listen)
        .await
        .with_context(|| format!("failed to listen on {}", args.listen))?;
    let serving = tokio::spawn(server::serve(
        listener,
        metrics.clone(),
        readiness.clone(),
        leadership.clone(),
        stop.clone(),
    ));
    tokio::spawn(definition::keep_watch(
        client.clone(),
        metrics.clone(),
        readiness.clone(),
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
        worker_image = args.worker_image().image,
        "the operator starts"
    );
    let work = run_controller::run(context, &namespaces, readiness, leadership, stop);
    if let Some(lost) = while_elected(elector, work).await {
        tracing::error!(reason = %lost, "the operator leads no more and ends");
        return Ok(End::LeaseLost(lost));
    }
    serving
        .await
        .context("the server panicked")?
        .context("the server failed")?;
    tracing::info!("the operator ends");
    Ok(End::Asked)
}

/// The operator in the election; none if it is the only one.
fn elector(args: &Args, config: &Config, metrics: &Metrics) -> anyhow::Result<Option<Elector>> {
    let lease = &args.lease;
    if !lease.leader_elect {
        return Ok(None);
    }
    let settings = lease.settings()?;
    // A client of its own: its writes are the ones that need no lease, and what is tried again is
    // for the elector to say, within its deadlines.
    let client = Client::try_from(config.clone()).context("failed to make a client")?;
    let namespace = lease
        .namespace()
        .unwrap_or(client.default_namespace())
        .to_owned();
    // A process that starts anew in the same pod is another one.
    let pod = args.pod_name.as_deref().unwrap_or("darwinlm-operator");
    let identity = format!("{pod}_{}", uuid::Uuid::new_v4());
    tracing::info!(
        identity,
        namespace,
        lease = lease.lease_name,
        "the operator asks for the lease"
    );
    Ok(Some(Elector::new(
        client,
        &namespace,
        &lease.lease_name,
        identity,
        settings,
        metrics.clone(),
    )))
}

/// Renews the lease for as long as there is work, and gives it back after; `Some` if it was lost.
async fn while_elected(elector: Option<Elector>, work: impl Future<Output = ()>) -> Option<Lost> {
    let Some(mut elector) = elector else {
        work.await;
        return None;
    };
    tokio::select! {
        lost = elector.keep() => return Some(lost),
        () = work => {}
    }
    elector.release().await;
    None
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
