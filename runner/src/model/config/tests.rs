//! What of a `config.json` is accepted, and how the rest is refused.

use darwinlm_search::ModuleKind;
use serde_json::json;

use super::*;

fn open(family: &str, changes: Value) -> Result<ModelConfig, String> {
    let mut config = json!({
        "model_type": family, "vocab_size": 64, "hidden_size": 12, "intermediate_size": 20,
        "num_hidden_layers": 2, "num_attention_heads": 6, "num_key_value_heads": 2,
        "rms_norm_eps": 1e-5, "hidden_act": "silu", "max_position_embeddings": 128,
        "rope_theta": 500.0, "eos_token_id": [3, 4]
    });
    for (field, value) in changes.as_object().unwrap() {
        match value == &json!("absent") {
            true => drop(config.as_object_mut().unwrap().remove(field)),
            false => config[field] = value.clone(),
        }
    }
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("config.json"), config.to_string()).unwrap();
    ModelConfig::open(folder.path()).map_err(|error| error.to_string())
}

#[test]
fn the_first_of_several_ends_of_text_counts() {
    let config = open("llama", json!({})).unwrap();
    assert_eq!((config.head_dim, config.end_of_text), (2, Some(3)));
}

#[test]
fn biases_and_norms_come_with_the_family() {
    let of = |family: &str| {
        let shape = open(family, json!({}))
            .unwrap()
            .shape(AttentionUnit::QueryHead);
        (shape.query_key_value_bias, shape.query_key_norm)
    };
    assert_eq!(of("llama"), (false, false));
    assert_eq!(of("mistral"), (false, false));
    assert_eq!(of("qwen2"), (true, false));
    assert_eq!(of("qwen3"), (false, true));
}

#[test]
fn an_absent_field_means_what_the_family_takes_it_to_mean() {
    let absent = json!({
        "num_key_value_heads": "absent", "head_dim": "absent", "hidden_act": "absent",
        "num_attention_heads": 32, "hidden_size": 128
    });
    let of = |family: &str| {
        let config = open(family, absent.clone()).unwrap();
        (config.key_value_heads, config.head_dim)
    };
    assert_eq!(of("llama"), (32, 4));
    assert_eq!(of("mistral"), (8, 4));
    assert_eq!(of("qwen2"), (32, 4));
    assert_eq!(of("qwen3"), (32, 128));
    let null = json!({ "num_key_value_heads": null });
    assert_eq!(open("mistral", null).unwrap().key_value_heads, 6);
}

#[test]
fn what_is_not_computed_is_refused_by_name() {
    let cases = [
        (
            "model_type",
            json!("mamba"),
            "\"llama\", \"mistral\", \"qwen2\", \"qwen3\"",
        ),
        (
            "model_type",
            json!("absent"),
            "model_type is missing; accepted: \"llama\"",
        ),
        ("hidden_act", json!("gelu"), "\"silu\""),
        ("attention_bias", json!(true), "false"),
        ("mlp_bias", json!(true), "false"),
        ("is_causal", json!(false), "true"),
        ("partial_rotary_factor", json!(0.5), "1.0"),
        (
            "rope_scaling",
            json!({ "rope_type": "dynamic" }),
            "rope_type \"default\"",
        ),
        (
            "quantization_config",
            json!({ "bits": 4 }),
            "no quantization_config",
        ),
        ("attention_chunk_size", json!(8), "no attention_chunk_size"),
        ("per_layer_config", json!({ "0": {} }), "a dense model"),
        (
            "num_key_value_heads",
            json!(4),
            "a divisor of num_attention_heads (6)",
        ),
        ("num_key_value_heads", json!(0), "a positive 31-bit integer"),
        ("head_dim", json!(3), "a positive even integer"),
        (
            "hidden_size",
            json!("12"),
            "hidden_size is \"12\"; accepted: an integer",
        ),
        ("vocab_size", json!(-1), "a positive 31-bit integer"),
        (
            "rms_norm_eps",
            json!("absent"),
            "rms_norm_eps is missing; accepted: a number",
        ),
        (
            "num_hidden_layers",
            json!(null),
            "num_hidden_layers is null; accepted: an integer",
        ),
        (
            "tie_word_embeddings",
            json!(1),
            "tie_word_embeddings is 1; accepted: true or false",
        ),
    ];
    for family in ["llama", "mistral", "qwen3"] {
        for (field, value, accepted) in &cases {
            let message = open(family, json!({ *field: value })).unwrap_err();
            assert!(
                message.contains(field) && message.contains(accepted),
                "{family}: {message}"
            );
        }
    }
}

#[test]
fn a_hidden_size_that_heads_do_not_share_needs_a_head_dim() {
    for family in ["llama", "mistral", "qwen2"] {
        let message = open(family, json!({ "hidden_size": 15 })).unwrap_err();
        let accepted = "without head_dim, a multiple of num_attention_heads (6)";
        assert!(message.contains(accepted), "{family}: {message}");
        let explicit = json!({ "hidden_size": 15, "head_dim": 4 });
        assert_eq!(open(family, explicit).unwrap().head_dim, 4);
    }
}

#[test]
fn a_qwen2_has_its_biases_whatever_attention_bias_says() {
    for says in [true, false] {
        assert!(open("qwen2", json!({ "attention_bias": says })).is_ok());
    }
    let message = open("qwen2", json!({ "mlp_bias": true })).unwrap_err();
    assert!(
        message.contains("mlp_bias is true; accepted: false"),
        "{message}"
    );
}

#[test]
fn published_models_have_their_known_parameters() {
    // sizes: vocabulary, hidden, intermediate, blocks, query heads, key-value heads, positions
    let of = |family: &str, sizes: [i64; 7], special: Value| {
        let [
            vocabulary,
            hidden,
            intermediate,
            blocks,
            heads,
            keys,
            positions,
        ] = sizes;
        let mut config = json!({
            "vocab_size": vocabulary, "hidden_size": hidden, "intermediate_size": intermediate,
            "num_hidden_layers": blocks, "num_attention_heads": heads, "num_key_value_heads": keys,
            "max_position_embeddings": positions, "rms_norm_eps": 1e-6, "attention_dropout": 0.0,
            "initializer_range": 0.02, "use_cache": true, "torch_dtype": "bfloat16"
        });
        for (field, value) in special.as_object().unwrap() {
            config[field] = value.clone();
        }
        let shape = open(family, config)
            .unwrap()
            .shape(AttentionUnit::QueryHead);
        let block = [ModuleKind::Attention, ModuleKind::Mlp]
            .map(|kind| shape.parameters_at(kind, shape.units(kind)));
        shape.fixed_parameters() + u64::from(shape.blocks) * block.iter().sum::<u64>()
    };
    let llama_3_1_8b = of(
        "llama",
        [128_256, 4096, 14_336, 32, 32, 8, 131_072],
        json!({
            "attention_bias": false, "mlp_bias": false, "pretraining_tp": 1, "rope_theta": 500000.0,
            "rope_scaling": {
                "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                "original_max_position_embeddings": 8192, "rope_type": "llama3"
            }
        }),
    );
    assert_eq!(llama_3_1_8b, 8_030_261_248);
    let mistral_7b = of(
        "mistral",
        [32_000, 4096, 14_336, 32, 32, 8, 32_768],
        json!({ "sliding_window": 4096, "rope_theta": 10000.0, "tie_word_embeddings": false }),
    );
    assert_eq!(mistral_7b, 7_241_732_096);
    let qwen_2_5_half = of(
        "qwen2",
        [151_936, 896, 4864, 24, 14, 2, 32_768],
        json!({
            "max_window_layers": 24, "sliding_window": 32768, "use_sliding_window": false,
            "use_mrope": false, "rope_theta": 1000000.0, "tie_word_embeddings": true
        }),
    );
    assert_eq!(qwen_2_5_half, 494_032_768);
    let qwen_3_small = of(
        "qwen3",
        [151_936, 1024, 3072, 28, 16, 8, 40_960],
        json!({
            "attention_bias": false, "head_dim": 128, "max_window_layers": 28,
            "sliding_window": null, "use_sliding_window": false, "rope_scaling": null,
            "rope_theta": 1000000, "tie_word_embeddings": true
        }),
    );
    assert_eq!(qwen_3_small, 596_049_920);
}
