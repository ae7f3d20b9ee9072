//! The reference in this crate's folder is current and complete.

use darwinlm_api::reference;

const WRITTEN: &str = include_str!("../REFERENCE.md");

#[test]
fn the_reference_is_what_the_types_say() {
    assert!(
        WRITTEN == reference(),
        "operator/api/REFERENCE.md is stale: run `make crds`"
    );
}

#[test]
fn a_required_a_defaulted_and_an_optional_field_are_told_apart() {
    for line in [
        "| `spec.model.source` | string, at most 1024 characters | **required** |",
        "| `spec.search.generations` | integer, 1 to 100000 | `200` |",
        "| `spec.search.steps[].survivors` | integer, 1 to 999 | **required** |",
        "| `spec.worker.device` | `Auto`, `Cpu`, `Cuda` | `\"Auto\"` |",
        "| `spec.budget` | object | – |",
        "| `spec.pruning` | object | as below |",
    ] {
        assert!(WRITTEN.contains(line), "{line} is not in the reference");
    }
}
