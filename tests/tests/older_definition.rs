//! An operator that is newer than the installed definition says so, and which fields are lost.

use std::thread;
use std::time::{Duration, Instant};

use darwinlm_tests::cluster::{kubectl, kubectl_with, try_kubectl};
use darwinlm_tests::operator::{Access, Operator, install_rights};
use darwinlm_tests::programs::repository;
use serde_json::Value;

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

fn await_ready(operator: &Operator, code: u16) -> String {
    let deadline = Instant::now() + Duration::from_secs(40);
    loop {
        let answer = operator.get("/readyz");
        match answer {
            Some((found, words)) if found == code => return words,
            _ => assert!(Instant::now() < deadline, "{answer:?}: {}", operator.log()),
        }
        thread::sleep(Duration::from_millis(200));
    }
}

#[test]
fn a_field_that_the_definition_lacks_is_named_until_it_is_there() {
    install_rights();
    apply_without("runtimeClassName");
    await_published_without("runtimeClassName");
    let operator = Operator::start("newer", Access::new(None), &[]);
    let deadline = Instant::now() + Duration::from_secs(20);
    let metric = |count: &str| {
        let line = format!("\ndarwinlm_definition_missing_fields {count}\n");
        operator
            .get("/metrics")
            .is_some_and(|(_, text)| text.contains(&line))
    };
    while !metric("1") {
        assert!(Instant::now() < deadline, "{}", operator.log());
        thread::sleep(Duration::from_millis(100));
    }
    let words = await_ready(&operator, 503);
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
    await_ready(&operator, 200);
    assert!(metric("0"));
}
