//! Client: holds a run back when it is deleted, or lets it go.

use darwinlm_api::PruningRun;
use kube::{
    Api, Client, ResourceExt,
    api::{Patch, PatchParams, TypeMeta},
};
use serde_json::json;

use super::farewell::FINALIZER;
use crate::names::MANAGER;

/// The finalizer cannot be set or removed.
#[derive(Debug, thiserror::Error)]
#[error("failed to change the finalizer {FINALIZER}")]
pub struct Error(#[source] kube::Error);

/// Whether the run is held back.
pub fn is_held(run: &PruningRun) -> bool {
    run.finalizers().iter().any(|name| name == FINALIZER)
}

/// Sets or removes our finalizer, and touches nobody else's: what is applied is this manager's alone. A
/// run that is gone, or was replaced by another of its name, needs neither.
///
/// # Errors
/// When the API server does not take it.
pub async fn hold(client: &Client, run: &PruningRun, is_held: bool) -> Result<(), Error> {
    let name = run.name_any();
    let api = Api::<PruningRun>::namespaced(client.clone(), &run.namespace().unwrap_or_default());
    let mut metadata = json!({"name": name, "uid": run.uid()});
    if is_held {
        metadata["finalizers"] = json!([FINALIZER]);
    }
    let TypeMeta { api_version, kind } = TypeMeta::resource::<PruningRun>();
    let patch = json!({"apiVersion": api_version, "kind": kind, "metadata": metadata});
    let parameters = PatchParams::apply(MANAGER).force();
    match api.patch(&name, &parameters, &Patch::Apply(patch)).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(answer)) if answer.is_not_found() || answer.is_conflict() => Ok(()),
        Err(error) => Err(Error(error)),
    }
}
