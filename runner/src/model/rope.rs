//! Rotary position embedding in the order of Hugging Face checkpoints (halves, not pairs).

mod scaling;

pub use scaling::RopeScaling;

use tch::{Device, Kind, Tensor};

/// The frequencies of the rotation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rope {
    /// Base of the geometric series of wavelengths.
    pub theta: f64,
    /// Head size; even.
    pub head_dim: i64,
    /// How the series is stretched.
    pub scaling: RopeScaling,
}

/// Cosines and sines [T, E] of positions 0..T.
#[derive(Debug)]
pub struct Rotation {
    cosine_TE: Tensor,
    sine_TE: Tensor,
}

impl Rope {
    /// The rotation of positions `0..tokens`. Angles are float32, as transformers computes them.
    pub fn rotation(&self, tokens: i64, compute: Kind, device: Device) -> Rotation {
        let positions = Tensor::arange(tokens, (Kind::Float, device));
        let angles = positions.outer(&self.frequencies(device));
        let angles_TE = Tensor::cat(&[&angles, &angles], -1);
        let factor = self.scaling.attention_factor();
        Rotation {
            cosine_TE: (angles_TE.cos() * factor).to_kind(compute),
            sine_TE: (angles_TE.sin() * factor).to_kind(compute),
        }
    }

    /// Radians per position [E/2], float32.
    pub fn frequencies(&self, device: Device) -> Tensor {
        let exponents = Tensor::arange_start_step(0, self.head_dim, 2, (Kind::Int64, device))
            .to_kind(Kind::Float)
            / self.head_dim as f64;
        let periods = Tensor::pow_scalar(self.theta, &exponents);
        self.scaling.frequencies(&periods, self.theta)
    }
}

impl Rotation {
    /// The rotation of `tokens` positions from `start` on, out of a longer one.
    pub fn narrow(&self, start: i64, tokens: i64) -> Rotation {
        Rotation {
            cosine_TE: self.cosine_TE.narrow(0, start, tokens),
            sine_TE: self.sine_TE.narrow(0, start, tokens),
        }
    }

    /// Rotates queries or keys [B, heads, T, E].
    pub fn apply(&self, x: &Tensor) -> Tensor {
        let halves = x.chunk(2, -1);
        let turned = Tensor::cat(&[&halves[1].neg(), &halves[0]], -1);
        x * &self.cosine_TE + turned * &self.sine_TE
    }
}
