//! The dense model's final hidden states over a pool of sequences, and its frozen output matrix.
//!
//! States, not logits: the product with the output matrix is exact to repeat and the vocabulary is
//! many times wider than the hidden size.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use darwinlm_search::Piece;
use tch::{Kind, Tensor};

use super::FitnessError;
use crate::flops::{Flops, Work};
use crate::model::{DenseModel, Model};
use crate::no_grad::no_grad;
use crate::tokens::Sequences;
use crate::weights::{MappedTensors, StreamWriter};

const NAME: &str = "hidden_states";

/// Writes `hidden_states` [sequences, length, D] of the dense model over `pool`, in the type the
/// model computes in (so reading them back loses nothing). `progress` hears of every batch.
pub fn write_teacher(
    dense: &Model,
    pool: &Sequences,
    micro_batch_sequences: u32,
    path: &Path,
    cancel: &AtomicBool,
    mut progress: impl FnMut(Work),
) -> Result<(), FitnessError> {
    let hidden = dense.embeddings_VD.size()[1];
    let shape = [i64::from(pool.count()), i64::from(pool.length()), hidden];
    let mut file = StreamWriter::create(path, NAME, &shape, dense.compute)?;
    let flops = Flops::of(dense);
    let all: Vec<u32> = (0..pool.count()).collect();
    for batch in all.chunks(micro_batch_sequences.max(1) as usize) {
        if cancel.load(Ordering::Relaxed) {
            return Err(FitnessError::Cancelled);
        }
        let tokens_BT = pool.batch(batch, pool.length(), dense.device());
        let states_BTD = no_grad(|| dense.hidden_states(&tokens_BT));
        file.append(&states_BTD)?;
        let (sequences, length) = (batch.len() as u64, u64::from(pool.length()));
        progress(Work {
            tokens: sequences * length,
            flops: flops.states(sequences, length),
        });
    }
    Ok(file.finish()?)
}

/// The dense model as far as scoring needs it.
#[derive(Debug)]
pub struct Teacher {
    states: MappedTensors,
    output_VD: Tensor,
    compute: Kind,
}

impl Teacher {
    /// Opens the states of `pool` and keeps a frozen copy of the dense output matrix.
    pub fn open(path: &Path, pool: &Sequences, dense: &DenseModel) -> Result<Self, FitnessError> {
        let states = MappedTensors::open(path)?;
        let found = states.shape(NAME)?;
        let expected = vec![
            i64::from(pool.count()),
            i64::from(pool.length()),
            dense.config.hidden_size,
        ];
        if found != expected {
            return Err(FitnessError::TeacherShape { found, expected });
        }
        let compute = dense.model.compute;
        let output_VD = dense.frozen_output().to_kind(compute);
        Ok(Self {
            states,
            output_VD,
            compute,
        })
    }

    /// States of every position that predicts something: pieces of T tokens → [B·(T-1), D].
    pub(super) fn states(&self, pieces: &[Piece]) -> Result<Tensor, FitnessError> {
        let rows = pieces
            .iter()
            .map(|piece| {
                let whole_1TD = self.states.float_rows(NAME, i64::from(piece.sequence), 1)?;
                Ok(whole_1TD
                    .get(0)
                    .f_narrow(0, 0, i64::from(piece.tokens) - 1)?)
            })
            .collect::<Result<Vec<_>, FitnessError>>()?;
        let states_ND = Tensor::f_cat(&rows, 0)?;
        Ok(states_ND
            .f_to_device(self.output_VD.device())?
            .f_to_kind(self.compute)?)
    }

    /// Operations that its logits of so many positions take.
    pub(super) fn flops(&self, positions: u64) -> u64 {
        2 * self.output_VD.numel() as u64 * positions
    }

    /// The dense model's logits of some positions: [N, D] → [N, V].
    pub(super) fn logits(&self, states_ND: &Tensor) -> Result<Tensor, FitnessError> {
        Ok(states_ND.f_linear(&self.output_VD, None::<&Tensor>)?)
    }
}
