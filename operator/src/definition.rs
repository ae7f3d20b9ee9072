//! Whether the installed definition of `PruningRun` knows every field that this operator does.
//!
//! An older definition drops what it does not know, without a word: a user's field is never seen,
//! and a status that holds one is refused. It is asked for as the API server publishes it to
//! everybody, so that the operator needs no right to read definitions.

use std::{collections::BTreeSet, time::Duration};

use kube::Client;
use serde_json::Value;

use crate::{metrics::Metrics, readiness::Readiness, run_controller::words::words};

const SCHEMAS: &str = "/openapi/v3/apis/darwinlm.io/v1alpha1";

/// While fields are missing: until somebody applies the new definition.
const SOON: Duration = Duration::from_secs(10);
/// Else: somebody may put an older one back.
const LATER: Duration = Duration::from_secs(300);

/// Looks again and again, and tells logs, metrics and readiness.
pub async fn keep_watch(client: Client, metrics: Metrics, readiness: Readiness) {
    let mut told = BTreeSet::new();
    loop {
        // One that is not installed at all is the watch's to tell.
        match installed(&client).await {
            Ok(None) => {}
            Ok(Some(schema)) => {
                let missing = missing(&own(), &schema);
                tell(&missing, &told);
                metrics.missing_fields(missing.len());
                readiness.definition_lacks(missing.iter().cloned().collect());
                told = missing;
            }
            Err(error) => tracing::debug!(error = words(&error), "the definition was not seen"),
        }
        tokio::time::sleep(if told.is_empty() { LATER } else { SOON }).await;
    }
}

fn tell(missing: &BTreeSet<String>, told: &BTreeSet<String>) {
    if missing == told {
        return;
    }
    if missing.is_empty() {
        tracing::info!("the installed definition of PruningRun is as new as this operator");
    } else {
        tracing::warn!(
            ?missing,
            "the installed definition of PruningRun is older than this operator: what is written \
             to these fields is lost until the new one is applied"
        );
    }
}

/// The schema of the resource as it is installed; none if it is not.
async fn installed(client: &Client) -> Result<Option<Value>, kube::Error> {
    let request = http::Request::get(SCHEMAS).body(Vec::new());
    let request = request.map_err(kube::Error::HttpError)?;
    let document = match client.request::<Value>(request).await {
        Ok(document) => document,
        Err(kube::Error::Api(status)) if status.code == 404 => return Ok(None),
        Err(error) => return Err(error),
    };
    let schemas = document["components"]["schemas"].as_object();
    let found = schemas.into_iter().flat_map(|schemas| schemas.values());
    let is_run = |schema: &&Value| {
        let kinds = schema["x-kubernetes-group-version-kind"].as_array();
        kinds.is_some_and(|kinds| kinds.iter().any(|kind| kind["kind"] == "PruningRun"))
    };
    Ok(found.into_iter().find(is_run).cloned())
}

/// The schema of the resource as this operator was built with it.
fn own() -> Value {
    darwinlm_api::manifest()["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone()
}

/// The paths of the fields in `own` that `installed` does not have.
fn missing(own: &Value, installed: &Value) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    compare(own, installed, "", &mut found);
    found
}

fn compare(own: &Value, installed: &Value, path: &str, found: &mut BTreeSet<String>) {
    for (name, field) in own["properties"].as_object().into_iter().flatten() {
        let path = if path.is_empty() {
            name.clone()
        } else {
            format!("{path}.{name}")
        };
        match installed["properties"].get(name) {
            Some(other) => compare(field, other, &path, found),
            None => {
                found.insert(path);
            }
        }
    }
    for inner in ["items", "additionalProperties"] {
        if own[inner].is_object() {
            compare(&own[inner], &installed[inner], path, found);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn without(pointer: &str, field: &str) -> Value {
        let mut schema = own();
        let fields = schema.pointer_mut(pointer).and_then(Value::as_object_mut);
        fields.unwrap().remove(field).unwrap();
        schema
    }

    #[test]
    fn the_same_definition_lacks_nothing() {
        assert_eq!(missing(&own(), &own()), BTreeSet::new());
    }

    #[test]
    fn a_field_that_an_older_definition_does_not_know_is_named_by_its_path() {
        let older = without("/properties/spec/properties", "suspend");
        assert_eq!(
            missing(&own(), &older),
            BTreeSet::from(["spec.suspend".to_owned()])
        );
        let steps = "/properties/spec/properties/search/properties/steps/items/properties";
        let older = without(steps, "survivors");
        let expected = BTreeSet::from(["spec.search.steps.survivors".to_owned()]);
        assert_eq!(missing(&own(), &older), expected);
    }

    #[test]
    fn a_newer_definition_lacks_nothing() {
        let older = without("/properties/spec/properties", "suspend");
        assert_eq!(missing(&older, &own()), BTreeSet::new());
    }
}
