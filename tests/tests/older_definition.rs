//! An operator that is newer than the installed definition says so, and which fields are lost.

use std::thread;
use std::time::{Duration, Instant};

use darwinlm_tests::cluster::{kubectl, kubectl_with};
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
    // What the API server publishes follows the definition by a moment.
    thread::sleep(Duration::from_secs(3));
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
