//! How the frequencies of rotary positions are stretched beyond the context a model was made for.

use std::f64::consts::PI;

use tch::{Device, Kind, Tensor};

/// What is done to the frequencies, as transformers does it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum RopeScaling {
    /// Nothing.
    None,
    /// All are divided.
    Linear {
        /// By so much.
        factor: f64,
    },
    /// Low ones are divided, high ones are left, those between are blended (Llama 3.1).
    Llama3 {
        /// What low ones are divided by.
        factor: f64,
        /// Turns over the original context up to which a frequency is low.
        low_factor: f64,
        /// Turns over the original context from which on a frequency is high.
        high_factor: f64,
        /// The original context.
        original_positions: i64,
    },
    /// The same with a linear blend over dimensions, and sharper attention (YaRN).
    Yarn {
        /// What low ones are divided by.
        factor: f64,
        /// What cosines and sines are multiplied by.
        attention_factor: f64,
        /// Turns over the original context from which on a frequency is high.
        beta_fast: f64,
        /// Turns over the original context up to which a frequency is low.
        beta_slow: f64,
        /// The original context.
        original_positions: i64,
        /// Whether the blend begins and ends at whole dimensions.
        truncate: bool,
    },
}

impl RopeScaling {
    /// What cosines and sines are multiplied by.
    pub fn attention_factor(&self) -> f64 {
        match *self {
            Self::None | Self::Linear { .. } | Self::Llama3 { .. } => 1.0,
            Self::Yarn {
                attention_factor, ..
            } => attention_factor,
        }
    }

    /// Wavelengths over 2π [E/2] of a base θ → frequencies [E/2]. Float32 throughout, in the order
    /// of operations of transformers.
    pub(super) fn frequencies(&self, periods: &Tensor, theta: f64) -> Tensor {
        match *self {
            Self::None => periods.reciprocal(),
            Self::Linear { factor } => periods.reciprocal() / factor,
            Self::Llama3 {
                factor,
                low_factor,
                high_factor,
                original_positions,
            } => {
                let whole = periods.reciprocal();
                let context = original_positions as f64;
                let wavelengths = whole.reciprocal() * (2.0 * PI);
                let is_low = wavelengths.gt(context / low_factor);
                let is_high = wavelengths.lt(context / high_factor);
                let divided = (&whole / factor).where_self(&is_low, &whole);
                let share =
                    (wavelengths.reciprocal() * context - low_factor) / (high_factor - low_factor);
                let blended = (1.0 - &share) * &divided / factor + share * &divided;
                divided.where_self(&is_low.logical_or(&is_high), &blended)
            }
            Self::Yarn {
                factor,
                beta_fast,
                beta_slow,
                original_positions,
                truncate,
                ..
            } => {
                let half = periods.size()[0];
                let context = original_positions as f64;
                let first = dimension(beta_fast, half, theta, context);
                let last = dimension(beta_slow, half, theta, context);
                let (first, last) = match truncate {
                    true => (first.floor(), last.ceil()),
                    false => (first, last),
                };
                let (first, last) = (first.max(0.0), last.min((2 * half - 1) as f64));
                let ramp = ramp(first, last, half, periods.device());
                let keep = 1.0 - ramp;
                let divided = (periods * factor).reciprocal();
                divided * (1.0 - &keep) + periods.reciprocal() * keep
            }
        }
    }
}

/// The dimension (of E/2) whose frequency makes so many turns over a context.
fn dimension(turns: f64, half: i64, theta: f64, context: f64) -> f64 {
    ((2 * half) as f64 * (context / (turns * 2.0 * PI)).ln()) / (2.0 * theta.ln())
}

/// 0 up to `first`, 1 from `last` on [E/2].
fn ramp(first: f64, last: f64, half: i64, device: Device) -> Tensor {
    let last = if first == last { last + 0.001 } else { last };
    let dimensions = Tensor::arange(half, (Kind::Float, device));
    ((dimensions - first) / (last - first)).clamp(0.0, 1.0)
}
