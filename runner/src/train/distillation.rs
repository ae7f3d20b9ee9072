//! The dense model as a teacher of what is trained (Hinton et al., arXiv 1503.02531, temperature 1).

use tch::{Kind, Tensor};

use super::TrainError;
use crate::model::Model;
use crate::no_grad::no_grad;

/// A part of the loss that is KL(dense ‖ model).
#[derive(Clone, Copy, Debug)]
pub struct Distillation<'a> {
    /// The dense model; nothing of it is trained.
    pub dense: &'a Model,
    /// The part, above 0 and at most 1; the rest is the cross-entropy of the next token.
    pub share: f64,
}

/// The dense model's states over some positions: its distributions are made chunk by chunk.
#[derive(Debug)]
pub struct SoftTargets<'a> {
    states_ND: Tensor,
    dense: &'a Model,
    /// The part of the loss.
    pub(super) share: f64,
}

impl<'a> Distillation<'a> {
    /// Reads token ids [B, T] with the dense model.
    pub fn over(&self, tokens_BT: &Tensor) -> Result<SoftTargets<'a>, TrainError> {
        let states_BTD = no_grad(|| self.dense.hidden_states(tokens_BT));
        Ok(SoftTargets {
            states_ND: states_BTD.f_flatten(0, 1)?,
            dense: self.dense,
            share: self.share,
        })
    }
}

impl SoftTargets<'_> {
    /// Takes the teacher's probabilities off the gradient of some positions' logits, and returns
    /// what they add to the loss [], float64: n positions from `start`, log-probabilities of the model [n, V].
    pub(super) fn add(
        &self,
        start: i64,
        n: i64,
        log_q_nV: &Tensor,
        slope_nV: &mut Tensor,
    ) -> Result<Tensor, TrainError> {
        let states_nD = self.states_ND.f_narrow(0, start, n)?;
        let log_p_nV = self
            .dense
            .logits(&states_nD)
            .f_log_softmax(-1, Kind::Float)?;
        let share_nV = log_p_nV.f_exp()?.f_mul_scalar(self.share)?;
        let _ = slope_nV.f_sub_(&share_nV)?;
        let divergence_nV = share_nV.f_mul(&log_p_nV.f_sub(log_q_nV)?)?;
        Ok(divergence_nV.f_sum(Kind::Double)?)
    }
}
