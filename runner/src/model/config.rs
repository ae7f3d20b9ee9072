//! `config.json` of a checkpoint, as the model needs it.

mod error;
mod family;
mod fields;
mod rope_parameters;
#[cfg(test)]
mod tests;
mod windows;

pub use error::ConfigError;
pub use family::Family;

use std::path::Path;

use darwinlm_search::{AttentionUnit, Shape};
use serde_json::{Map, Value};

use self::fields::Fields;
use super::Rope;

/// A validated architecture. Counts fit together; nothing is optional that the model needs.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelConfig {
    /// What the blocks are made of.
    pub family: Family,
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
    /// For each block the number of positions a query sees, its own included; `None`: all before it.
    pub windows: Vec<Option<i64>>,
    /// Whether the embeddings serve as output matrix.
    pub tied_embeddings: bool,
    /// The longest sequence the model was made for.
    pub max_positions: i64,
    /// The token that ends a document (the first one, if the file lists several).
    pub end_of_text: Option<i64>,
    /// The file as it was read: an export edits a copy of it.
    pub raw: Map<String, Value>,
}

impl ModelConfig {
    /// Reads and validates `config.json` of a checkpoint folder.
    pub fn open(folder: &Path) -> Result<Self, ConfigError> {
        let path = folder.join("config.json");
        let text = std::fs::read(&path).map_err(|source| ConfigError::Io {
            path: path.clone(),
            source,
        })?;
        Self::parse(&text, &path)
    }

    /// Validates the text of a `config.json`; `path` is what messages call it.
    pub fn parse(text: &[u8], path: &Path) -> Result<Self, ConfigError> {
        let raw = serde_json::from_slice(text).map_err(|source| ConfigError::Json {
            path: path.to_owned(),
            source,
        })?;
        Self::resolve(raw)
    }

    /// The same architecture with fewer blocks.
    pub fn with_blocks(&self, blocks: usize) -> Self {
        Self {
            blocks,
            windows: self.windows.iter().take(blocks).copied().collect(),
            ..self.clone()
        }
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
            query_key_value_bias: self.family.query_key_value_bias(),
            query_key_norm: self.family.query_key_norm(),
            attention_unit,
        }
    }

    fn resolve(raw: Map<String, Value>) -> Result<Self, ConfigError> {
        let fields = Fields::new(&raw);
        // the family first: another family's fields mean other things
        let family = family(&fields)?;
        refuse_what_is_not_computed(&fields, family)?;
        let hidden_size = size(&fields, "hidden_size")?;
        let blocks = size(&fields, "num_hidden_layers")? as usize;
        let query_heads = size(&fields, "num_attention_heads")?;
        let head_dim = head_dim(&fields, family, hidden_size, query_heads)?;
        let max_positions = size(&fields, "max_position_embeddings")?;
        let end_of_text = match raw.get("eos_token_id") {
            Some(Value::Array(ids)) => ids.first().and_then(Value::as_i64),
            Some(id) => id.as_i64(),
            None => None,
        };
        Ok(Self {
            family,
            vocabulary: size(&fields, "vocab_size")?,
            hidden_size,
            intermediate_size: size(&fields, "intermediate_size")?,
            blocks,
            query_heads,
            key_value_heads: key_value_heads(&fields, family, query_heads)?,
            head_dim,
            norm_epsilon: fields.required("rms_norm_eps")?,
            rope: rope_parameters::rope(&fields, head_dim, max_positions)?,
            windows: windows::windows(&fields, family, blocks)?,
            tied_embeddings: fields.optional("tie_word_embeddings")?.unwrap_or(false),
            max_positions,
            end_of_text,
            raw,
        })
    }
}

fn family(fields: &Fields<'_>) -> Result<Family, ConfigError> {
    let written = fields.text("model_type");
    let quoted = |family: Family| format!("\"{}\"", family.model_type());
    let family = Family::ALL
        .into_iter()
        .find(|&family| quoted(family) == written);
    family.ok_or_else(|| {
        let accepted = Family::ALL.map(quoted).join(", ");
        fields.refuse("model_type", written, accepted)
    })
}

fn refuse_what_is_not_computed(fields: &Fields<'_>, family: Family) -> Result<(), ConfigError> {
    if let Some(activation) = fields.optional::<String>("hidden_act")?
        && activation != "silu"
    {
        return Err(fields.refuse("hidden_act", fields.text("hidden_act"), "\"silu\""));
    }
    for (field, refused) in [
        // Qwen2 has biases on q, k and v whatever this says, and never one on o
        ("attention_bias", !family.query_key_value_bias()),
        ("mlp_bias", true),
    ] {
        if refused && fields.optional(field)?.unwrap_or(false) {
            return Err(fields.refuse(field, true, "false"));
        }
    }
    if fields.optional("is_causal")? == Some(false) {
        return Err(fields.refuse("is_causal", false, "true"));
    }
    for (field, accepted) in [
        (
            "quantization_config",
            "no quantization_config: weights in F32, F16 or BF16",
        ),
        ("attention_chunk_size", "no attention_chunk_size"),
        ("per_layer_config", "no per_layer_config: a dense model"),
    ] {
        let found = fields.text(field);
        if !["missing", "null"].contains(&found.as_str()) {
            return Err(fields.refuse(field, found, accepted));
        }
    }
    Ok(())
}

fn size(fields: &Fields<'_>, name: &str) -> Result<i64, ConfigError> {
    positive(fields, name, fields.required(name)?)
}

fn positive(fields: &Fields<'_>, name: &str, count: i64) -> Result<i64, ConfigError> {
    match (1..=i64::from(i32::MAX)).contains(&count) {
        true => Ok(count),
        false => Err(fields.refuse(name, count, "a positive 31-bit integer")),
    }
}

fn key_value_heads(
    fields: &Fields<'_>,
    family: Family,
    query_heads: i64,
) -> Result<i64, ConfigError> {
    let name = "num_key_value_heads";
    let written = fields.get(name)?.unwrap_or(family.absent_key_value_heads());
    let heads = positive(fields, name, written.unwrap_or(query_heads))?;
    match query_heads % heads {
        0 => Ok(heads),
        _ => {
            let accepted = format!("a divisor of num_attention_heads ({query_heads})");
            Err(fields.refuse(name, heads, accepted))
        }
    }
}

fn head_dim(
    fields: &Fields<'_>,
    family: Family,
    hidden_size: i64,
    query_heads: i64,
) -> Result<i64, ConfigError> {
    let written = fields.get("head_dim")?.unwrap_or(family.absent_head_dim());
    if written.is_none() && hidden_size % query_heads != 0 {
        let accepted =
            format!("without head_dim, a multiple of num_attention_heads ({query_heads})");
        return Err(fields.refuse("hidden_size", hidden_size, accepted));
    }
    let head_dim = written.unwrap_or(hidden_size / query_heads);
    match head_dim >= 2 && head_dim % 2 == 0 {
        true => positive(fields, "head_dim", head_dim),
        false => Err(fields.refuse("head_dim", head_dim, "a positive even integer")),
    }
}
