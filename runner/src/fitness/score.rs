//! The two measures, summed chunk by chunk.

use std::sync::atomic::{AtomicBool, Ordering};

use darwinlm_search::{FitnessKind, Minibatch, Piece};
use tch::{Kind, Tensor};

use super::{FitnessError, Teacher};
use crate::model::Model;
use crate::tokens::Sequences;

/// What of the numerics plan scoring needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScoreSettings {
    /// What is measured.
    pub kind: FitnessKind,
    /// Sequences per forward pass.
    pub micro_batch_sequences: u32,
    /// Positions whose logits exist at one time.
    pub logit_chunk_tokens: u32,
}

/// Scores models on minibatches of one pool.
#[derive(Clone, Copy, Debug)]
pub struct Scorer<'a> {
    /// The pool that minibatches are drawn from.
    pub pool: &'a Sequences,
    /// The dense model's states over the pool; only KL divergence needs them.
    pub teacher: Option<&'a Teacher>,
    /// How it is computed.
    pub settings: ScoreSettings,
}

impl Scorer<'_> {
    /// Mean KL(dense ‖ model) in nats per predicted token, or perplexity. Not finite where the
    /// model's logits are not. `progress` hears of tokens.
    pub fn score(
        &self,
        model: &Model,
        minibatch: &Minibatch,
        cancel: &AtomicBool,
        progress: &mut dyn FnMut(u64),
    ) -> Result<f64, FitnessError> {
        let (mut sum, mut positions) = (0.0, 0u64);
        let pieces = minibatch.pieces(self.pool.length());
        for batch in batches(&pieces, self.settings.micro_batch_sequences) {
            if cancel.load(Ordering::Relaxed) {
                return Err(FitnessError::Cancelled);
            }
            sum += tch::no_grad(|| self.sum_of(model, batch))?;
            let tokens: u64 = batch.iter().map(|piece| u64::from(piece.tokens)).sum();
            positions += tokens - batch.len() as u64;
            progress(tokens);
        }
        let mean = sum / positions as f64;
        Ok(match self.settings.kind {
            FitnessKind::KullbackLeibler => mean,
            FitnessKind::Perplexity => mean.exp(),
        })
    }

    fn sum_of(&self, model: &Model, pieces: &[Piece]) -> Result<f64, FitnessError> {
        let tokens = pieces[0].tokens;
        let sequences: Vec<u32> = pieces.iter().map(|piece| piece.sequence).collect();
        let ids_BT = self.pool.batch(&sequences, tokens, model.device());
        let hidden_BTD = model.hidden_states(&ids_BT);
        let predicting = i64::from(tokens) - 1;
        let hidden_ND = hidden_BTD.f_narrow(1, 0, predicting)?.f_flatten(0, 1)?;
        let target_N = ids_BT.f_narrow(1, 1, predicting)?.f_flatten(0, 1)?;
        let teacher_ND = match self.settings.kind {
            FitnessKind::KullbackLeibler => {
                let teacher = self.teacher.ok_or(FitnessError::NoTeacher)?;
                Some((teacher, teacher.states(pieces)?))
            }
            FitnessKind::Perplexity => None,
        };
        let positions = hidden_ND.size()[0];
        let chunk = i64::from(self.settings.logit_chunk_tokens.max(1));
        let mut sum = 0.0;
        for start in (0..positions).step_by(chunk as usize) {
            let length = chunk.min(positions - start);
            let of = |whole: &Tensor| whole.f_narrow(0, start, length);
            let logits_NV = model.logits(&of(&hidden_ND)?);
            let candidate_NV = logits_NV.f_log_softmax(-1, Kind::Float)?;
            let terms_N = match &teacher_ND {
                Some((teacher, states_ND)) => {
                    let dense_NV = teacher
                        .logits(&of(states_ND)?)?
                        .f_log_softmax(-1, Kind::Float)?;
                    divergence(&dense_NV, &candidate_NV)?
                }
                None => -candidate_NV.f_gather(1, &of(&target_N)?.unsqueeze(1), false)?,
            };
            sum += terms_N.f_sum(Kind::Double)?.double_value(&[]);
        }
        Ok(sum)
    }
}

/// KL(P ‖ Q) of every position from log-probabilities: 2 × [N, V] → [N].
fn divergence(log_p_NV: &Tensor, log_q_NV: &Tensor) -> Result<Tensor, FitnessError> {
    let weighted_NV = log_p_NV.f_exp()?.f_mul(&log_p_NV.f_sub(log_q_NV)?)?;
    Ok(weighted_NV.f_sum_dim_intlist([-1i64].as_slice(), false, Kind::Float)?)
}

/// Neighbouring pieces of equal length, at most `most` at a time. Only a minibatch's last pieces
/// are shorter, so nothing is padded.
pub fn batches(pieces: &[Piece], most: u32) -> impl Iterator<Item = &[Piece]> {
    pieces
        .chunk_by(|left, right| left.tokens == right.tokens)
        .flat_map(move |equal| equal.chunks(most.max(1) as usize))
}
