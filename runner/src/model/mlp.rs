//! The gated MLP: down(silu(gate(x)) ∘ up(x)).

use tch::Tensor;

/// An MLP with the intermediate columns that were kept.
#[derive(Debug)]
pub struct Mlp {
    /// [C, D].
    pub gate_CD: Tensor,
    /// [C, D].
    pub up_CD: Tensor,
    /// [D, C].
    pub down_DC: Tensor,
}

impl Mlp {
    /// The input of `down_proj`: [B, T, D] → [B, T, C].
    pub fn activations(&self, x_BTD: &Tensor) -> Tensor {
        let compute = x_BTD.kind();
        let gate_BTC = x_BTD.linear(&self.gate_CD.to_kind(compute), None::<&Tensor>);
        let up_BTC = x_BTD.linear(&self.up_CD.to_kind(compute), None::<&Tensor>);
        gate_BTC.silu() * up_BTC
    }

    /// `down_proj`: [B, T, C] → [B, T, D].
    pub fn project(&self, activations_BTC: &Tensor) -> Tensor {
        activations_BTC.linear(
            &self.down_DC.to_kind(activations_BTC.kind()),
            None::<&Tensor>,
        )
    }

    /// The same MLP, sharing its weights.
    pub(crate) fn view(&self) -> Self {
        self.map_weights(&mut |_, weight| weight.shallow_clone())
    }

    pub(super) fn weights(&self) -> [(&'static str, &Tensor); 3] {
        [
            ("mlp.gate_proj.weight", &self.gate_CD),
            ("mlp.up_proj.weight", &self.up_CD),
            ("mlp.down_proj.weight", &self.down_DC),
        ]
    }

    pub(crate) fn map_weights(&self, change: &mut dyn FnMut(&str, &Tensor) -> Tensor) -> Self {
        Self {
            gate_CD: change("mlp.gate_proj.weight", &self.gate_CD),
            up_CD: change("mlp.up_proj.weight", &self.up_CD),
            down_DC: change("mlp.down_proj.weight", &self.down_DC),
        }
    }
}
