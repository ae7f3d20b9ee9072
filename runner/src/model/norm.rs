//! Root-mean-square normalisation.

use tch::{Kind, Tensor};

/// RMSNorm with a learned scale.
#[derive(Debug)]
pub struct RmsNorm {
    /// The scale [D]; of a head [E].
    pub weight_D: Tensor,
    /// Added to the mean square.
    pub epsilon: f64,
}

impl RmsNorm {
    /// Normalises over the last dimension in float32: [.., D] → [.., D] of type `compute`.
    pub fn forward(&self, x: &Tensor, compute: Kind) -> Tensor {
        let x = x.to_kind(Kind::Float);
        let mean_square = x.square().mean_dim([-1i64].as_slice(), true, Kind::Float);
        let normal = &x * (mean_square + self.epsilon).rsqrt();
        normal.to_kind(compute) * self.weight_D.to_kind(compute)
    }

    /// The same norm, sharing its weight.
    pub(crate) fn view(&self) -> Self {
        self.map(Tensor::shallow_clone)
    }

    pub(super) fn map(&self, change: impl FnOnce(&Tensor) -> Tensor) -> Self {
        Self {
            weight_D: change(&self.weight_D),
            epsilon: self.epsilon,
        }
    }
}
