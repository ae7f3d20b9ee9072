//! The definition of a `PruningRun` on a real API server: what `kubectl apply` accepts and refuses.

use std::fs;

use darwinlm_tests::cluster::{Namespace, try_kubectl};
use darwinlm_tests::local::TINY_RUN;
use darwinlm_tests::operator::install_definition;
use darwinlm_tests::programs::repository;
use serde_json::{Value, json};

/// The table of rules that the crate of the resource evaluates in Rust.
fn table() -> Value {
    serde_saphyr::from_str(&fixture("rules.yaml")).expect("it is the table")
}

fn cases<'a>(of: &'a Value, key: &str) -> impl Iterator<Item = (&'a str, &'a Value)> {
    let list = of[key]
        .as_array()
        .unwrap_or_else(|| panic!("{of} has no {key}"));
    list.iter()
        .map(|case| (case["at"].as_str().expect("a place"), &case["is"]))
}

/// Puts a value at its place, or takes away what is there: JSON Patch, as `kubectl patch` takes it.
fn patch(at: &str, is: &Value) -> Value {
    match is {
        Value::Null => json!({"op": "remove", "path": at}),
        _ => json!({"op": "add", "path": at, "value": is}),
    }
}

/// The run with every field, with the value of one place replaced.
fn full_with(at: &str, is: &Value) -> String {
    let mut run: Value = serde_saphyr::from_str(&fixture("full.yaml")).expect("it is a run");
    let (parent, key) = at.rsplit_once('/').expect("a pointer starts with a slash");
    let parent = run.pointer_mut(parent).and_then(Value::as_object_mut);
    let parent = parent.unwrap_or_else(|| panic!("{at} lies in the run"));
    match is {
        Value::Null => parent.remove(key),
        _ => parent.insert(key.to_owned(), is.clone()),
    };
    run.to_string()
}

/// Asks the server to make an object, without making it.
fn ask(namespace: &Namespace, object: &str) -> (bool, String) {
    let create = ["create", "--dry-run=server", "--validate=strict", "-f", "-"];
    try_kubectl(
        &[&["-n", namespace.name.as_str()], &create[..]].concat(),
        Some(object),
    )
}

fn fixture(name: &str) -> String {
    fs::read_to_string(repository().join("operator/api/tests").join(name)).expect("it is there")
}

#[test]
fn the_examples_are_accepted_strictly_and_show_their_columns() {
    install_definition();
    let namespace = Namespace::new("accepted");
    for yaml in [
        fixture("minimal.yaml"),
        fixture("full.yaml"),
        fs::read_to_string(repository().join("tests/demo.yaml")).expect("it is there"),
    ] {
        let arguments = [
            "-n",
            &namespace.name,
            "apply",
            "--validate=strict",
            "-f",
            "-",
        ];
        let (accepted, said) = try_kubectl(&arguments, Some(&yaml));
        assert!(accepted, "{said}\n{yaml}");
    }
    let table = namespace.kubectl(&["get", "pruningruns"]);
    for column in ["STAGE", "PROGRESS", "FITNESS", "PARAMS", "GPU-H", "AGE"] {
        assert!(table.contains(column), "{table}");
    }
}

#[test]
fn every_rule_refuses_what_breaks_it_and_accepts_what_keeps_it() {
    install_definition();
    let namespace = Namespace::new("rules");
    let table = table();
    let mut asked = 0;
    for rule in table["rules"].as_array().expect("there are rules") {
        let message = rule["message"].as_str().expect("a rule has a message");
        for (at, is) in cases(rule, "refused") {
            let (accepted, said) = ask(&namespace, &full_with(at, is));
            assert!(!accepted, "{at} = {is} was accepted: {message}");
            assert!(said.contains(message), "{at} = {is}: {said}");
            asked += 1;
        }
        for (at, is) in cases(rule, "accepted") {
            let (accepted, said) = ask(&namespace, &full_with(at, is));
            assert!(accepted, "{at} = {is}: {said}");
            asked += 1;
        }
    }
    println!("{asked} objects were asked about");
}

#[test]
fn every_rule_of_change_refuses_its_change_and_accepts_the_others() {
    install_definition();
    let namespace = Namespace::new("changes");
    let table = table();
    namespace.apply(&fixture("full.yaml"));
    let change = |at: &str, is: &Value| {
        let patch = json!([patch(at, is)]).to_string();
        let run = "prun/llama2-2-7b";
        let arguments = [
            "patch",
            run,
            "--dry-run=server",
            "--type=json",
            "-p",
            &patch,
        ];
        try_kubectl(
            &[&["-n", namespace.name.as_str()], &arguments[..]].concat(),
            None,
        )
    };
    for rule in table["immutable"].as_array().expect("there are rules") {
        let field = rule["field"].as_str().expect("a rule names its field");
        let message = format!("{field} is immutable: create another run instead");
        for (at, is) in cases(rule, "refused") {
            let (accepted, said) = ask(
                &namespace,
                &full_with(at, is).replacen("llama2-2-7b", "new", 1),
            );
            assert!(accepted, "{at} = {is} is refused of a new run: {said}");
            let (accepted, said) = change(at, is);
            assert!(!accepted, "{at} = {is} was accepted");
            assert!(said.contains(&message), "{at} = {is}: {said}");
        }
    }
    for (at, is) in cases(&table, "changeable") {
        let (accepted, said) = change(at, is);
        assert!(accepted, "{at} = {is}: {said}");
    }
}

#[test]
fn every_sample_is_accepted_and_an_unknown_field_is_refused() {
    install_definition();
    let namespace = Namespace::new("samples");
    let demo = fs::read_to_string(repository().join("tests/demo.yaml")).expect("it is there");
    for sample in [
        demo.as_str(),
        TINY_RUN,
        &fixture("full.yaml"),
        &fixture("minimal.yaml"),
    ] {
        let (accepted, said) = ask(&namespace, sample);
        assert!(accepted, "{said}\n{sample}");
        let unknown = sample.replacen("spec:\n", "spec:\n  unheardOf: 1\n", 1);
        let (accepted, said) = ask(&namespace, &unknown);
        assert!(!accepted && said.contains("unheardOf"), "{said}");
    }
}

#[test]
fn what_cannot_be_is_refused_at_apply_with_the_field_named() {
    install_definition();
    let namespace = Namespace::new("refused");
    let demo = fs::read_to_string(repository().join("tests/demo.yaml")).expect("it is there");
    for (from, to, word) in [
        (
            "name: smollm2-demo",
            "name: a-name-that-is-much-too-long-for-the-jobs-of-a-run",
            "40",
        ),
        ("level: 3", "level: 12", "level"),
        ("survivors: 3,", "survivors: 1,", "survivors"),
        ("offspring: 8", "offspring: 2", "offspring"),
        ("offspring: 8", "offspring: 1000", "offspring"),
        ("sequenceLength: 256", "sequenceLength: 2", "sequenceLength"),
        ("pvc://darwinlm/store", "ftp://darwinlm/store", "store"),
        ("generations: 4", "generations: 0", "generations"),
        (
            "    tokens: 4096\n",
            "    tokens: 6553601\n",
            "postTraining.tokens",
        ),
        ("levels: 9", "levles: 9", "levles"),
    ] {
        assert!(demo.contains(from), "the demo has no {from:?}");
        let yaml = demo.replacen(from, to, 1);
        let arguments = [
            "-n",
            &namespace.name,
            "apply",
            "--validate=strict",
            "-f",
            "-",
        ];
        let (accepted, said) = try_kubectl(&arguments, Some(&yaml));
        assert!(!accepted, "{to} was accepted");
        assert!(said.contains(word), "{to}: {said}");
    }
}

#[test]
fn a_search_cannot_change_under_way_but_its_workers_can() {
    install_definition();
    let namespace = Namespace::new("changed");
    let demo = fs::read_to_string(repository().join("tests/demo.yaml")).expect("it is there");
    namespace.apply(&demo);
    let change = |patch: &str| {
        let patched = [
            "-n",
            &namespace.name,
            "patch",
            "prun/smollm2-demo",
            "--type=merge",
            "-p",
        ];
        try_kubectl(&[&patched[..], &[patch]].concat(), None)
    };
    for patch in [
        r#"{"spec":{"search":{"seed":9}}}"#,
        r#"{"spec":{"target":{"level":4}}}"#,
        r#"{"spec":{"model":{"source":"pvc://other/model"}}}"#,
        r#"{"spec":{"artifacts":{"store":"pvc://other/store"}}}"#,
    ] {
        let (accepted, said) = change(patch);
        assert!(!accepted, "{patch} was accepted: {said}");
    }
    for patch in [
        r#"{"spec":{"search":{"workers":5}}}"#,
        r#"{"spec":{"search":{"generationsPerJob":1}}}"#,
        r#"{"spec":{"suspend":true}}"#,
    ] {
        let (accepted, said) = change(patch);
        assert!(accepted, "{patch}: {said}");
    }
}
