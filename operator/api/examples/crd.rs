//! Prints the custom resource definition as YAML: `cargo run -p darwinlm-api --example crd`.

fn main() {
    let yaml =
        serde_saphyr::to_string(&darwinlm_api::manifest()).expect("a definition is plain data");
    print!("{}\n{yaml}", darwinlm_api::GENERATED_BY);
}
