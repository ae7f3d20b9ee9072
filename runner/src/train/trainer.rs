//! The training loop over one minibatch.

use std::sync::atomic::{AtomicBool, Ordering};

use darwinlm_search::{Minibatch, Piece};
use tch::{Kind, Tensor};

use super::{AdamW, AdamWSettings, Distillation, TrainError, head_gradients};
use crate::fitness::batches;
use crate::flops::{Flops, Work};
use crate::model::Model;
use crate::no_grad::no_grad;
use crate::tokens::Sequences;

/// How a candidate is trained.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TrainSettings {
    /// The optimizer.
    pub adamw: AdamWSettings,
    /// Sequences of one optimizer step.
    pub batch_sequences: u32,
    /// Sequences per forward pass; a step sums the gradients of several.
    pub micro_batch_sequences: u32,
    /// Positions whose logits exist at one time.
    pub logit_chunk_tokens: u32,
}

/// What training on a minibatch came to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Trained {
    /// Every step was taken; the mean loss of the last one in nats per token, if there was one.
    Finished {
        /// Cross-entropy of the last step before it was taken.
        last_loss: Option<f64>,
    },
    /// The loss of some step was infinite or no number; the weights are of no use any more.
    NonFinite,
}

/// A model whose weights are its own float32 leaves.
#[derive(Debug)]
pub struct Trainer {
    model: Model,
    settings: TrainSettings,
}

impl Trainer {
    /// Copies every weight of `model`, shared or not, into a float32 leaf; a tied matrix is one.
    pub fn new(model: &Model, settings: TrainSettings) -> Self {
        let leaf = |weight: &Tensor| {
            let own = weight.detach().totype(Kind::Float).copy();
            own.set_requires_grad(true)
        };
        Self {
            model: model.map_weights(|_, weight| leaf(weight)),
            settings,
        }
    }

    /// The model as trained so far.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// Trains on one minibatch with a fresh optimizer, so that training on several in turn can be
    /// taken up again from the weights alone. `progress` hears of every step.
    ///
    /// The device is fed the tokens at the start and asked for the losses at the end: a step in
    /// between neither uploads nor waits.
    pub fn train(
        &mut self,
        pool: &Sequences,
        minibatch: &Minibatch,
        cancel: &AtomicBool,
        progress: &mut dyn FnMut(Work),
    ) -> Result<Trained, TrainError> {
        let flops = Flops::of(&self.model);
        let mut optimizer = AdamW::new(self.leaves(), self.settings.adamw)?;
        let pieces = minibatch.pieces(pool.length());
        let ids_SL = pool.rows(&pieces, self.model.device());
        let (mut rows, mut losses) = (0, Vec::new());
        for batch in pieces.chunks(self.settings.batch_sequences.max(1) as usize) {
            let count = batch.len() as i64;
            let ids_sL = ids_SL.f_narrow(0, rows, count)?;
            losses.push(self.gradients(&ids_sL, batch, None, cancel)?);
            optimizer.step()?;
            rows += count;
            progress(work(&flops, batch));
        }
        trained(&losses)
    }

    /// The weights, shared with an optimizer.
    pub(super) fn leaves(&self) -> Vec<Tensor> {
        let weights = self.model.weights().into_iter();
        weights.map(|(_, weight)| weight.shallow_clone()).collect()
    }

    /// Computes the gradients of one optimizer step over pieces whose whole sequences are `ids_SL`,
    /// and returns its mean loss in nats per token: [], float64, on the device.
    pub(super) fn gradients(
        &mut self,
        ids_SL: &Tensor,
        batch: &[Piece],
        teacher: Option<Distillation<'_>>,
        cancel: &AtomicBool,
    ) -> Result<Tensor, TrainError> {
        let tokens: u64 = batch.iter().map(|piece| u64::from(piece.tokens)).sum();
        let positions = tokens - batch.len() as u64;
        let mut sum = Tensor::f_zeros([], (Kind::Double, self.model.device()))?;
        let mut rows = 0;
        for micro_batch in batches(batch, self.settings.micro_batch_sequences) {
            if cancel.load(Ordering::Relaxed) {
                return Err(TrainError::Cancelled);
            }
            let (count, tokens) = (micro_batch.len() as i64, i64::from(micro_batch[0].tokens));
            let ids_BT = ids_SL.f_narrow(0, rows, count)?.f_narrow(1, 0, tokens)?;
            let _ = sum.f_add_(&self.accumulate(&ids_BT, positions, teacher)?)?;
            rows += count;
        }
        Ok(sum.f_div_scalar(positions as f64)?)
    }

    /// Adds the gradients of some sequences and returns the sum of their losses [], float64.
    fn accumulate(
        &mut self,
        ids_BT: &Tensor,
        positions: u64,
        teacher: Option<Distillation<'_>>,
    ) -> Result<Tensor, TrainError> {
        let predicting = ids_BT.size()[1] - 1;
        // the last token predicts nothing and, attention being causal, nothing looks at it
        let read_BT = ids_BT.f_narrow(1, 0, predicting)?;
        let soft = teacher.map(|teacher| teacher.over(&read_BT)).transpose()?;
        let hidden_BTD = self.model.hidden_states(&read_BT);
        let hidden_ND = hidden_BTD.f_flatten(0, 1)?;
        let target_N = ids_BT.f_narrow(1, 1, predicting)?.f_flatten(0, 1)?;
        let output_VD = self.model.output_VD();
        let mut output_gradient_VD = output_VD.detach().f_zeros_like()?;
        let scale = 1.0 / positions as f64;
        let chunk = i64::from(self.settings.logit_chunk_tokens);
        let (sum, slope_ND) = no_grad(|| {
            let gradient = &mut output_gradient_VD;
            let soft = soft.as_ref();
            head_gradients(
                &hidden_ND, output_VD, &target_N, soft, scale, chunk, gradient,
            )
        })?;
        // libtorch's backward starts at a number: this one has the wanted gradient
        hidden_ND
            .f_mul(&slope_ND)?
            .f_sum(Kind::Float)?
            .f_backward()?;
        let mut gradient = output_VD.grad();
        if gradient.defined() {
            let _ = no_grad(|| gradient.f_add_(&output_gradient_VD))?;
        } else {
            // an untied matrix takes part in no graph here: let autograd put the gradient in place
            output_VD
                .f_mul(&output_gradient_VD)?
                .f_sum(Kind::Float)?
                .f_backward()?;
        }
        Ok(sum)
    }
}

/// What a training pass over pieces takes: the last token of each is predicted and not read.
pub(super) fn work(flops: &Flops, pieces: &[Piece]) -> Work {
    let of = |piece: &Piece| {
        let tokens = u64::from(piece.tokens);
        (tokens, flops.training(1, tokens - 1))
    };
    let pieces = pieces.iter().map(of);
    pieces.fold(Work::default(), |sum, (tokens, flops)| Work {
        tokens: sum.tokens + tokens,
        flops: sum.flops + flops,
    })
}

/// What the losses of all steps come to: the one time that a minibatch is waited for.
fn trained(losses: &[Tensor]) -> Result<Trained, TrainError> {
    if losses.is_empty() {
        return Ok(Trained::Finished { last_loss: None });
    }
    let losses = Vec::<f64>::try_from(Tensor::f_stack(losses, 0)?)?;
    Ok(match losses.iter().all(|loss| loss.is_finite()) {
        true => Trained::Finished {
            last_loss: losses.last().copied(),
        },
        false => Trained::NonFinite,
    })
}
