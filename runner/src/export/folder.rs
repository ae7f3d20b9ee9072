//! What every checkpoint folder has: weights, configuration, and the source's own files.

use std::path::Path;

use serde_json::{Map, Value, json};
use tch::{Kind, Tensor};

use super::ExportError;
use crate::weights::write_tensors;

/// What belongs to the model and is not changed by pruning, where the source has it.
const COPIED: [&str; 12] = [
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "tokenizer.model",
    "vocab.json",
    "merges.txt",
    "chat_template.jinja",
    "generation_config.json",
    "LICENSE",
    "LICENSE.txt",
    "NOTICE",
];

/// Writes `model.safetensors`; the number of weights.
pub(super) fn write_weights(
    target: &Path,
    tensors: impl IntoIterator<Item = (String, Tensor)>,
) -> Result<u64, ExportError> {
    let detached: Vec<(String, Tensor)> = tensors
        .into_iter()
        .map(|(name, tensor)| (name, tensor.detach()))
        .collect();
    write_tensors(&target.join("model.safetensors"), &detached, Some("pt"))?;
    Ok(detached.iter().map(|(_, t)| t.numel() as u64).sum())
}

/// Writes `config.json`; the type of the weights stands under the one name that transformers 5 uses.
pub(super) fn write_config(
    target: &Path,
    mut fields: Map<String, Value>,
    kind: Kind,
) -> Result<(), ExportError> {
    let dtype = match kind {
        Kind::BFloat16 => "bfloat16",
        Kind::Half => "float16",
        _ => "float32",
    };
    fields.insert("dtype".into(), json!(dtype));
    fields.remove("torch_dtype");
    let mut text = serde_json::to_vec_pretty(&fields).expect("a JSON value can be written");
    text.push(b'\n');
    write(&target.join("config.json"), &text)
}

/// Copies tokenizer, licence and the like.
pub(super) fn copy_from_source(source: &Path, target: &Path) -> Result<(), ExportError> {
    for name in COPIED {
        let from = source.join(name);
        if from.exists() {
            let bytes =
                std::fs::read(&from).map_err(|source| ExportError::Io { path: from, source })?;
            write(&target.join(name), &bytes)?;
        }
    }
    Ok(())
}

pub(super) fn write(path: &Path, bytes: &[u8]) -> Result<(), ExportError> {
    std::fs::write(path, bytes).map_err(|source| ExportError::Io {
        path: path.to_owned(),
        source,
    })
}
