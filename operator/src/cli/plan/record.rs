//! The run on its way to a cluster, with what it is expected to take.

use std::io::Write;

use darwinlm_task::{ExitCode, Forecast};
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use crate::cli::Failure;
use crate::cli::cluster::{MANAGER, Place};
use crate::names::ANNOTATION_FORECAST;

/// Applies the run as it is written, on the server's side.
pub(super) async fn apply(
    place: Place,
    mut run: Value,
    forecast: &Forecast,
) -> Result<(), Failure> {
    let seconds = expected(forecast);
    let metadata = &mut run["metadata"];
    metadata["annotations"][ANNOTATION_FORECAST] = json!(seconds.to_string());
    let named = metadata["namespace"].as_str().map(str::to_owned);
    let cluster = place.open_for(named.as_deref()).await?;
    if let Some(named) = named.filter(|named| named != cluster.namespace()) {
        let asked = cluster.namespace();
        let message = format!("metadata.namespace is {named:?}, --namespace {asked:?}: name one");
        return Err(Failure::new(ExitCode::Usage, message));
    }
    metadata["namespace"] = json!(cluster.namespace());
    let name = metadata["name"].as_str().unwrap_or_default().to_owned();
    let parameters = PatchParams::apply(MANAGER);
    let (runs, patch) = (cluster.runs(), Patch::Apply(run));
    let answer = runs.patch(&name, &parameters, &patch);
    answer.await.map_err(|error| cluster.failed(&error))?;
    let told = format!("{name} is applied; it is expected to take {seconds} GPU seconds\n");
    let _ = std::io::stdout().write_all(told.as_bytes());
    Ok(())
}

/// Device seconds of the run's own workers, at least 1.
pub(super) fn expected(forecast: &Forecast) -> u64 {
    let own = forecast.times.first();
    let seconds = own.map_or(0.0, darwinlm_task::TimeForecast::device_seconds);
    // A forecast beyond 2^53 seconds is none.
    (seconds.ceil().clamp(1.0, 9e15)) as u64
}
