//! How one block is written: its own sizes for the configuration, and what stands for what is gone.

use darwinlm_task::QueryHeadLayout;
use serde_json::{Map, Value, json};
use tch::{Kind, Tensor};

use crate::model::{Attention, Block, HeadBiases, HeadNorms, KeyValueMap, ModelConfig, RmsNorm};

/// A block as it is written.
pub(super) struct WrittenBlock {
    /// Its entry of `per_layer_config`.
    pub(super) sizes: Map<String, Value>,
    /// Its weights.
    pub(super) block: Block,
}

pub(super) fn write_block(
    block: &Block,
    config: &ModelConfig,
    layout: QueryHeadLayout,
    like: &Tensor,
) -> WrittenBlock {
    let mut sizes = Map::new();
    let attention = match &block.attention {
        Some((norm, attention)) => (norm.view(), lay_out(attention, layout, &mut sizes)),
        None => zero_head(config, like),
    };
    let (query, key_value) = (attention.1.query_heads(), attention.1.key_value_heads());
    sizes.insert("num_attention_heads".into(), json!(query));
    sizes.insert("num_key_value_heads".into(), json!(key_value));
    let mlp = block
        .mlp
        .as_ref()
        .map(|(norm, mlp)| (norm.view(), mlp.view()));
    match &mlp {
        Some((_, mlp)) => sizes.insert("intermediate_size".into(), json!(mlp.gate_CD.size()[0])),
        None => sizes.insert("skip".into(), json!(["mlp"])),
    };
    let attention = Some(attention);
    WrittenBlock {
        sizes,
        block: Block { attention, mlp },
    }
}

/// Query heads that lost their neighbours: the map is written, or keys and values are copied.
fn lay_out(
    attention: &Attention,
    layout: QueryHeadLayout,
    sizes: &mut Map<String, Value>,
) -> Attention {
    match (&attention.key_value_map, layout) {
        (KeyValueMap::Grouped, _) => attention.view(),
        (KeyValueMap::Gathered(read), QueryHeadLayout::Gather) => {
            sizes.insert("key_value_index".into(), json!(&read[..]));
            attention.view()
        }
        (KeyValueMap::Gathered(read), QueryHeadLayout::Expand) => {
            let expanded =
                attention.map_weights(&mut |name, weight| match name.contains(".k_proj.")
                    || name.contains(".v_proj.")
                {
                    true => copy_heads(weight, read, attention.head_dim),
                    false => weight.shallow_clone(),
                });
            Attention {
                key_value_map: KeyValueMap::Grouped,
                ..expanded
            }
        }
    }
}

/// A removed attention becomes one head of zeros, which adds nothing to the residual stream.
///
/// Leaving it out breaks engines in two ways: transformers takes the number of cached tokens
/// from layer 0's cache, and vLLM refuses a layer that never calls attention.
fn zero_head(config: &ModelConfig, like: &Tensor) -> (RmsNorm, Attention) {
    let (hidden, head) = (config.hidden_size, config.head_dim);
    let options = (like.kind(), like.device());
    let zeros = |shape: &[i64]| Tensor::zeros(shape, options);
    let norm = |width: i64| RmsNorm {
        weight_D: Tensor::ones([width], options),
        epsilon: config.norm_epsilon,
    };
    let attention = Attention {
        q_QD: zeros(&[head, hidden]),
        k_KD: zeros(&[head, hidden]),
        v_KD: zeros(&[head, hidden]),
        o_DQ: zeros(&[hidden, head]),
        biases: config.family.query_key_value_bias().then(|| HeadBiases {
            q_Q: zeros(&[head]),
            k_K: zeros(&[head]),
            v_K: zeros(&[head]),
        }),
        norms: config.family.query_key_norm().then(|| HeadNorms {
            query: norm(head),
            key: norm(head),
        }),
        key_value_map: KeyValueMap::Grouped,
        head_dim: head,
        window: None,
    };
    (norm(hidden), attention)
}

/// [K·E, …] → [H·E, …]: for every query head the rows of the head it reads.
fn copy_heads(weight: &Tensor, read: &[i64], head_dim: i64) -> Tensor {
    let rows = read
        .iter()
        .flat_map(|head| head * head_dim..(head + 1) * head_dim);
    let rows = Tensor::from_slice(&rows.collect::<Vec<i64>>()).to_kind(Kind::Int64);
    weight.index_select(0, &rows.to_device(weight.device()))
}
