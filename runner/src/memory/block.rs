//! The memory of transformer blocks: weights, what a backward pass needs, what a pass holds.

use darwinlm_search::{Genome, Ladders, Module, ModuleKind, Shape};

use super::{FLOAT, Sizes};

/// A tensor's memory: libtorch's CUDA allocator hands out multiples of 512 bytes.
pub(super) const fn tensor(elements: u64, bytes: u64) -> u64 {
    (elements * bytes).next_multiple_of(512)
}

/// What a block keeps of its modules, in columns; 0 where a module is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Query heads times their width.
    pub queries: u64,
    /// Key-value heads times their width.
    pub keys: u64,
    /// Intermediate columns.
    pub columns: u64,
}

impl Kept {
    /// What each block of a genome keeps.
    pub fn of(shape: &Shape, ladders: &Ladders, genome: &Genome) -> Vec<Self> {
        let units = |block, kind| {
            let level = genome.level(Module { block, kind });
            ladders[kind].units_kept(level).unwrap_or(0)
        };
        let block = |block| {
            let (queries, keys) = shape.heads_at(units(block, ModuleKind::Attention));
            let width = u64::from(shape.head_dim);
            Self {
                queries: u64::from(queries) * width,
                keys: u64::from(keys) * width,
                columns: u64::from(units(block, ModuleKind::Mlp)),
            }
        };
        (0..shape.blocks.min(genome.blocks())).map(block).collect()
    }
}

impl Sizes {
    /// Every block whole.
    pub fn dense_blocks(&self) -> Vec<Kept> {
        let width = u64::from(self.shape.head_dim);
        let block = Kept {
            queries: u64::from(self.shape.query_heads) * width,
            keys: u64::from(self.shape.key_value_heads) * width,
            columns: u64::from(self.shape.intermediate),
        };
        vec![block; self.shape.blocks as usize]
    }

    pub(crate) fn block_weights(&self, kept: &[Kept], bytes: u64) -> u64 {
        kept.iter().map(|kept| self.weights_of(kept, bytes)).sum()
    }

    fn weights_of(&self, kept: &Kept, bytes: u64) -> u64 {
        let Kept {
            queries,
            keys,
            columns,
        } = *kept;
        let hidden = u64::from(self.shape.hidden);
        let matrix = |width: u64| tensor(width * hidden, bytes);
        let vector = |width: u64| tensor(width, bytes);
        let mut sum = 0;
        if queries > 0 {
            sum += vector(hidden) + 2 * matrix(queries) + 2 * matrix(keys);
            if self.shape.query_key_value_bias {
                sum += vector(queries) + 2 * vector(keys);
            }
            if self.shape.query_key_norm {
                sum += 2 * vector(u64::from(self.shape.head_dim));
            }
        }
        if columns > 0 {
            sum += vector(hidden) + 3 * matrix(columns);
        }
        sum
    }

    /// Everything that the backward pass of a model needs: of every block its inputs, what its
    /// norms, products and activations made of them, and the weights in the type they were used in.
    pub(super) fn saved(&self, kept: &[Kept], positions: u64, sequences: u64) -> u64 {
        let blocks = kept.iter().zip(&self.windows);
        let blocks = blocks.map(|(kept, &window)| {
            let attention = self.saved_attention(kept, window, positions, sequences);
            attention + self.saved_mlp(kept, positions)
        });
        let casts = match self.halves() {
            true => self.block_weights(kept, self.element()),
            false => 0,
        };
        blocks.sum::<u64>() + casts + self.saved_norm(u64::from(self.shape.hidden), positions)
    }

    /// x in float32, its normalised values before and after the scale, and 1/rms.
    fn saved_norm(&self, width: u64, positions: u64) -> u64 {
        tensor(positions * width, FLOAT)
            + 2 * tensor(positions * width, self.element())
            + tensor(positions, FLOAT)
    }

    fn saved_attention(
        &self,
        kept: &Kept,
        window: Option<i64>,
        positions: u64,
        sequences: u64,
    ) -> u64 {
        if kept.queries == 0 {
            return 0;
        }
        let wide = |width: u64| tensor(positions * width, self.element());
        let heads = kept.queries / u64::from(self.shape.head_dim);
        let tokens = positions / sequences.max(1);
        let hides = window.is_some_and(|width| (width as u64) < tokens);
        let [dense_queries, _] = self.inputs();
        // keys and values are copied for every query head where a window hides some, or where the
        // heads of a group are not all there
        let keys = match hides || (kept.keys < kept.queries && kept.queries < dense_queries) {
            true => kept.queries,
            false => kept.keys,
        };
        let mask = if hides {
            tensor(tokens * tokens, self.element())
        } else {
            0
        };
        let head_norms = match self.shape.query_key_norm {
            true => {
                self.saved_norm(kept.queries, positions) + self.saved_norm(kept.keys, positions)
            }
            false => 0,
        };
        let sums = tensor(positions * heads, FLOAT);
        let norm = self.saved_norm(u64::from(self.shape.hidden), positions);
        norm + head_norms + 2 * wide(kept.queries) + 2 * wide(keys) + sums + mask
    }

    /// The norm's, then gate, silu(gate), up and their product.
    fn saved_mlp(&self, kept: &Kept, positions: u64) -> u64 {
        if kept.columns == 0 {
            return 0;
        }
        let norm = self.saved_norm(u64::from(self.shape.hidden), positions);
        norm + 4 * tensor(positions * kept.columns, self.element())
    }

    /// Gradients on their way through the last block, and of its widest matrix.
    pub(super) fn backward(&self, kept: &[Kept], positions: u64) -> u64 {
        let hidden = u64::from(self.shape.hidden);
        let widths = kept.iter().map(|kept| kept.columns.max(kept.queries));
        let widest = widths.max().unwrap_or(0);
        let flowing = 3 * tensor(positions * widest, self.element());
        flowing + 3 * tensor(positions * hidden, FLOAT) + 2 * tensor(widest * hidden, FLOAT)
    }

    /// A pass that keeps nothing: the widest block, and a weight while it is cast.
    pub(super) fn forward(&self, kept: &[Kept], tokens: u64) -> u64 {
        let hidden = u64::from(self.shape.hidden);
        let of = |kept: &Kept| {
            let mlp = 4 * kept.columns + 3 * hidden;
            let attention = 2 * hidden + 5 * kept.queries + 3 * kept.keys;
            mlp.max(attention) * self.element()
        };
        let norm = 2 * hidden * self.element() + 3 * hidden * FLOAT;
        let widest = kept.iter().map(of).max().unwrap_or(0).max(norm);
        let columns = kept.iter().map(|kept| kept.columns.max(kept.queries));
        let cast = match self.halves() {
            true => tensor(columns.max().unwrap_or(0) * hidden, self.element()),
            false => 0,
        };
        let positions = u64::from(self.sequence_length) * u64::from(self.shape.head_dim);
        tokens * widest + cast + 4 * FLOAT * positions
    }
}
