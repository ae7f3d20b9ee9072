//! The definition of a `PruningRun` on a real API server: what `kubectl apply` accepts and refuses.

use std::fs;

use darwinlm_tests::cluster::{Namespace, eventually, try_kubectl};
use darwinlm_tests::programs::repository;

/// A server that has just come up may still refuse, and a definition that has just been made has no
/// conditions to wait for.
fn install_definition() {
    let definition = repository().join("crds/pruningruns.darwinlm.io.yaml");
    let definition = definition.to_str().expect("the path is text");
    eventually(&["apply", "--server-side", "-f", definition]);
    eventually(&[
        "wait",
        "--for=condition=Established",
        "--timeout=30s",
        "crd/pruningruns.darwinlm.io",
    ]);
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
    let table = namespace.kubectl(&["get", "prun"]);
    for column in ["STAGE", "PROGRESS", "FITNESS", "PARAMS", "GPU-H", "AGE"] {
        assert!(table.contains(column), "{table}");
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
