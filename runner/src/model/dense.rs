//! The dense model: every block in its full shape, read from a checkpoint.

use std::collections::BTreeSet;
use std::path::Path;

use tch::{Device, Kind, Tensor};

use super::{
    Attention, Block, ConfigError, HeadBiases, HeadNorms, KeyValueMap, Mlp, Model, ModelConfig,
    RmsNorm,
};
use crate::weights::{Checkpoint, WeightsError};

/// Why a dense model could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// The architecture is not accepted.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The weights are not whole or do not fit the configuration.
    #[error(transparent)]
    Weights(#[from] WeightsError),
}

/// A dense model and its configuration. Candidates are cut out of it.
#[derive(Debug)]
pub struct DenseModel {
    /// The architecture.
    pub config: ModelConfig,
    /// The weights.
    pub model: Model,
}

impl DenseModel {
    /// Loads a checkpoint folder (`config.json` and safetensors), weights as `kind` on `device`.
    pub fn open(folder: &Path, kind: Kind, device: Device) -> Result<Self, ModelError> {
        let config = ModelConfig::open(folder)?;
        let checkpoint = Checkpoint::open(folder)?;
        Ok(Self::load(config, &checkpoint, kind, device)?)
    }

    /// Loads the weights that `config` names. A tensor that belongs to none of them is refused: it
    /// would change what the model computes elsewhere.
    pub fn load(
        config: ModelConfig,
        checkpoint: &Checkpoint,
        kind: Kind,
        device: Device,
    ) -> Result<Self, WeightsError> {
        let read = |name: &str, shape: &[i64]| checkpoint.weight(name, shape, kind, device);
        let model = assemble(&config, kind, &read)?;
        refuse_what_is_left_over(&model, checkpoint)?;
        Ok(Self { config, model })
    }

    /// A model of small random weights, which computes as fast as any other of its sizes.
    pub fn random(config: ModelConfig, kind: Kind, device: Device) -> Self {
        let small = |_: &str, shape: &[i64]| {
            let weight = Tensor::randn(shape, (Kind::Float, device)) * 0.02;
            Ok(weight.to_kind(kind))
        };
        let model = assemble(&config, kind, &small).expect("random weights have every shape");
        Self { config, model }
    }

    /// A frozen copy of the output matrix [V, D] in its own memory: the teacher's, which stays as
    /// it is while a tied candidate trains its own.
    pub fn frozen_output(&self) -> Tensor {
        self.model.output_VD().detach().copy()
    }
}

/// Reads a weight by name and shape.
type Read<'a> = dyn Fn(&str, &[i64]) -> Result<Tensor, WeightsError> + 'a;

/// Tensors that old checkpoints carry and that follow from the configuration.
const DERIVED: &str = ".rotary_emb.inv_freq";

/// The model whose weights `read` gives.
fn assemble(config: &ModelConfig, kind: Kind, read: &Read<'_>) -> Result<Model, WeightsError> {
    let (vocabulary, hidden) = (config.vocabulary, config.hidden_size);
    let blocks = (0..config.blocks)
        .map(|index| load_block(config, index, read))
        .collect::<Result<_, _>>()?;
    let lm_head_VD = match config.tied_embeddings {
        true => None,
        false => Some(read("lm_head.weight", &[vocabulary, hidden])?),
    };
    Ok(Model {
        embeddings_VD: read("model.embed_tokens.weight", &[vocabulary, hidden])?,
        blocks,
        norm: RmsNorm {
            weight_D: read("model.norm.weight", &[hidden])?,
            epsilon: config.norm_epsilon,
        },
        lm_head_VD,
        rope: config.rope,
        compute: kind,
    })
}

fn refuse_what_is_left_over(model: &Model, checkpoint: &Checkpoint) -> Result<(), WeightsError> {
    let used: BTreeSet<String> = model.weights().into_iter().map(|(name, _)| name).collect();
    let left = |name: &&str| !used.contains(*name) && !name.ends_with(DERIVED);
    for name in checkpoint.names().filter(left) {
        // tied, yet written: fine as long as it is what it is tied to
        if name == "lm_head.weight" {
            let embeddings_VD = &model.embeddings_VD;
            let (kind, device) = (embeddings_VD.kind(), embeddings_VD.device());
            let head_VD = checkpoint.weight(name, &embeddings_VD.size(), kind, device)?;
            if head_VD.equal(embeddings_VD) {
                continue;
            }
            return Err(checkpoint.untied(name));
        }
        return Err(checkpoint.left_over(name));
    }
    Ok(())
}

fn load_block(config: &ModelConfig, index: usize, read: &Read<'_>) -> Result<Block, WeightsError> {
    let (hidden, columns) = (config.hidden_size, config.intermediate_size);
    let queries = config.query_heads * config.head_dim;
    let keys = config.key_value_heads * config.head_dim;
    let family = config.family;
    let named = |name: &str, shape: &[i64]| read(&format!("model.layers.{index}.{name}"), shape);
    let read = |name: &str, shape: &[i64]| named(&format!("{name}.weight"), shape);
    let bias = |name: &str, width: i64| named(&format!("{name}.bias"), &[width]);
    let norm = |name: &str, width: i64| {
        let weight_D = read(name, &[width])?;
        Ok::<_, WeightsError>(RmsNorm {
            weight_D,
            epsilon: config.norm_epsilon,
        })
    };
    let biases = match family.query_key_value_bias() {
        false => None,
        true => Some(HeadBiases {
            q_Q: bias("self_attn.q_proj", queries)?,
            k_K: bias("self_attn.k_proj", keys)?,
            v_K: bias("self_attn.v_proj", keys)?,
        }),
    };
    let norms = match family.query_key_norm() {
        false => None,
        true => Some(HeadNorms {
            query: norm("self_attn.q_norm", config.head_dim)?,
            key: norm("self_attn.k_norm", config.head_dim)?,
        }),
    };
    let attention = Attention {
        q_QD: read("self_attn.q_proj", &[queries, hidden])?,
        k_KD: read("self_attn.k_proj", &[keys, hidden])?,
        v_KD: read("self_attn.v_proj", &[keys, hidden])?,
        o_DQ: read("self_attn.o_proj", &[hidden, queries])?,
        biases,
        norms,
        key_value_map: KeyValueMap::Grouped,
        head_dim: config.head_dim,
        window: config.windows[index],
    };
    let mlp = Mlp {
        gate_CD: read("mlp.gate_proj", &[columns, hidden])?,
        up_CD: read("mlp.up_proj", &[columns, hidden])?,
        down_DC: read("mlp.down_proj", &[hidden, columns])?,
    };
    Ok(Block {
        attention: Some((norm("input_layernorm", hidden)?, attention)),
        mlp: Some((norm("post_attention_layernorm", hidden)?, mlp)),
    })
}
