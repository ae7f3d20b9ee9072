//! Parameter counts of a model and of its modules.

use serde::{Deserialize, Serialize};

use crate::module::ModuleKind;

/// The smallest removable piece of an attention module.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum AttentionUnit {
    /// One query head, as in the paper. Where several query heads share a key-value head, keys and
    /// values stay whole until the module is removed.
    QueryHead,
    /// One key-value head with all query heads that read it; grouped shapes stay real.
    KeyValueGroup,
}

/// The sizes of a dense model that decide how many parameters a genome has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Shape {
    /// Transformer blocks.
    pub blocks: u32,
    /// Width of the residual stream.
    pub hidden: u32,
    /// Rows of the embedding, padding included.
    pub vocabulary: u32,
    /// Intermediate columns of an mlp.
    pub intermediate: u32,
    /// Query heads of an attention.
    pub query_heads: u32,
    /// Key-value heads of an attention; divides the query heads.
    pub key_value_heads: u32,
    /// Width of a head; not always `hidden / query_heads`.
    pub head_dim: u32,
    /// Whether the head's matrix is the embedding.
    pub tied_embeddings: bool,
    /// Whether q, k and v have biases (Qwen2).
    pub query_key_value_bias: bool,
    /// Whether queries and keys are normalised per head (Qwen3).
    pub query_key_norm: bool,
    /// What a unit of attention is.
    pub attention_unit: AttentionUnit,
}

/// Sizes that make no model.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ShapeError {
    /// A size is zero.
    #[error("{field} is 0; it must be at least 1")]
    Zero {
        /// The field that is zero.
        field: &'static str,
    },
    /// Query heads cannot be shared out evenly.
    #[error("queryHeads is {query_heads}, which keyValueHeads ({key_value_heads}) does not divide")]
    UnevenHeads {
        /// Query heads given.
        query_heads: u32,
        /// Key-value heads given.
        key_value_heads: u32,
    },
    /// More parameters than any machine holds; sums would overflow.
    #[error("{field} is {found}; at most {most} is possible")]
    TooLarge {
        /// The field that is too large.
        field: &'static str,
        /// The size given.
        found: u32,
        /// The largest size accepted.
        most: u32,
    },
}

// With these bounds the largest model has fewer than 2^63 parameters.
const MOST: u32 = 1 << 22;
const MOST_BLOCKS: u32 = 1 << 12;

impl Shape {
    /// Checks that the sizes make a model.
    pub fn validate(&self) -> Result<(), ShapeError> {
        let bounded = [
            ("blocks", self.blocks, MOST_BLOCKS),
            ("hidden", self.hidden, MOST),
            ("vocabulary", self.vocabulary, MOST),
            ("intermediate", self.intermediate, MOST),
            ("queryHeads", self.query_heads, MOST_BLOCKS),
            ("keyValueHeads", self.key_value_heads, MOST_BLOCKS),
            ("headDim", self.head_dim, MOST_BLOCKS),
        ];
        for (field, found, most) in bounded {
            if found == 0 {
                return Err(ShapeError::Zero { field });
            }
            if found > most {
                return Err(ShapeError::TooLarge { field, found, most });
            }
        }
        if !self.query_heads.is_multiple_of(self.key_value_heads) {
            let Shape {
                query_heads,
                key_value_heads,
                ..
            } = *self;
            return Err(ShapeError::UnevenHeads {
                query_heads,
                key_value_heads,
            });
        }
        Ok(())
    }

    /// Units of the dense module of a kind.
    pub fn units(&self, kind: ModuleKind) -> u32 {
        match (kind, self.attention_unit) {
            (ModuleKind::Mlp, _) => self.intermediate,
            (ModuleKind::Attention, AttentionUnit::QueryHead) => self.query_heads,
            (ModuleKind::Attention, AttentionUnit::KeyValueGroup) => self.key_value_heads,
        }
    }

    /// Query heads and key-value heads of an attention that keeps so many units.
    pub fn heads_at(&self, units_kept: u32) -> (u32, u32) {
        match self.attention_unit {
            AttentionUnit::KeyValueGroup => (
                units_kept * (self.query_heads / self.key_value_heads),
                units_kept,
            ),
            AttentionUnit::QueryHead if self.query_heads == self.key_value_heads => {
                (units_kept, units_kept)
            }
            AttentionUnit::QueryHead if units_kept == 0 => (0, 0),
            AttentionUnit::QueryHead => (units_kept, self.key_value_heads),
        }
    }

    /// Parameters of one module that keeps so many units; 0 for a removed module.
    ///
    /// The norm before a module is no part of it: it is counted in
    /// [`fixed_parameters`](Shape::fixed_parameters) and stays counted when the module is removed.
    /// Only so do the counts agree with the ones known for the published models.
    pub fn parameters_at(&self, kind: ModuleKind, units_kept: u32) -> u64 {
        let hidden = u64::from(self.hidden);
        match kind {
            ModuleKind::Mlp => 3 * hidden * u64::from(units_kept),
            ModuleKind::Attention if units_kept == 0 => 0,
            ModuleKind::Attention => {
                let head_dim = u64::from(self.head_dim);
                let (query_heads, key_value_heads) = self.heads_at(units_kept);
                let query_width = u64::from(query_heads) * head_dim;
                let key_value_width = u64::from(key_value_heads) * head_dim;
                let weights = 2 * hidden * (query_width + key_value_width);
                let biases = query_width + 2 * key_value_width;
                weights
                    + if self.query_key_value_bias { biases } else { 0 }
                    + if self.query_key_norm { 2 * head_dim } else { 0 }
            }
        }
    }

    /// Parameters that no genome changes: embeddings, head and norms.
    pub fn fixed_parameters(&self) -> u64 {
        let hidden = u64::from(self.hidden);
        let matrices = if self.tied_embeddings { 1 } else { 2 };
        let norms = 2 * u64::from(self.blocks) + 1;
        hidden * (matrices * u64::from(self.vocabulary) + norms)
    }
}
