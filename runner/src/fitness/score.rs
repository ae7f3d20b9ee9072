//! The two measures, summed chunk by chunk.

use std::sync::atomic::{AtomicBool, Ordering};

use darwinlm_search::{FitnessKind, Minibatch, Piece};
use tch::{Device, Kind, Tensor};

use super::{FitnessError, Teacher};
use crate::flops::{Flops, Work};
use crate::model::Model;
use crate::no_grad::no_grad;
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

/// Both measures of one model on the same tokens.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BothMeasures {
    /// Mean KL(dense ‖ model) in nats per predicted token.
    pub kl: f64,
    /// exp of the mean negative log-likelihood of a predicted token.
    pub perplexity: f64,
}

/// Means over positions; a measure that is not asked for is 0.
#[derive(Clone, Copy, Debug)]
struct Means {
    divergence: f64,
    surprise: f64,
}

/// Their sums, float64 on the model's device: reading them back waits for all that was asked of it.
struct Sums {
    both_2: Tensor,
}

impl Sums {
    fn new(device: Device) -> Result<Self, FitnessError> {
        let both_2 = Tensor::f_zeros([2], (Kind::Double, device))?;
        Ok(Self { both_2 })
    }

    /// Adds float32 terms to the divergence (0) or the surprise (1).
    fn add(&self, which: i64, terms: &Tensor) -> Result<(), FitnessError> {
        let mut sum = self.both_2.f_select(0, which)?;
        let _ = sum.f_add_(&terms.f_sum(Kind::Double)?)?;
        Ok(())
    }

    fn means(self, positions: u64) -> Result<Means, FitnessError> {
        let both = Vec::<f64>::try_from(self.both_2)?;
        Ok(Means {
            divergence: both[0] / positions as f64,
            surprise: -both[1] / positions as f64,
        })
    }
}

/// What of [`Means`] is asked for.
#[derive(Clone, Copy, Debug)]
struct Wanted {
    divergence: bool,
    surprise: bool,
}

impl Scorer<'_> {
    /// Mean KL(dense ‖ model) in nats per predicted token, or perplexity. Not finite where the
    /// model's logits are not. `progress` hears of every batch.
    pub fn score(
        &self,
        model: &Model,
        minibatch: &Minibatch,
        cancel: &AtomicBool,
        progress: &mut dyn FnMut(Work),
    ) -> Result<f64, FitnessError> {
        let kind = self.settings.kind;
        let wanted = Wanted {
            divergence: kind == FitnessKind::KullbackLeibler,
            surprise: kind == FitnessKind::Perplexity,
        };
        let means = self.means(model, minibatch, wanted, cancel, progress)?;
        Ok(match kind {
            FitnessKind::KullbackLeibler => means.divergence,
            FitnessKind::Perplexity => means.surprise.exp(),
        })
    }

    /// Both measures in one pass, whatever the fitness is. `progress` hears of every batch.
    pub fn both(
        &self,
        model: &Model,
        minibatch: &Minibatch,
        cancel: &AtomicBool,
        progress: &mut dyn FnMut(Work),
    ) -> Result<BothMeasures, FitnessError> {
        let wanted = Wanted {
            divergence: true,
            surprise: true,
        };
        let means = self.means(model, minibatch, wanted, cancel, progress)?;
        Ok(BothMeasures {
            kl: means.divergence,
            perplexity: means.surprise.exp(),
        })
    }

    fn means(
        &self,
        model: &Model,
        minibatch: &Minibatch,
        wanted: Wanted,
        cancel: &AtomicBool,
        progress: &mut dyn FnMut(Work),
    ) -> Result<Means, FitnessError> {
        let (sums, mut positions) = (Sums::new(model.device())?, 0u64);
        let flops = Flops::of(model);
        let pieces = minibatch.pieces(self.pool.length());
        let ids_SL = self.pool.rows(&pieces, model.device());
        let mut rows = 0;
        for batch in batches(&pieces, self.settings.micro_batch_sequences) {
            if cancel.load(Ordering::Relaxed) {
                return Err(FitnessError::Cancelled);
            }
            let count = batch.len() as i64;
            let ids_BL = ids_SL.f_narrow(0, rows, count)?;
            rows += count;
            no_grad(|| self.add(model, batch, &ids_BL, wanted, &sums))?;
            let tokens: u64 = batch.iter().map(|piece| u64::from(piece.tokens)).sum();
            positions += tokens - batch.len() as u64;
            progress(self.work(&flops, batch, wanted));
        }
        sums.means(positions)
    }

    /// What a batch of pieces of equal length took: the logits of both models, where they are compared.
    fn work(&self, flops: &Flops, batch: &[Piece], wanted: Wanted) -> Work {
        let (sequences, tokens) = (batch.len() as u64, u64::from(batch[0].tokens));
        let positions = sequences * (tokens - 1);
        let teacher = self.teacher.filter(|_| wanted.divergence);
        let taught = teacher.map_or(0, |teacher| teacher.flops(positions));
        Work {
            tokens: sequences * tokens,
            flops: flops.states(sequences, tokens) + flops.logits(positions) + taught,
        }
    }

    fn add(
        &self,
        model: &Model,
        pieces: &[Piece],
        ids_BL: &Tensor,
        wanted: Wanted,
        sums: &Sums,
    ) -> Result<(), FitnessError> {
        let tokens = pieces[0].tokens;
        let ids_BT = ids_BL.f_narrow(1, 0, i64::from(tokens))?;
        let hidden_BTD = model.hidden_states(&ids_BT);
        let predicting = i64::from(tokens) - 1;
        let hidden_ND = hidden_BTD.f_narrow(1, 0, predicting)?.f_flatten(0, 1)?;
        let target_N = ids_BT.f_narrow(1, 1, predicting)?.f_flatten(0, 1)?;
        let teacher_ND = match wanted.divergence {
            true => {
                let teacher = self.teacher.ok_or(FitnessError::NoTeacher)?;
                Some((teacher, teacher.states(pieces)?))
            }
            false => None,
        };
        let positions = hidden_ND.size()[0];
        let chunk = i64::from(self.settings.logit_chunk_tokens.max(1));
        for start in (0..positions).step_by(chunk as usize) {
            let length = chunk.min(positions - start);
            let of = |whole: &Tensor| whole.f_narrow(0, start, length);
            let candidate_NV = model
                .logits(&of(&hidden_ND)?)
                .f_log_softmax(-1, Kind::Float)?;
            if let Some((teacher, states_ND)) = &teacher_ND {
                let dense_NV = teacher
                    .logits(&of(states_ND)?)?
                    .f_log_softmax(-1, Kind::Float)?;
                sums.add(0, &divergence(&dense_NV, &candidate_NV)?)?;
            }
            if wanted.surprise {
                let target_N1 = of(&target_N)?.f_unsqueeze(1)?;
                sums.add(1, &candidate_NV.f_gather(1, &target_N1, false)?)?;
            }
        }
        Ok(())
    }
}

/// KL(P ‖ Q) of every position from log-probabilities: 2 × [N, V] → [N].
fn divergence(log_p_NV: &Tensor, log_q_NV: &Tensor) -> Result<Tensor, FitnessError> {
    // in place: four tensors as wide as the vocabulary are the most that scoring holds
    let mut weighted_NV = log_p_NV.f_sub(log_q_NV)?;
    let _ = weighted_NV.f_mul_(&log_p_NV.f_exp()?)?;
    Ok(weighted_NV.f_sum_dim_intlist([-1i64].as_slice(), false, Kind::Float)?)
}

/// Neighbouring pieces of equal length, at most `most` at a time. Only a minibatch's last pieces
/// are shorter, so nothing is padded.
pub fn batches(pieces: &[Piece], most: u32) -> impl Iterator<Item = &[Piece]> {
    pieces
        .chunk_by(|left, right| left.tokens == right.tokens)
        .flat_map(move |equal| equal.chunks(most.max(1) as usize))
}
