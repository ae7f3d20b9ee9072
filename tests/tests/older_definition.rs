//! An operator that is newer than the installed definition says so, and which fields are lost.

use std::thread;
use std::time::{Duration, Instant};

use darwinlm_tests::cluster::{kubectl, kubectl_with, try_kubectl};
use darwinlm_tests::operator::{Access, Operator, install_rights};
use darwinlm_tests::programs::repository;
use serde_json::Value;

/// What the operator may take to see that the definition is another one.
const LONG: Duration = Duration::from_secs(40);

/// The definition as it would have been before this field came.
fn apply_without(field: &str) {
    let file = repository().join("crds/pruningruns.darwinlm.io.yaml");
    let file = file.to_str().expect("the path is text");
    let text = kubectl(&["create", "--dry-run=client", "-o", "json", "-f", file]);
    let mut definition: Value = serde_json::from_str(&text).expect("kubectl prints JSON");
    let schema =
        "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/worker/properties";
    let fields = definition
        .pointer_mut(schema)
        .and_then(Value::as_object_mut);
    let removed = fields.expect("the spec has workers").remove(field);
    assert!(removed.is_some(), "there is no {field}");
    let apply = ["apply", "--server-side", "--force-conflicts", "-f", "-"];
    kubectl_with(&apply, &definition.to_string());
}

/// What the API server publishes, which the operator reads, follows the definition by a moment.
fn await_published_without(field: &str) {
    let path = ["get", "--raw", "/openapi/v3/apis/darwinlm.io/v1alpha1"];
    let worker = "/components/schemas/io.darwinlm.v1alpha1.PruningRun/properties/spec/properties/worker/properties";
    let deadline = Instant::now() + Duration::from_secs(120);
    loop {
        let (there, text) = try_kubectl(&path, None);
        let published: Value = serde_json::from_str(&text).unwrap_or_default();
        match published.pointer(worker).and_then(Value::as_object) {
            Some(fields) if !fields.contains_key(field) => return,
            fields => assert!(
                Instant::now() < deadline,
                "{field} is still published: {}",
                fields.map_or_else(|| format!("{there} {text}"), |fields| format!("{fields:?}"))
            ),
        }
        thread::sleep(Duration::from_millis(200));
    }
}

/// Waits until the operator counts so many fields that the definition lacks.
fn await_missing(operator: &Operator, count: u32) {
    let line = format!("\ndarwinlm_definition_missing_fields {count}\n");
    let deadline = Instant::now() + LONG;
    while !operator.metrics().contains(&line) {
        assert!(Instant::now() < deadline, "{}", operator.log());
        thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn a_field_that_the_definition_lacks_is_named_until_it_is_there() {
    install_rights();
    apply_without("runtimeClassName");
    await_published_without("runtimeClassName");
    let operator = Operator::start("newer", Access::new(None), &[]);
    await_missing(&operator, 1);
    let words = operator.await_answer("/readyz", 503, LONG);
    assert!(
        words.contains("lacks spec.worker.runtimeClassName"),
        "{words}"
    );
    assert!(
        operator.log().contains("older than this operator"),
        "{}",
        operator.log()
    );
    // It acts all the same: what it knows to do with the fields that are there, it does.
    operator.await_lead(Duration::from_secs(10));

    install_rights();
    operator.await_answer("/readyz", 200, LONG);
    await_missing(&operator, 0);
}
