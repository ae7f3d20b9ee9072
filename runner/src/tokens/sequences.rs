//! Token sequences of one length, in memory and as `input_ids` [sequences, length] on disk.

use std::path::Path;

use darwinlm_search::{Piece, Pool};
use tch::{Device, Kind, Tensor};

use super::TokensError;
use crate::weights::{MappedTensors, write_tensors};

/// Sequences of one length.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sequences {
    ids: Vec<i32>,
    length: u32,
}

const NAME: &str = "input_ids";

impl Sequences {
    /// Packs a stream of tokens; the last incomplete sequence is dropped.
    pub fn pack(stream: &[i32], length: u32) -> Self {
        let whole = stream.len() / length as usize * length as usize;
        Self {
            ids: stream[..whole].to_vec(),
            length,
        }
    }

    /// Some of the sequences, in the order they are named.
    pub fn select(&self, sequences: &[u32]) -> Self {
        let ids = sequences.iter().flat_map(|&s| self.sequence(s));
        Self {
            ids: ids.copied().collect(),
            length: self.length,
        }
    }

    /// The same text as shorter sequences: each is cut into as many as it holds, what is left over
    /// at its end is dropped. A longer length leaves it as it is.
    pub fn shortened(&self, length: u32) -> Self {
        if length == 0 || length >= self.length {
            return self.clone();
        }
        let whole = (0..self.count()).map(|index| self.sequence(index));
        let cut = whole.flat_map(|sequence| sequence.chunks_exact(length as usize));
        Self {
            ids: cut.flatten().copied().collect(),
            length,
        }
    }

    /// Reads `input_ids` (i64, i32 or u32) and checks every id against the vocabulary.
    pub fn open(path: &Path, vocabulary: i64) -> Result<Self, TokensError> {
        let file = MappedTensors::open(path)?;
        let ids_SL = file.integers(NAME)?;
        let shape = ids_SL.size();
        if shape.len() != 2 || shape[1] < 3 {
            return Err(TokensError::Shape {
                path: path.to_owned(),
                found: shape,
            });
        }
        let mut ids = vec![0i64; ids_SL.numel()];
        ids_SL.copy_data(&mut ids, ids_SL.numel());
        if let Some(&found) = ids.iter().find(|id| !(0..vocabulary).contains(*id)) {
            let what = path.display().to_string();
            return Err(TokensError::OutsideVocabulary {
                what,
                found,
                vocabulary,
            });
        }
        let ids = ids
            .into_iter()
            .map(|id| i32::try_from(id).expect("a vocabulary fits 32 bits"));
        let length = u32::try_from(shape[1]).expect("a sequence fits 32 bits");
        Ok(Self {
            ids: ids.collect(),
            length,
        })
    }

    /// Writes `input_ids` as i32: the same tokens give the same bytes.
    pub fn write(&self, path: &Path) -> Result<(), TokensError> {
        let shape = [i64::from(self.count()), i64::from(self.length)];
        let ids_SL = Tensor::from_slice(&self.ids).view(shape);
        Ok(write_tensors(path, &[(NAME.to_owned(), ids_SL)], None)?)
    }

    /// Number of sequences.
    pub fn count(&self) -> u32 {
        u32::try_from(self.ids.len() / self.length as usize).expect("sequences fit 32 bits")
    }

    /// Tokens per sequence.
    pub fn length(&self) -> u32 {
        self.length
    }

    /// What the search needs to know to draw minibatches.
    pub fn pool(&self) -> Pool {
        Pool {
            sequences: self.count(),
            sequence_length: self.length,
        }
    }

    /// Tokens of one sequence.
    pub fn sequence(&self, index: u32) -> &[i32] {
        let start = index as usize * self.length as usize;
        &self.ids[start..start + self.length as usize]
    }

    /// The whole sequences of some pieces: ids [S, length], 64-bit, on `device`.
    pub fn rows(&self, pieces: &[Piece], device: Device) -> Tensor {
        let sequences: Vec<u32> = pieces.iter().map(|piece| piece.sequence).collect();
        self.batch(&sequences, self.length, device)
    }

    /// The first `tokens` tokens of some sequences: ids [B, T], 64-bit, on `device`.
    ///
    /// # Panics
    ///
    /// If there is no such sequence, or a sequence is shorter.
    pub fn batch(&self, sequences: &[u32], tokens: u32, device: Device) -> Tensor {
        let rows = sequences
            .iter()
            .flat_map(|&s| &self.sequence(s)[..tokens as usize]);
        let ids: Vec<i64> = rows.map(|&id| i64::from(id)).collect();
        let shape = [sequences.len() as i64, i64::from(tokens)];
        Tensor::from_slice(&ids)
            .view(shape)
            .to_kind(Kind::Int64)
            .to_device(device)
    }
}
