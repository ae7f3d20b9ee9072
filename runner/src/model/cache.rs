//! Keys and values of the tokens that a model has read, so that the next token costs a pass over
//! itself alone.

use tch::Tensor;

use super::rope::Rotation;
use super::{Model, Positions};

/// What a model remembers of sequences, up to a fixed number of tokens.
#[derive(Debug)]
pub struct Cache {
    /// One for each block, empty where the attention is removed.
    blocks: Vec<Option<KeyValues>>,
    rotation: Rotation,
    capacity: i64,
    tokens: i64,
}

/// Keys and values of one attention: [B, K, capacity, E] each, of which the first are filled.
#[derive(Debug)]
pub(super) struct KeyValues {
    k_BKSE: Tensor,
    v_BKSE: Tensor,
    tokens: i64,
}

impl KeyValues {
    pub(super) fn is_empty(&self) -> bool {
        self.tokens == 0
    }

    /// Adds keys and values [B, K, T, E] of the next tokens.
    pub(super) fn append(&mut self, k_BKTE: &Tensor, v_BKTE: &Tensor) {
        let tokens = k_BKTE.size()[2];
        for (all, new) in [(&self.k_BKSE, k_BKTE), (&self.v_BKSE, v_BKTE)] {
            all.narrow(2, self.tokens, tokens).copy_(new);
        }
        self.tokens += tokens;
    }

    /// Keys and values that the newest token sees: all, or those within a window.
    pub(super) fn last(&self, window: Option<i64>) -> (Tensor, Tensor) {
        let seen = window.map_or(self.tokens, |width| width.min(self.tokens));
        let last = |all: &Tensor| all.narrow(2, self.tokens - seen, seen);
        (last(&self.k_BKSE), last(&self.v_BKSE))
    }
}

impl Model {
    /// Room for `capacity` tokens of `batch` sequences.
    ///
    /// # Errors
    /// When there is no memory for it.
    pub fn cache(&self, batch: i64, capacity: i64) -> Result<Cache, tch::TchError> {
        let (compute, device) = (self.compute, self.device());
        let blocks = self.blocks.iter().map(|block| {
            let Some((_, attention)) = &block.attention else {
                return Ok(None);
            };
            let size = [
                batch,
                attention.key_value_heads(),
                capacity,
                attention.head_dim,
            ];
            Ok(Some(KeyValues {
                k_BKSE: Tensor::f_zeros(size, (compute, device))?,
                v_BKSE: Tensor::f_zeros(size, (compute, device))?,
                tokens: 0,
            }))
        });
        Ok(Cache {
            blocks: blocks.collect::<Result<_, tch::TchError>>()?,
            rotation: self.rope.rotation(capacity, compute, device),
            capacity,
            tokens: 0,
        })
    }

    /// The final hidden states of tokens that follow those in a cache, which then holds them, too:
    /// ids [B, T] → [B, T, D]. T is any number for an empty cache, else 1.
    ///
    /// # Panics
    /// When the cache is full, or T is another.
    pub fn hidden_states_after(&self, tokens_BT: &Tensor, cache: &mut Cache) -> Tensor {
        let new = tokens_BT.size()[1];
        assert!(cache.tokens + new <= cache.capacity, "the cache is full");
        let positions = if cache.tokens == 0 {
            self.positions(new)
        } else {
            assert_eq!(new, 1, "after a prompt, tokens come one by one");
            Positions::one(&cache.rotation, cache.tokens)
        };
        let mut x_BTD = self.embed(tokens_BT);
        for (block, seen) in self.blocks.iter().zip(&mut cache.blocks) {
            x_BTD = match seen {
                Some(seen) => block.forward_after(&x_BTD, &positions, seen),
                None => block.forward(&x_BTD, &positions),
            };
        }
        cache.tokens += new;
        self.norm.forward(&x_BTD, self.compute)
    }
}

impl Cache {
    /// Bytes of all keys and values.
    pub fn bytes(&self) -> u64 {
        let tensors = self.blocks.iter().flatten();
        let bytes = |all: &Tensor| all.numel() as u64 * all.kind().elt_size_in_bytes() as u64;
        tensors
            .map(|seen| bytes(&seen.k_BKSE) + bytes(&seen.v_BKSE))
            .sum()
    }
}
