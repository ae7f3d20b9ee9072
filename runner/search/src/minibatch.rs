//! Which sequences of a token pool a selection step uses.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::randomness::Stream;

/// Tokens of the shortest sequence: a piece of it can always spare one and still predict.
pub const SHORTEST_SEQUENCE: u32 = 3;

/// Tokens cut into sequences of one length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Pool {
    /// Sequences in the pool.
    pub sequences: u32,
    /// Tokens of each sequence; at least [`SHORTEST_SEQUENCE`].
    pub sequence_length: u32,
}

/// Sequences of a pool that together have an exact number of tokens.
///
/// Every sequence is used whole but the last, which is cut so that the count is exact. Where that
/// would leave a single token, which predicts nothing, the sequence before gives up its last token
/// and the last has two. [`Minibatch::pieces`] says it sequence by sequence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Minibatch {
    /// Sequences in the order in which they are used.
    pub sequences: Vec<u32>,
    /// Tokens of all pieces together.
    pub tokens: u64,
}

/// The start of one sequence: its first `tokens` tokens, at least 2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece {
    /// The sequence, counted from 0 within its pool.
    pub sequence: u32,
    /// Tokens used from its start.
    pub tokens: u32,
}

/// A pool that cannot serve a search.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PoolError {
    /// No sequences, or too short ones.
    #[error("the {pool} pool has {sequences} sequences of {length} tokens; needed is 1 of 3")]
    Empty {
        /// Which pool.
        pool: &'static str,
        /// Its sequences.
        sequences: u32,
        /// Their length.
        length: u32,
    },
    /// Fewer tokens than a minibatch asks.
    #[error("the {pool} pool has {found} tokens; selection step {step} asks {asked}")]
    TooSmall {
        /// Which pool.
        pool: &'static str,
        /// The step that asks most.
        step: usize,
        /// Tokens of the pool.
        found: u64,
        /// Tokens the step asks.
        asked: u64,
    },
}

impl Pool {
    /// Checks that a minibatch can be drawn at all.
    pub fn validate(&self, pool: &'static str) -> Result<(), PoolError> {
        let Pool {
            sequences,
            sequence_length: length,
        } = *self;
        if sequences == 0 || length < SHORTEST_SEQUENCE {
            return Err(PoolError::Empty {
                pool,
                sequences,
                length,
            });
        }
        Ok(())
    }

    /// Tokens of the whole pool.
    pub fn tokens(&self) -> u64 {
        u64::from(self.sequences) * u64::from(self.sequence_length)
    }

    /// Draws sequences without replacement until they hold `tokens` tokens (0, or at least 2).
    ///
    /// A minibatch larger than the pool takes every sequence once, in a random order, before it
    /// takes one again. Only training may ask that: what a candidate is scored on never repeats.
    pub fn draw(&self, tokens: u64, stream: &mut Stream) -> Minibatch {
        let count = tokens.div_ceil(u64::from(self.sequence_length));
        let mut sequences = Vec::new();
        let mut left = count;
        while left > 0 {
            let epoch =
                u32::try_from(left.min(u64::from(self.sequences))).expect("a u32 bounds it");
            sequences.extend(permuted(self.sequences, epoch, stream));
            left -= u64::from(epoch);
        }
        Minibatch { sequences, tokens }
    }
}

/// The first `count` numbers of a random order of `0..of`.
fn permuted(of: u32, count: u32, stream: &mut Stream) -> impl Iterator<Item = u32> {
    // Fisher and Yates, with only the displaced places written down: a pool may have millions.
    let mut displaced: BTreeMap<u32, u32> = BTreeMap::new();
    (0..count).map(move |place| {
        let further = stream.below(u64::from(of - place));
        let other = place + u32::try_from(further).expect("below a u32");
        let here = displaced.remove(&place).unwrap_or(place);
        if other == place {
            return here;
        }
        displaced.insert(other, here).unwrap_or(other)
    })
}

impl Minibatch {
    /// What is used of each sequence of a pool with sequences of this length.
    ///
    /// The tokens of all pieces sum to [`Minibatch::tokens`], and none has fewer than 2.
    pub fn pieces(&self, sequence_length: u32) -> Vec<Piece> {
        let whole = |&sequence: &u32| Piece {
            sequence,
            tokens: sequence_length,
        };
        let mut pieces: Vec<Piece> = self.sequences.iter().map(whole).collect();
        let all = pieces.len() as u64 * u64::from(sequence_length);
        let excess = u32::try_from(all.saturating_sub(self.tokens)).unwrap_or(0);
        if let [.., last] = pieces.as_mut_slice() {
            last.tokens = last.tokens.saturating_sub(excess);
        }
        if let [.., before, last] = pieces.as_mut_slice()
            && last.tokens == 1
        {
            before.tokens -= 1;
            last.tokens += 1;
        }
        pieces
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::randomness::Purpose;

    const POOL: Pool = Pool {
        sequences: 5,
        sequence_length: 8,
    };

    fn draw(tokens: u64) -> Minibatch {
        POOL.draw(tokens, &mut Stream::new(3, 1, 0, Purpose::Training))
    }

    fn lengths(tokens: u64) -> Vec<u32> {
        draw(tokens)
            .pieces(POOL.sequence_length)
            .iter()
            .map(|piece| piece.tokens)
            .collect()
    }

    #[test]
    fn the_last_piece_is_cut_to_the_exact_count() {
        assert_eq!(lengths(0), [] as [u32; 0]);
        assert_eq!(lengths(2), [2]);
        assert_eq!(lengths(16), [8, 8]);
        assert_eq!(lengths(19), [8, 8, 3]);
    }

    #[test]
    fn no_piece_is_a_single_token() {
        assert_eq!(lengths(9), [7, 2]);
        assert_eq!(lengths(17), [8, 7, 2]);
    }

    #[test]
    fn a_draw_larger_than_the_pool_uses_every_sequence_before_one_repeats() {
        let drawn = draw(8 * 12);
        for epoch in drawn.sequences.chunks(5) {
            let mut sorted = epoch.to_vec();
            sorted.sort();
            sorted.dedup();
            assert_eq!(sorted.len(), epoch.len(), "{:?}", drawn.sequences);
        }
        assert_eq!(drawn.sequences.len(), 12);
    }

    #[test]
    fn every_order_of_a_small_pool_is_drawn_equally_often() {
        let mut stream = Stream::new(0, 0, 0, Purpose::Fitness);
        let mut counts: BTreeMap<Vec<u32>, u32> = BTreeMap::new();
        for _ in 0..6000 {
            *counts
                .entry(permuted(3, 3, &mut stream).collect())
                .or_default() += 1;
        }
        assert_eq!(counts.len(), 6);
        // Six standard deviations of a count are 173.
        assert!(
            counts.values().all(|count| count.abs_diff(1000) < 173),
            "{counts:?}"
        );
    }
}
