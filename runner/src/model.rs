//! A transformer of the Llama, Mistral, Qwen2 or Qwen3 family whose blocks may each have their own
//! shape: dense or shrunk.
//!
//! Shape suffixes: B sequences, T tokens of a sequence, N tokens of all sequences, D hidden size,
//! H query heads kept, K key-value heads kept, E head size, C intermediate columns kept,
//! V vocabulary.

mod attention;
mod block;
mod cache;
mod config;
mod dense;
mod mlp;
mod norm;
mod positions;
mod rope;

pub use attention::{Attention, HeadBiases, HeadNorms, KeyValueMap};
pub use block::Block;
pub use cache::Cache;
pub use config::{ConfigError, Family, ModelConfig};
pub use dense::{DenseModel, ModelError};
pub use mlp::Mlp;
pub use norm::RmsNorm;
pub use positions::Positions;
pub use rope::{Rope, RopeScaling};

use tch::{Device, Kind, Tensor};

/// A causal language model. Every tensor may be shared with another model (a view).
#[derive(Debug)]
pub struct Model {
    /// Token embeddings [V, D].
    pub embeddings_VD: Tensor,
    /// The blocks, in order.
    pub blocks: Vec<Block>,
    /// The norm after the last block.
    pub norm: RmsNorm,
    /// The output matrix [V, D]; `None`: the embeddings serve.
    pub lm_head_VD: Option<Tensor>,
    /// Rotary positions.
    pub rope: Rope,
    /// The type that activations are computed in; weights of another type are cast at use.
    pub compute: Kind,
}

impl Model {
    /// The final hidden states, after the last norm: token ids [B, T] → [B, T, D].
    pub fn hidden_states(&self, tokens_BT: &Tensor) -> Tensor {
        let mut x_BTD = self.embed(tokens_BT);
        let positions = self.positions(tokens_BT.size()[1]);
        for block in &self.blocks {
            x_BTD = block.forward(&x_BTD, &positions);
        }
        self.norm.forward(&x_BTD, self.compute)
    }

    /// Token embeddings: ids [B, T] → [B, T, D].
    pub fn embed(&self, tokens_BT: &Tensor) -> Tensor {
        Tensor::embedding(&self.embeddings_VD, tokens_BT, -1, false, false).to_kind(self.compute)
    }

    /// Logits of some positions: final hidden states [N, D] → [N, V]. Pass a few hundred at a time:
    /// the vocabulary is large.
    pub fn logits(&self, hidden_ND: &Tensor) -> Tensor {
        hidden_ND.linear(&self.output_VD().to_kind(self.compute), None::<&Tensor>)
    }

    /// The output matrix [V, D], tied or not.
    pub fn output_VD(&self) -> &Tensor {
        self.lm_head_VD.as_ref().unwrap_or(&self.embeddings_VD)
    }

    /// Where the weights live.
    pub fn device(&self) -> Device {
        self.embeddings_VD.device()
    }

    /// Every weight once, with its name in a Hugging Face checkpoint.
    pub fn weights(&self) -> Vec<(String, &Tensor)> {
        let mut weights = vec![("model.embed_tokens.weight".to_owned(), &self.embeddings_VD)];
        for (index, block) in self.blocks.iter().enumerate() {
            let prefix = format!("model.layers.{index}");
            weights.extend(
                block
                    .weights()
                    .map(|(name, w)| (format!("{prefix}.{name}"), w)),
            );
        }
        weights.push(("model.norm.weight".to_owned(), &self.norm.weight_D));
        weights.extend(
            self.lm_head_VD
                .as_ref()
                .map(|w| ("lm_head.weight".to_owned(), w)),
        );
        weights
    }

    /// Number of weights; a tied output matrix counts once.
    pub fn parameters(&self) -> u64 {
        self.weights()
            .iter()
            .map(|(_, weight)| weight.numel() as u64)
            .sum()
    }

    /// Bytes of all weights; a tied output matrix counts once.
    pub fn bytes(&self) -> u64 {
        let weights = self.weights();
        let bytes = |(_, weight): &(String, &Tensor)| {
            weight.numel() as u64 * weight.kind().elt_size_in_bytes() as u64
        };
        weights.iter().map(bytes).sum()
    }

    /// The same model with every weight replaced by `change(name, weight)`.
    pub fn map_weights(&self, mut change: impl FnMut(&str, &Tensor) -> Tensor) -> Self {
        let embeddings_VD = change("model.embed_tokens.weight", &self.embeddings_VD);
        let blocks = self.blocks.iter().enumerate().map(|(index, block)| {
            let prefix = format!("model.layers.{index}");
            block.map_weights(&mut |name, weight| change(&format!("{prefix}.{name}"), weight))
        });
        let blocks = blocks.collect();
        let norm = self.norm.map(|weight| change("model.norm.weight", weight));
        let lm_head_VD = self
            .lm_head_VD
            .as_ref()
            .map(|weight| change("lm_head.weight", weight));
        Self {
            embeddings_VD,
            blocks,
            norm,
            lm_head_VD,
            rope: self.rope,
            compute: self.compute,
        }
    }
}
