//! Client: holds a run back when it is deleted, or lets it go.

use darwinlm_api::PruningRun;
use kube::{
    Api, Client, ResourceExt,
    api::{Patch, PatchParams, TypeMeta},
};
use serde_json::json;

use super::{farewell::FINALIZER, refusal::is_gone};
use crate::names::MANAGER;

/// The finalizer cannot be set or removed.
#[derive(Debug, thiserror::Error)]
#[error("failed to change the finalizer {FINALIZER}")]
pub struct Error(#[source] kube::Error);

/// Whether the run is held back.
pub fn is_held(run: &PruningRun) -> bool {
    run.finalizers().iter().any(|name| name == FINALIZER)
}

/// Sets our finalizer, and touches nobody else's: what is applied is this manager's alone. A run that
/// is gone, or was replaced by another of its name, needs none.
///
/// # Errors
/// When the API server does not take it.
pub async fn hold(client: &Client, run: &PruningRun) -> Result<(), Error> {
    let name = run.name_any();
    let metadata = json!({"name": name, "uid": run.uid(), "finalizers": [FINALIZER]});
    let TypeMeta { api_version, kind } = TypeMeta::resource::<PruningRun>();
    let patch = json!({"apiVersion": api_version, "kind": kind, "metadata": metadata});
    let parameters = PatchParams::apply(MANAGER).force();
    let api = api(client, run);
    unless_gone(api.patch(&name, &parameters, &Patch::Apply(patch)).await)
}

/// Removes our finalizer, whoever set it: a run that was restored from a backup, or created out of
/// another's YAML, has it from there. It stands where it was seen to stand, or the API server refuses
/// and the run is looked at again.
///
/// # Errors
/// When the API server does not take it.
pub async fn let_go(client: &Client, run: &PruningRun) -> Result<(), Error> {
    let Some(index) = run.finalizers().iter().position(|name| name == FINALIZER) else {
        return Ok(());
    };
    let path = format!("/metadata/finalizers/{index}");
    let patch = json!([
        {"op": "test", "path": "/metadata/uid", "value": run.uid()},
        {"op": "test", "path": path, "value": FINALIZER},
        {"op": "remove", "path": path},
    ]);
    let patch = serde_json::from_value(patch).expect("these are operations");
    let parameters = PatchParams {
        field_manager: Some(MANAGER.to_owned()),
        ..PatchParams::default()
    };
    let (api, name) = (api(client, run), run.name_any());
    unless_gone(
        api.patch(&name, &parameters, &Patch::Json::<()>(patch))
            .await,
    )
}

fn api(client: &Client, run: &PruningRun) -> Api<PruningRun> {
    Api::namespaced(client.clone(), &run.namespace().unwrap_or_default())
}

fn unless_gone(answer: kube::Result<PruningRun>) -> Result<(), Error> {
    match answer {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(answer)) if is_gone(&answer) => Ok(()),
        Err(error) => Err(Error(error)),
    }
}
