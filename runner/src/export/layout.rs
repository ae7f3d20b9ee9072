//! How one block is written: per-layer sizes for the configuration, and its tensors.

use darwinlm_task::QueryHeadLayout;
use serde_json::{Map, Value, json};
use tch::{Kind, Tensor};

use crate::model::{Attention, Block, KeyValueMap, ModelConfig};

/// A block as it is written.
pub(super) struct WrittenBlock {
    /// Its entry of `per_layer_config`.
    pub(super) sizes: Map<String, Value>,
    /// Its tensors, by name within the block.
    pub(super) tensors: Vec<(&'static str, Tensor)>,
}

pub(super) fn write_block(
    block: &Block,
    config: &ModelConfig,
    layout: QueryHeadLayout,
    like: &Tensor,
) -> WrittenBlock {
    let mut written = WrittenBlock {
        sizes: Map::new(),
        tensors: Vec::new(),
    };
    match &block.attention {
        Some((norm, attention)) => {
            written
                .tensors
                .push(("input_layernorm.weight", norm.weight_D.shallow_clone()));
            written.attention(attention, layout);
        }
        None => written.zero_head(config, like),
    }
    match &block.mlp {
        Some((norm, mlp)) => {
            written
                .sizes
                .insert("intermediate_size".into(), json!(mlp.gate_CD.size()[0]));
            written.tensors.extend([
                (
                    "post_attention_layernorm.weight",
                    norm.weight_D.shallow_clone(),
                ),
                ("mlp.gate_proj.weight", mlp.gate_CD.shallow_clone()),
                ("mlp.up_proj.weight", mlp.up_CD.shallow_clone()),
                ("mlp.down_proj.weight", mlp.down_DC.shallow_clone()),
            ]);
        }
        None => drop(written.sizes.insert("skip".into(), json!(["mlp"]))),
    }
    written
}

impl WrittenBlock {
    fn heads(&mut self, query: i64, key_value: i64) {
        self.sizes
            .insert("num_attention_heads".into(), json!(query));
        self.sizes
            .insert("num_key_value_heads".into(), json!(key_value));
    }

    fn attention(&mut self, attention: &Attention, layout: QueryHeadLayout) {
        let queries = attention.query_heads();
        let (k_KD, v_KD) = match (&attention.key_value_map, layout) {
            (KeyValueMap::Grouped, _) => {
                self.heads(queries, attention.key_value_heads());
                (
                    attention.k_KD.shallow_clone(),
                    attention.v_KD.shallow_clone(),
                )
            }
            (KeyValueMap::Gathered(read), QueryHeadLayout::Gather) => {
                self.heads(queries, attention.key_value_heads());
                self.sizes.insert("key_value_index".into(), json!(read));
                (
                    attention.k_KD.shallow_clone(),
                    attention.v_KD.shallow_clone(),
                )
            }
            (KeyValueMap::Gathered(read), QueryHeadLayout::Expand) => {
                self.heads(queries, queries);
                let own = |weight: &Tensor| copy_heads(weight, read, attention.head_dim);
                (own(&attention.k_KD), own(&attention.v_KD))
            }
        };
        self.tensors.extend([
            ("self_attn.q_proj.weight", attention.q_QD.shallow_clone()),
            ("self_attn.k_proj.weight", k_KD),
            ("self_attn.v_proj.weight", v_KD),
            ("self_attn.o_proj.weight", attention.o_DQ.shallow_clone()),
        ]);
    }

    /// A removed attention becomes one head of zeros, which adds nothing to the residual stream.
    ///
    /// Leaving it out breaks engines in two ways: transformers takes the number of cached tokens
    /// from layer 0's cache, and vLLM refuses a layer that never calls attention.
    fn zero_head(&mut self, config: &ModelConfig, like: &Tensor) {
        self.heads(1, 1);
        let (hidden, head) = (config.hidden_size, config.head_dim);
        let zeros = |shape: [i64; 2]| Tensor::zeros(shape, (like.kind(), like.device()));
        self.tensors.extend([
            (
                "input_layernorm.weight",
                Tensor::ones([hidden], (like.kind(), like.device())),
            ),
            ("self_attn.q_proj.weight", zeros([head, hidden])),
            ("self_attn.k_proj.weight", zeros([head, hidden])),
            ("self_attn.v_proj.weight", zeros([head, hidden])),
            ("self_attn.o_proj.weight", zeros([hidden, head])),
        ]);
    }
}

/// [K·E, D] → [H·E, D]: for every query head the rows of the head it reads.
fn copy_heads(weight_KD: &Tensor, read: &[i64], head_dim: i64) -> Tensor {
    let rows = read
        .iter()
        .flat_map(|head| head * head_dim..(head + 1) * head_dim);
    let rows = Tensor::from_slice(&rows.collect::<Vec<i64>>()).to_kind(Kind::Int64);
    weight_KD.index_select(0, &rows.to_device(weight_KD.device()))
}
