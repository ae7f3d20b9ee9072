//! Collecting the Hessians of a range of blocks from calibration sequences.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};

use darwinlm_search::PerKind;
use tch::Tensor;

use super::{Hessian, PruneError};
use crate::flops::{Flops, Work};
use crate::model::Model;
use crate::no_grad::no_grad;
use crate::tokens::Sequences;

/// What of the numerics plan a calibration needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CalibrationSettings {
    /// Sequences whose XᵀX is summed at once.
    pub batch_sequences: u32,
}

/// The Hessians of one block's two modules.
#[derive(Debug)]
pub struct BlockHessians {
    /// The block.
    pub block: u32,
    /// H of `o_proj` and of `down_proj`, undamped, float32.
    pub hessians: PerKind<Tensor>,
}

/// Runs the dense model over the calibration sequences and returns the Hessians of `blocks`.
///
/// Blocks before the range only pass activations on; blocks after it are not run. `progress` hears
/// of every batch; the sums of XᵀX count for no operations.
pub fn calibrate(
    model: &Model,
    calibration: &Sequences,
    blocks: Range<u32>,
    settings: CalibrationSettings,
    cancel: &AtomicBool,
    mut progress: impl FnMut(Work),
) -> Result<Vec<BlockHessians>, PruneError> {
    no_grad(|| {
        let range = blocks.start as usize..blocks.end as usize;
        let mut sums = model.blocks[range.clone()]
            .iter()
            .map(|block| {
                let (_, attention) = block
                    .attention
                    .as_ref()
                    .expect("a dense block has attention");
                let (_, mlp) = block.mlp.as_ref().expect("a dense block has an mlp");
                Ok(PerKind {
                    attention: Hessian::new(attention.o_DQ.size()[1], model.device())?,
                    mlp: Hessian::new(mlp.down_DC.size()[1], model.device())?,
                })
            })
            .collect::<Result<Vec<_>, PruneError>>()?;
        let flops = Flops::of_blocks(model, range.end);
        let all: Vec<u32> = (0..calibration.count()).collect();
        for batch in all.chunks(settings.batch_sequences.max(1) as usize) {
            if cancel.load(Ordering::Relaxed) {
                return Err(PruneError::Cancelled);
            }
            let tokens_BT = calibration.batch(batch, calibration.length(), model.device());
            add_batch(model, &tokens_BT, range.clone(), &mut sums)?;
            let (sequences, length) = (batch.len() as u64, u64::from(calibration.length()));
            progress(Work {
                tokens: sequences * length,
                flops: flops.states(sequences, length),
            });
        }
        let finish = |(block, sum): (u32, PerKind<Hessian>)| {
            let PerKind { attention, mlp } = sum;
            let hessians = PerKind {
                attention: attention.finish()?,
                mlp: mlp.finish()?,
            };
            Ok(BlockHessians { block, hessians })
        };
        blocks.zip(sums).map(finish).collect()
    })
}

fn add_batch(
    model: &Model,
    tokens_BT: &Tensor,
    range: Range<usize>,
    sums: &mut [PerKind<Hessian>],
) -> Result<(), PruneError> {
    let positions = model.positions(tokens_BT.size()[1]);
    let mut x_BTD = model.embed(tokens_BT);
    for block in &model.blocks[..range.start] {
        x_BTD = block.forward(&x_BTD, &positions);
    }
    for (block, sum) in model.blocks[range].iter().zip(sums) {
        let mut outcome = Ok(());
        x_BTD = block.forward_observed(&x_BTD, &positions, &mut |kind, inputs_BTN| {
            if outcome.is_ok() {
                outcome = sum[kind].add(inputs_BTN);
            }
        });
        outcome?;
    }
    Ok(())
}
