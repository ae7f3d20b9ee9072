//! Rotary positions held against transformers.

use serde_json::{Value, json};
use tch::{Device, Kind, Tensor};

use super::*;

fn of(config: &Value) -> Result<Rope, ConfigError> {
    let fields = Fields::new(config.as_object().unwrap());
    let size = |name: &str| config[name].as_i64().unwrap_or(64);
    rope(&fields, size("head_dim"), size("max_position_embeddings"))
}

#[test]
fn every_way_to_write_it_gives_the_frequencies_of_transformers() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/rope.json");
    let fixture: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let cases = fixture["cases"].as_array().unwrap();
    assert!(cases.len() > 25);
    for case in cases {
        let name = case["name"].as_str().unwrap();
        let mut config = fixture["sizes"].clone();
        for (field, value) in case["fields"].as_object().unwrap() {
            config[field] = value.clone();
        }
        let rope = of(&config).unwrap();
        let numbers = case["frequencies"].as_array().unwrap();
        let expected: Vec<f32> = numbers.iter().map(|n| n.as_f64().unwrap() as f32).collect();
        let found = rope.frequencies(Device::Cpu);
        assert_eq!(found.kind(), Kind::Float);
        let error = (found / Tensor::from_slice(&expected) - 1.0).abs().max();
        assert!(error.double_value(&[]) < 3e-7, "{name}: {error}");
        let factor = case["factor"].as_f64().unwrap();
        assert!(
            (rope.scaling.attention_factor() / factor - 1.0).abs() < 1e-15,
            "{name}"
        );
    }
}

#[test]
fn what_is_not_computed_is_refused_by_name() {
    let cases = [
        (
            json!({ "rope_scaling": { "type": "dynamic", "factor": 2.0 } }),
            "rope_scaling.type is \"dynamic\"; accepted: rope_type \"default\", ",
        ),
        (
            json!({ "rope_parameters": { "rope_type": "longrope" } }),
            "rope_parameters.rope_type is \"longrope\"",
        ),
        (
            json!({ "rope_parameters": { "rope_type": null } }),
            "rope_parameters.rope_type is null",
        ),
        (
            json!({ "rope_scaling": 2 }),
            "rope_scaling is 2; accepted: an object",
        ),
        (
            json!({ "rope_scaling": { "type": "linear" } }),
            "rope_scaling.factor is missing; accepted: a number",
        ),
        (
            json!({ "rope_scaling": { "type": "linear", "factor": 0 } }),
            "rope_scaling.factor is 0; accepted: a positive number",
        ),
        (
            json!({ "rope_scaling": { "type": "linear", "factor": "2" } }),
            "rope_scaling.factor is \"2\"; accepted: a number",
        ),
        (
            json!({ "rope_scaling": { "mrope_section": [1] } }),
            "rope_scaling.mrope_section is [1]; accepted: no such field with rope_type \"default\"",
        ),
        (
            json!({ "rope_parameters": { "full_attention": {} } }),
            "rope_parameters.full_attention is {}",
        ),
        (
            json!({ "rope_parameters": { "partial_rotary_factor": 0.5 } }),
            "rope_parameters.partial_rotary_factor is 0.5; accepted: 1.0",
        ),
        (
            json!({ "partial_rotary_factor": 0.5 }),
            "partial_rotary_factor is 0.5; accepted: 1.0",
        ),
        (
            json!({ "rope_theta": null }),
            "rope_theta is null; accepted: a number above 1",
        ),
        (
            json!({ "rope_theta": 1 }),
            "rope_theta is 1; accepted: a number above 1",
        ),
        (
            json!({ "rope_scaling": { "type": "llama3", "factor": 8, "low_freq_factor": 4, "high_freq_factor": 4 } }),
            "rope_scaling.high_freq_factor is 4; accepted: a number above low_freq_factor (4)",
        ),
        (
            json!({ "rope_scaling": { "type": "yarn", "factor": 2, "original_max_position_embeddings": null } }),
            "rope_scaling.original_max_position_embeddings is null; accepted: a positive integer",
        ),
        (
            json!({ "rope_scaling": { "type": "yarn", "factor": 2, "finetuned": true } }),
            "rope_scaling.finetuned is true",
        ),
        (
            json!({ "rope_scaling": { "type": "yarn", "factor": 2, "truncate": null } }),
            "rope_scaling.truncate is null; accepted: true or false",
        ),
    ];
    for (config, expected) in cases {
        let message = of(&config).unwrap_err().to_string();
        assert!(message.contains(expected), "{message}");
    }
}
