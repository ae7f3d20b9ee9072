//! How many floating-point operations the passes of a model take, by the shapes that it really has.
//!
//! A product with a matrix of N weights takes 2N operations a token, forward; backward takes twice
//! that (Kaplan et al., arXiv 2001.08361, section 2.1; Chowdhery et al., arXiv 2204.02311, appendix
//! B): 2N for a token that is scored, 6N for one that is trained on. In attention, queries times
//! keys and probabilities times values take 4·H·E for each position that a query sees. Counted is
//! what the model needs: causal attention sees half of a sequence (appendix B counts all of it),
//! and what is computed a second time counts once. Norms, rotations, softmax, lookups and the
//! optimizer count for nothing.

use darwinlm_search::Shape;

use crate::memory::Kept;
use crate::model::{Block, Model};

/// A training pass in forward passes.
const FORWARD_AND_BACKWARD: u64 = 3;

/// What was computed: tokens, and the operations of all passes over them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Work {
    /// Tokens.
    pub tokens: u64,
    /// Floating-point operations.
    pub flops: u64,
}

/// What passes of one model take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flops {
    /// Weights of the blocks' matrices: every token is multiplied with each.
    weights: u64,
    /// Weights of the output matrix.
    output: u64,
    /// Of each attention H·E, and the positions that a query sees.
    attentions: Vec<(u64, Option<u64>)>,
}

impl Flops {
    /// Of the whole model.
    pub fn of(model: &Model) -> Self {
        Self::of_blocks(model, model.blocks.len())
    }

    /// Of the first `blocks` blocks alone.
    pub fn of_blocks(model: &Model, blocks: usize) -> Self {
        let kept = &model.blocks[..blocks];
        let matrices = kept.iter().flat_map(Block::weights);
        // biases and the scales of norms are vectors: nothing is multiplied with them as a matrix
        let matrices = matrices.filter(|(_, weight)| weight.dim() == 2);
        let attentions = kept.iter().filter_map(|block| {
            let (_, attention) = block.attention.as_ref()?;
            let width = attention.query_heads() * attention.head_dim;
            Some((size(width), attention.window.map(size)))
        });
        Self {
            weights: matrices.map(|(_, weight)| weight.numel() as u64).sum(),
            output: model.output_VD().numel() as u64,
            attentions: attentions.collect(),
        }
    }

    /// Of a model that keeps so much, every query seeing all before it.
    pub fn of_sizes(shape: &Shape, kept: &[Kept]) -> Self {
        let hidden = u64::from(shape.hidden);
        let columns = |kept: &Kept| 2 * kept.queries + 2 * kept.keys + 3 * kept.columns;
        Self {
            weights: hidden * kept.iter().map(columns).sum::<u64>(),
            output: u64::from(shape.vocabulary) * hidden,
            attentions: kept.iter().map(|kept| (kept.queries, None)).collect(),
        }
    }

    /// Final hidden states of sequences of so many tokens each.
    pub fn states(&self, sequences: u64, tokens: u64) -> u64 {
        let attentions = self.attentions.iter();
        let attention: u64 = attentions
            .map(|&(width, window)| 4 * width * seen(tokens, window))
            .sum();
        sequences * (2 * self.weights * tokens + attention)
    }

    /// Logits of so many positions.
    pub fn logits(&self, positions: u64) -> u64 {
        2 * self.output * positions
    }

    /// Training on sequences of which so many positions each predict their next token.
    pub fn training(&self, sequences: u64, predicting: u64) -> u64 {
        FORWARD_AND_BACKWARD
            * (self.states(sequences, predicting) + self.logits(sequences * predicting))
    }
}

/// Pairs of a query and a position that it sees: its own and those before it, as far as a window
/// reaches.
fn seen(tokens: u64, window: Option<u64>) -> u64 {
    let whole = window.unwrap_or(tokens).min(tokens);
    whole * (whole + 1) / 2 + (tokens - whole) * whole
}

fn size(size: i64) -> u64 {
    u64::try_from(size).expect("sizes are not negative")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_sees_itself_and_what_comes_before_it_as_far_as_its_window_reaches() {
        assert_eq!(seen(5, None), 1 + 2 + 3 + 4 + 5);
        assert_eq!(seen(5, Some(2)), 1 + 2 + 2 + 2 + 2);
        assert_eq!(seen(5, Some(9)), seen(5, None));
        assert_eq!(seen(0, None), 0);
    }

    #[test]
    fn training_takes_six_operations_a_weight_and_token_and_scoring_two() {
        let flops = Flops {
            weights: 100,
            output: 10,
            attentions: vec![],
        };
        let scored = flops.states(2, 7) + flops.logits(2 * 7);
        assert_eq!(scored, 2 * 110 * 14);
        assert_eq!(flops.training(2, 7), 6 * 110 * 14);
    }

    #[test]
    fn a_window_takes_its_part_off_attention_alone() {
        let of = |window| Flops {
            weights: 100,
            output: 10,
            attentions: vec![(8, window)],
        };
        assert_eq!(of(None).states(3, 4), 3 * (2 * 100 * 4 + 4 * 8 * 10));
        assert_eq!(of(Some(1)).states(3, 4), 3 * (2 * 100 * 4 + 4 * 8 * 4));
    }
}
