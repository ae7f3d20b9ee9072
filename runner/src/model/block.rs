//! One transformer block: attention and MLP, each behind its norm, each possibly removed.

use darwinlm_search::ModuleKind;
use tch::Tensor;

use super::cache::KeyValues;
use super::{Attention, Mlp, Positions, RmsNorm};

/// A block. A removed module is `None`, its norm with it: only the residual stream passes.
#[derive(Debug)]
pub struct Block {
    /// Attention behind its norm.
    pub attention: Option<(RmsNorm, Attention)>,
    /// The MLP behind its norm.
    pub mlp: Option<(RmsNorm, Mlp)>,
}

impl Block {
    /// [B, T, D] → [B, T, D].
    pub fn forward(&self, x_BTD: &Tensor, positions: &Positions) -> Tensor {
        self.forward_observed(x_BTD, positions, &mut |_, _| {})
    }

    /// The same, showing `observe` the input of `o_proj` [B, T, H·E] and of `down_proj` [B, T, C].
    pub fn forward_observed(
        &self,
        x_BTD: &Tensor,
        positions: &Positions,
        observe: &mut dyn FnMut(ModuleKind, &Tensor),
    ) -> Tensor {
        let mut context = |attention: &Attention, x: &Tensor| attention.context(x, positions);
        self.forward_with(x_BTD, &mut context, observe)
    }

    /// [B, T, D] → [B, T, D] for tokens that follow those in `seen`.
    pub(super) fn forward_after(
        &self,
        x_BTD: &Tensor,
        positions: &Positions,
        seen: &mut KeyValues,
    ) -> Tensor {
        let mut context =
            |attention: &Attention, x: &Tensor| attention.context_after(x, positions, seen);
        self.forward_with(x_BTD, &mut context, &mut |_, _| {})
    }

    fn forward_with(
        &self,
        x_BTD: &Tensor,
        context: &mut dyn FnMut(&Attention, &Tensor) -> Tensor,
        observe: &mut dyn FnMut(ModuleKind, &Tensor),
    ) -> Tensor {
        let compute = x_BTD.kind();
        // never `+=`: tch adds in place, and the input may be someone else's
        let mut x_BTD = x_BTD.shallow_clone();
        if let Some((norm, attention)) = &self.attention {
            let context_BTQ = context(attention, &norm.forward(&x_BTD, compute));
            observe(ModuleKind::Attention, &context_BTQ);
            x_BTD = attention.project(&context_BTQ) + &x_BTD;
        }
        if let Some((norm, mlp)) = &self.mlp {
            let activations_BTC = mlp.activations(&norm.forward(&x_BTD, compute));
            observe(ModuleKind::Mlp, &activations_BTC);
            x_BTD = mlp.project(&activations_BTC) + &x_BTD;
        }
        x_BTD
    }

    /// Every weight, with its name within the block in a Hugging Face checkpoint.
    pub(crate) fn weights(&self) -> impl Iterator<Item = (&'static str, &Tensor)> {
        let attention = self.attention.iter().flat_map(|(norm, attention)| {
            std::iter::once(("input_layernorm.weight", &norm.weight_D)).chain(attention.weights())
        });
        let mlp = self.mlp.iter().flat_map(|(norm, mlp)| {
            std::iter::once(("post_attention_layernorm.weight", &norm.weight_D))
                .chain(mlp.weights())
        });
        attention.chain(mlp)
    }

    pub(super) fn map_weights(&self, change: &mut dyn FnMut(&str, &Tensor) -> Tensor) -> Self {
        let attention = self.attention.as_ref().map(|(norm, attention)| {
            let norm = norm.map(|weight| change("input_layernorm.weight", weight));
            (norm, attention.map_weights(change))
        });
        let mlp = self.mlp.as_ref().map(|(norm, mlp)| {
            let norm = norm.map(|weight| change("post_attention_layernorm.weight", weight));
            (norm, mlp.map_weights(change))
        });
        Self { attention, mlp }
    }
}
