//! How much memory the work of a run holds at once: arithmetic on sizes alone, in bytes.
//!
//! The table "Memory" in README.md says the same in symbols; `make bench` holds it against what is
//! allocated. Every function gives the most that is held at one time.

mod advice;
mod block;

pub use advice::Need;
pub use block::Kept;

use std::ops::Range;

use darwinlm_search::{AttentionUnit, Shape};
use darwinlm_task::{Dtype, NumericsPlan, Plan};

use crate::model::ModelConfig;

/// Bytes of a float32 and of a float64 number.
const FLOAT: u64 = 4;
const DOUBLE: u64 = 8;

/// On the CPU, Hessians of a range of blocks are held at once up to this many bytes.
const HESSIAN_BYTES: u64 = 4 << 30;

/// On a device, the hundredths of what is free for Hessians that they may take: the rest is for
/// what lies between tensors.
const HESSIAN_PERCENT: u64 = 90;

/// Token ids, losses, positions and counters: what no size of the model makes large.
const SMALL: u64 = 64 << 10;

/// What the memory of a run's work follows from.
#[derive(Clone, Debug)]
pub struct Sizes {
    /// The dense model.
    pub shape: Shape,
    /// For each block the positions that a query sees; `None`: all before it.
    pub windows: Vec<Option<i64>>,
    /// Types and batches.
    pub numerics: NumericsPlan,
    /// Tokens of a sequence.
    pub sequence_length: u32,
    /// Sequences of an optimizer step.
    pub batch_sequences: u32,
}

impl Sizes {
    /// The sizes of a run whose optimizer takes as many sequences as a pass at most.
    pub fn of(config: &ModelConfig, plan: &Plan) -> Self {
        Self {
            // what a unit is changes no size of the dense model
            shape: config.shape(AttentionUnit::QueryHead),
            windows: config.windows.clone(),
            numerics: plan.numerics,
            sequence_length: plan.calibration.sequence_length,
            batch_sequences: plan.numerics.micro_batch_sequences,
        }
    }

    /// The dense model's weights.
    pub fn dense(&self) -> u64 {
        self.weights(&self.dense_blocks(), self.element())
    }

    /// A search worker at a trial: the dense model, the output matrix of both teachers, and the
    /// candidate while it is assembled, trained or scored.
    pub fn trial(&self, kept: &[Kept]) -> u64 {
        let own = self.weights(kept, FLOAT);
        let copying = self.stitched(kept) + own + self.widest(FLOAT);
        let scoring = self.scoring(kept) + (2 * own).max(self.stitched(kept));
        let candidate = copying.max(self.training(kept, false)).max(scoring);
        self.dense() + 2 * self.teacher() + candidate + SMALL
    }

    /// Measuring one model against its teacher.
    pub fn evaluation(&self, kept: &[Kept]) -> u64 {
        self.dense() + self.teacher() + self.stitched(kept) + self.scoring(kept) + SMALL
    }

    /// Training the survivor; the dense model stays where it teaches.
    pub fn post_training(&self, kept: &[Kept], teaches: bool) -> u64 {
        let dense = if teaches { self.dense() } else { 0 };
        let copying = self.stitched(kept) + 3 * self.weights(kept, FLOAT) + self.widest(FLOAT);
        dense + copying.max(self.training(kept, teaches)) + SMALL
    }

    /// The dense model at the teacher's states.
    pub fn teacher_pass(&self) -> u64 {
        let tokens = self.batch_tokens(self.numerics.micro_batch_sequences);
        self.dense() + self.forward(&self.dense_blocks(), tokens) + SMALL
    }

    /// Building the levels of `blocks` blocks whose Hessians are held together.
    pub fn building(&self, blocks: u64) -> u64 {
        self.dense() + blocks * self.hessians() + self.calibrating().max(self.module()) + SMALL
    }

    /// Contiguous ranges of blocks that are built together: at least one a worker, and more if their
    /// Hessians do not fit. `capacity` is what a device holds; `None` on the CPU.
    pub fn block_ranges(&self, capacity: Option<u64>, workers: u32) -> Vec<Range<u32>> {
        let room = match capacity {
            None => HESSIAN_BYTES,
            Some(bytes) => bytes.saturating_sub(self.building(0)) / 100 * HESSIAN_PERCENT,
        };
        let fitting = (room / self.hessians()).max(1);
        let fitting = u32::try_from(fitting).unwrap_or(u32::MAX);
        let all = self.shape.blocks;
        let blocks = fitting.min(all.div_ceil(workers.max(1)));
        let starts = (0..all).step_by(blocks as usize);
        starts
            .map(|start| start..start.saturating_add(blocks).min(all))
            .collect()
    }

    /// The Hessians of one block.
    pub fn hessians(&self) -> u64 {
        let [queries, columns] = self.inputs();
        block::tensor(queries * queries, FLOAT) + block::tensor(columns * columns, FLOAT)
    }

    /// Pruning one module, of the kind that takes more: the Hessian, its inverse and WᵀW in
    /// float64, and as much again and more while they are updated.
    fn module(&self) -> u64 {
        let rows = u64::from(self.shape.hidden);
        let of = |columns: u64| {
            let weights = DOUBLE * rows * columns;
            let searching = 8 * DOUBLE * columns * columns + weights;
            // the levels pile up while the last ones are solved for
            let solving = 4 * DOUBLE * columns * columns + 3 * weights;
            let levels = 6 * self.element() * rows * columns;
            searching.max(solving + levels)
        };
        let [queries, columns] = self.inputs();
        // a head's columns are removed together: one matrix more is held
        (of(queries) + DOUBLE * queries * queries).max(of(columns))
    }

    /// A batch of calibration through one block, and a Hessian while it is scaled.
    fn calibrating(&self) -> u64 {
        let tokens = self.batch_tokens(self.numerics.hessian_batch_sequences);
        let [queries, columns] = self.inputs();
        let widest = queries.max(columns);
        let forward = self.forward(&self.dense_blocks(), tokens);
        let inputs = if self.halves() {
            FLOAT * tokens * widest
        } else {
            0
        };
        (forward + inputs).max(FLOAT * widest * widest)
    }

    /// Training of a candidate on float32 weights: weights, gradients and two moments, what the
    /// backward pass needs, and the output matrix' gradient with a chunk of logits.
    fn training(&self, kept: &[Kept], is_taught: bool) -> u64 {
        let sequences = self
            .numerics
            .micro_batch_sequences
            .min(self.batch_sequences);
        let positions = u64::from(sequences) * u64::from(self.sequence_length.saturating_sub(1));
        let states = 4 * self.weights(kept, FLOAT);
        let head = self.training_head(positions, is_taught);
        let backward = self.backward(kept, positions);
        let saved = self.saved(kept, positions, u64::from(sequences));
        let computing = saved + self.widest(FLOAT) + head.max(backward);
        // the optimizer's terms of the widest matrix
        states + computing.max(3 * self.widest(FLOAT))
    }

    fn training_head(&self, positions: u64, is_taught: bool) -> u64 {
        let chunk = positions.min(u64::from(self.numerics.logit_chunk_tokens));
        let logits = chunk * u64::from(self.shape.vocabulary);
        let hidden = positions * u64::from(self.shape.hidden) * self.element();
        // logarithms beside logits; taught: beside the teacher's, the difference and its product
        let wide = match is_taught {
            true => 6 * FLOAT,
            false => FLOAT + self.element(),
        };
        let cast = match self.halves() {
            true => 2 * self.widest(self.element()) + self.widest(FLOAT),
            false => 0,
        };
        wide * logits + cast + (2 + u64::from(is_taught)) * hidden
    }

    /// Scoring of a model: one forward pass, then a chunk of logits: log-probabilities of the model
    /// and of its teacher, their difference and a factor.
    fn scoring(&self, kept: &[Kept]) -> u64 {
        let tokens = self.batch_tokens(self.numerics.micro_batch_sequences);
        let hidden = u64::from(self.shape.hidden);
        let chunk = tokens.min(u64::from(self.numerics.logit_chunk_tokens));
        let logits = 4 * FLOAT * chunk * u64::from(self.shape.vocabulary);
        let cast = if self.halves() {
            self.widest(self.element())
        } else {
            0
        };
        let states = tokens * hidden * (self.element() + FLOAT);
        let head = logits + cast + states + tokens * hidden * self.element();
        self.forward(kept, tokens).max(head)
    }

    /// The teacher's own copy of the output matrix.
    fn teacher(&self) -> u64 {
        self.widest(self.element())
    }

    /// A candidate as it is cut out of the dense model, whose embeddings it shares.
    fn stitched(&self, kept: &[Kept]) -> u64 {
        self.block_weights(kept, self.element())
    }

    fn weights(&self, kept: &[Kept], bytes: u64) -> u64 {
        let matrices = if self.shape.tied_embeddings { 1 } else { 2 };
        let norm = block::tensor(u64::from(self.shape.hidden), bytes);
        matrices * self.widest(bytes) + self.block_weights(kept, bytes) + norm
    }

    /// The output matrix, or the embeddings.
    fn widest(&self, bytes: u64) -> u64 {
        block::tensor(
            u64::from(self.shape.vocabulary) * u64::from(self.shape.hidden),
            bytes,
        )
    }

    /// Inputs of `o_proj` and of `down_proj`.
    fn inputs(&self) -> [u64; 2] {
        let queries = u64::from(self.shape.query_heads) * u64::from(self.shape.head_dim);
        [queries, u64::from(self.shape.intermediate)]
    }

    fn batch_tokens(&self, sequences: u32) -> u64 {
        u64::from(sequences) * u64::from(self.sequence_length)
    }

    /// Bytes of a number in forward and backward passes.
    pub fn element(&self) -> u64 {
        match self.numerics.dtype {
            Dtype::Float32 => 4,
            Dtype::BFloat16 => 2,
        }
    }

    /// Whether float32 weights are cast before they are used.
    fn halves(&self) -> bool {
        self.element() < FLOAT
    }
}
