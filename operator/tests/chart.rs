//! The chart holds the same definition as the one that the Rust types make.

#[test]
fn the_charts_definition_is_the_generated_one() {
    let generated = include_str!("../../crds/pruningruns.darwinlm.io.yaml");
    let chart = include_str!("../../charts/darwinlm/crd/pruningruns.darwinlm.io.yaml");
    assert!(
        generated == chart,
        "charts/darwinlm/crd/ is stale: run `make crds`"
    );
}
