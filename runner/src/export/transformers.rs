//! A Hugging Face folder for transformers 5: shrunk weights and the code that builds such layers.
//!
//! Stock classes build every layer alike, so the folder carries `modeling_darwinlm.py`, which
//! derives from the stock classes of the family and takes each layer's sizes from
//! `per_layer_config`, the field that transformers and vLLM define for it. It loads with
//! `trust_remote_code=True`.

use std::path::Path;

use darwinlm_task::QueryHeadLayout;
use serde_json::{Map, Value, json};

use super::ExportError;
use super::folder::{copy_from_source, write, write_config, write_weights};
use super::layout::write_block;
use crate::model::{Family, Model, ModelConfig};

/// Written for Llama. The classes of the other families have the same names but for the first
/// word, and what a family has that others lack is in the classes that are derived from.
const MODELING: &str = include_str!("modeling_darwinlm.py");

fn modeling(family: Family) -> String {
    MODELING
        .replace(Family::Llama.class(), family.class())
        .replace(Family::Llama.model_type(), family.model_type())
}

/// What a user may choose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExportSettings {
    /// How query heads that lost their neighbours find their keys and values.
    pub layout: QueryHeadLayout,
}

/// Writes `model` into `target`, an empty folder. `source` is the dense model's folder, `config`
/// its configuration. Weights are written in the type they have; their number is returned.
pub fn export_transformers(
    model: &Model,
    config: &ModelConfig,
    source: &Path,
    target: &Path,
    settings: &ExportSettings,
) -> Result<u64, ExportError> {
    let mut sizes = Map::new();
    let mut tensors = vec![
        (
            "model.embed_tokens.weight".to_owned(),
            model.embeddings_VD.shallow_clone(),
        ),
        (
            "model.norm.weight".to_owned(),
            model.norm.weight_D.shallow_clone(),
        ),
    ];
    tensors.extend(
        model
            .lm_head_VD
            .as_ref()
            .map(|head| ("lm_head.weight".to_owned(), head.shallow_clone())),
    );
    let digits = model.blocks.len().to_string().len();
    for (index, block) in model.blocks.iter().enumerate() {
        let written = write_block(block, config, settings.layout, &model.embeddings_VD);
        // padded, so that the keys sort as numbers
        sizes.insert(format!("{index:0digits$}"), Value::Object(written.sizes));
        let named = written.block.weights();
        let named =
            named.map(|(name, t)| (format!("model.layers.{index}.{name}"), t.shallow_clone()));
        tensors.extend(named);
    }
    let stored = write_weights(target, tensors)?;
    let fields = exported_config(config, sizes);
    write_config(target, fields, model.embeddings_VD.kind())?;
    let code = modeling(config.family);
    write(&target.join("modeling_darwinlm.py"), code.as_bytes())?;
    copy_from_source(source, target)?;
    Ok(stored)
}

/// The dense `config.json` with what pruning changed. Global sizes stay the dense model's; a
/// layer's own stand in `per_layer_config`.
fn exported_config(config: &ModelConfig, sizes: Map<String, Value>) -> Map<String, Value> {
    let mut fields = config.raw.clone();
    let class = |name: &str| format!("modeling_darwinlm.{name}");
    for (name, value) in [
        ("model_type", json!("darwinlm")),
        ("architectures", json!(["DarwinLMForCausalLM"])),
        (
            "auto_map",
            json!({
                "AutoConfig": class("DarwinLMConfig"),
                "AutoModelForCausalLM": class("DarwinLMForCausalLM"),
            }),
        ),
        // without it transformers divides the hidden size by a number of heads that layers differ
        // in; Qwen2 has no such field, but its classes heed it
        ("head_dim", json!(config.head_dim)),
        ("num_key_value_heads", json!(config.key_value_heads)),
        ("per_layer_config", Value::Object(sizes)),
    ] {
        fields.insert(name.to_owned(), value);
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_modelling_file_derives_from_the_classes_of_its_family_alone() {
        for family in Family::ALL {
            let code = modeling(family);
            for class in [
                "Attention",
                "DecoderLayer",
                "MLP",
                "Model",
                "RMSNorm",
                "Config",
            ] {
                let own = format!("{}{class}", family.class());
                assert!(code.contains(&own), "{family:?} has no {own}");
            }
            for other in Family::ALL.into_iter().filter(|&other| other != family) {
                assert!(!code.contains(other.class()), "{family:?} names {other:?}");
                assert!(
                    !code.contains(other.model_type()),
                    "{family:?} names {other:?}"
                );
            }
        }
    }
}
