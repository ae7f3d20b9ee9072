//! `config.json`, first as it is written, then as the model needs it.

use std::path::{Path, PathBuf};

use darwinlm_search::{AttentionUnit, Shape};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::Rope;

/// Why a `config.json` is not accepted.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("failed to read {path}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The file is no JSON object of the expected fields.
    #[error("failed to parse {path}")]
    Json {
        /// The file.
        path: PathBuf,
        /// Where it breaks.
        #[source]
        source: serde_json::Error,
    },
    /// A field asks for what this runner does not compute.
    #[error("config.json: {field} is {found}; accepted: {accepted}")]
    Unsupported {
        /// The field, with its path.
        field: &'static str,
        /// Its value.
        found: String,
        /// What would be accepted.
        accepted: String,
    },
}

/// A validated architecture. Counts fit together; nothing is optional that the model needs.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelConfig {
    /// Rows of the embedding.
    pub vocabulary: i64,
    /// D.
    pub hidden_size: i64,
    /// Columns of a dense `down_proj`.
    pub intermediate_size: i64,
    /// Number of blocks.
    pub blocks: usize,
    /// Query heads of a dense block.
    pub query_heads: i64,
    /// Key-value heads of a dense block; divides `query_heads`.
    pub key_value_heads: i64,
    /// E.
    pub head_dim: i64,
    /// Epsilon of every norm.
    pub norm_epsilon: f64,
    /// Rotary positions.
    pub rope: Rope,
    /// Whether the embeddings serve as output matrix.
    pub tied_embeddings: bool,
    /// The longest sequence the model was made for.
    pub max_positions: i64,
    /// The token that ends a document (the first one, if the file lists several).
    pub end_of_text: Option<i64>,
    /// The file as it was read: an export edits a copy of it.
    pub raw: Map<String, Value>,
}

#[derive(Deserialize)]
struct RawConfig {
    vocab_size: i64,
    hidden_size: i64,
    intermediate_size: i64,
    num_hidden_layers: i64,
    num_attention_heads: i64,
    num_key_value_heads: Option<i64>,
    head_dim: Option<i64>,
    rms_norm_eps: f64,
    hidden_act: String,
    max_position_embeddings: i64,
    rope_theta: Option<f64>,
    rope_scaling: Option<Map<String, Value>>,
    rope_parameters: Option<Map<String, Value>>,
    partial_rotary_factor: Option<f64>,
    attention_bias: Option<bool>,
    mlp_bias: Option<bool>,
    tie_word_embeddings: Option<bool>,
    quantization_config: Option<Value>,
    eos_token_id: Option<Value>,
}

impl ModelConfig {
    /// Reads and validates `config.json` of a checkpoint folder.
    pub fn open(folder: &Path) -> Result<Self, ConfigError> {
        let path = folder.join("config.json");
        let text = std::fs::read(&path).map_err(|source| ConfigError::Io {
            path: path.clone(),
            source,
        })?;
        let json = |source| ConfigError::Json {
            path: path.clone(),
            source,
        };
        let raw: Map<String, Value> = serde_json::from_slice(&text).map_err(json)?;
        // the family first: another family's fields mean other things
        if raw.get("model_type").and_then(Value::as_str) != Some("llama") {
            let found = raw.get("model_type").unwrap_or(&Value::Null);
            return Err(unsupported("model_type", found, "\"llama\""));
        }
        let parsed = serde_json::from_value(Value::Object(raw.clone())).map_err(json)?;
        Self::resolve(parsed, raw)
    }

    /// The sizes that decide what a genome costs.
    pub fn shape(&self, attention_unit: AttentionUnit) -> Shape {
        let narrow = |size: i64| u32::try_from(size).expect("sizes of a model fit 32 bits");
        Shape {
            blocks: narrow(self.blocks as i64),
            hidden: narrow(self.hidden_size),
            vocabulary: narrow(self.vocabulary),
            intermediate: narrow(self.intermediate_size),
            query_heads: narrow(self.query_heads),
            key_value_heads: narrow(self.key_value_heads),
            head_dim: narrow(self.head_dim),
            tied_embeddings: self.tied_embeddings,
            query_key_value_bias: false,
            query_key_norm: false,
            attention_unit,
        }
    }

    fn resolve(parsed: RawConfig, raw: Map<String, Value>) -> Result<Self, ConfigError> {
        parsed.refuse_what_is_not_computed()?;
        let theta = parsed.rope_theta()?;
        let heads = parsed.num_attention_heads;
        let key_value_heads = parsed.num_key_value_heads.unwrap_or(heads);
        for (field, count) in [
            ("vocab_size", parsed.vocab_size),
            ("hidden_size", parsed.hidden_size),
            ("intermediate_size", parsed.intermediate_size),
            ("num_hidden_layers", parsed.num_hidden_layers),
            ("num_attention_heads", heads),
            ("num_key_value_heads", key_value_heads),
            ("max_position_embeddings", parsed.max_position_embeddings),
        ] {
            if !(1..=i64::from(i32::MAX)).contains(&count) {
                return Err(unsupported(field, count, "a positive 31-bit integer"));
            }
        }
        if heads % key_value_heads != 0 {
            let accepted = format!("a divisor of num_attention_heads ({heads})");
            return Err(unsupported(
                "num_key_value_heads",
                key_value_heads,
                accepted,
            ));
        }
        let head_dim = parsed.head_dim.unwrap_or(parsed.hidden_size / heads);
        if head_dim < 2 || head_dim % 2 != 0 {
            return Err(unsupported("head_dim", head_dim, "a positive even integer"));
        }
        if parsed.head_dim.is_none() && parsed.hidden_size % heads != 0 {
            let accepted = format!("without head_dim, a multiple of num_attention_heads ({heads})");
            return Err(unsupported("hidden_size", parsed.hidden_size, accepted));
        }
        let end_of_text = match &parsed.eos_token_id {
            Some(Value::Array(ids)) => ids.first().and_then(Value::as_i64),
            Some(id) => id.as_i64(),
            None => None,
        };
        Ok(Self {
            vocabulary: parsed.vocab_size,
            hidden_size: parsed.hidden_size,
            intermediate_size: parsed.intermediate_size,
            blocks: parsed.num_hidden_layers as usize,
            query_heads: heads,
            key_value_heads,
            head_dim,
            norm_epsilon: parsed.rms_norm_eps,
            rope: Rope { theta, head_dim },
            tied_embeddings: parsed.tie_word_embeddings.unwrap_or(false),
            max_positions: parsed.max_position_embeddings,
            end_of_text,
            raw,
        })
    }
}

impl RawConfig {
    fn refuse_what_is_not_computed(&self) -> Result<(), ConfigError> {
        if self.hidden_act != "silu" {
            return Err(unsupported("hidden_act", &self.hidden_act, "\"silu\""));
        }
        if self.attention_bias == Some(true) {
            return Err(unsupported("attention_bias", true, "false"));
        }
        if self.mlp_bias == Some(true) {
            return Err(unsupported("mlp_bias", true, "false"));
        }
        if self
            .partial_rotary_factor
            .is_some_and(|factor| factor != 1.0)
        {
            let found = self.partial_rotary_factor.unwrap_or(1.0);
            return Err(unsupported("partial_rotary_factor", found, "1.0"));
        }
        if let Some(quantization) = &self.quantization_config {
            let accepted = "no quantization_config: weights in F32, F16 or BF16";
            return Err(unsupported("quantization_config", quantization, accepted));
        }
        Ok(())
    }

    /// The base from either spelling; transformers 5 moved it into `rope_parameters`.
    fn rope_theta(&self) -> Result<f64, ConfigError> {
        let mut theta = self.rope_theta;
        let sources = [
            ("rope_scaling", &self.rope_scaling),
            ("rope_parameters", &self.rope_parameters),
        ];
        for (field, source) in sources {
            let Some(source) = source else { continue };
            let kind = source.get("rope_type").or_else(|| source.get("type"));
            if kind.is_some_and(|kind| kind != "default") {
                return Err(unsupported(
                    field,
                    Value::Object(source.clone()),
                    "rope_type \"default\"",
                ));
            }
            theta = source.get("rope_theta").and_then(Value::as_f64).or(theta);
        }
        // the value that transformers assumes where neither spelling is written
        let theta = theta.unwrap_or(10_000.0);
        if !(theta.is_finite() && theta > 0.0) {
            return Err(unsupported("rope_theta", theta, "a positive number"));
        }
        Ok(theta)
    }
}

fn unsupported(
    field: &'static str,
    found: impl std::fmt::Display,
    accepted: impl Into<String>,
) -> ConfigError {
    ConfigError::Unsupported {
        field,
        found: found.to_string(),
        accepted: accepted.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(change: impl FnOnce(&mut Map<String, Value>)) -> Result<ModelConfig, ConfigError> {
        let folder = tempfile::tempdir().unwrap();
        let mut config = serde_json::json!({
            "model_type": "llama", "vocab_size": 64, "hidden_size": 12, "intermediate_size": 20,
            "num_hidden_layers": 2, "num_attention_heads": 6, "num_key_value_heads": 2,
            "rms_norm_eps": 1e-5, "hidden_act": "silu", "max_position_embeddings": 128,
            "rope_theta": 500.0, "eos_token_id": [3, 4]
        });
        change(config.as_object_mut().unwrap());
        std::fs::write(folder.path().join("config.json"), config.to_string()).unwrap();
        ModelConfig::open(folder.path())
    }

    #[test]
    fn both_spellings_of_the_rope_base_mean_the_same() {
        let old = open(|_| {}).unwrap();
        let new = open(|config| {
            config.remove("rope_theta");
            config.insert(
                "rope_parameters".into(),
                serde_json::json!({"rope_theta": 500.0, "rope_type": "default"}),
            );
        })
        .unwrap();
        assert_eq!(old.rope, new.rope);
        assert_eq!((old.head_dim, old.end_of_text), (2, Some(3)));
    }

    #[test]
    fn what_is_not_computed_is_refused_by_name() {
        let cases = [
            ("model_type", serde_json::json!("mamba"), "\"llama\""),
            ("hidden_act", serde_json::json!("gelu"), "\"silu\""),
            ("attention_bias", serde_json::json!(true), "false"),
            ("mlp_bias", serde_json::json!(true), "false"),
            (
                "rope_scaling",
                serde_json::json!({"rope_type": "yarn"}),
                "rope_type \"default\"",
            ),
            (
                "quantization_config",
                serde_json::json!({"bits": 4}),
                "no quantization_config",
            ),
            (
                "num_key_value_heads",
                serde_json::json!(4),
                "a divisor of num_attention_heads (6)",
            ),
            ("head_dim", serde_json::json!(3), "a positive even integer"),
        ];
        for (field, value, accepted) in cases {
            let error = open(|config| drop(config.insert(field.into(), value))).unwrap_err();
            let message = error.to_string();
            assert!(
                message.contains(field) && message.contains(accepted),
                "{message}"
            );
        }
    }
}
