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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::genome::Genome;
    use crate::ladder::{Ladder, Ladders};
    use crate::level::Level;
    use crate::{Costs, Module};

    fn shape(sizes: [u32; 7]) -> Shape {
        let [
            blocks,
            hidden,
            vocabulary,
            intermediate,
            query_heads,
            key_value_heads,
            head_dim,
        ] = sizes;
        Shape {
            blocks,
            hidden,
            vocabulary,
            intermediate,
            query_heads,
            key_value_heads,
            head_dim,
            tied_embeddings: false,
            query_key_value_bias: false,
            query_key_norm: false,
            attention_unit: AttentionUnit::QueryHead,
        }
    }

    fn at_levels(shape: &Shape, heads: Ladder, mlp: Ladder) -> [u64; 5] {
        let ladders = Ladders {
            attention: heads,
            mlp,
        };
        let costs = Costs::parameters(shape, &ladders).unwrap();
        [0, 3, 5, 6, 10].map(|level| {
            costs.of_genome(&Genome::uniform(shape.blocks, Level::new(level).unwrap()))
        })
    }

    fn uneven_heads() -> Ladder {
        Ladder::new(vec![32, 28, 25, 21, 18, 14, 10, 6, 4, 1, 0]).unwrap()
    }

    #[test]
    fn llama_2_has_the_known_parameters_at_uniform_levels() {
        let shape = shape([32, 4096, 32_000, 11_008, 32, 32, 128]);
        let mlp = Ladder::new(vec![
            11_008, 9920, 8928, 8032, 6496, 5280, 4256, 3104, 1824, 864, 0,
        ]);
        assert_eq!(
            at_levels(&shape, uneven_heads(), mlp.unwrap()),
            [
                6_738_415_616,
                4_830_007_296,
                3_278_114_816,
                2_607_026_176,
                262_410_240
            ]
        );
    }

    #[test]
    fn llama_3_1_has_the_known_parameters_at_uniform_levels() {
        let shape = shape([32, 4096, 128_256, 14_336, 32, 8, 128]);
        let mlp = Ladder::spaced(14_336, 10, 32).unwrap();
        assert_eq!(
            at_levels(&shape, uneven_heads(), mlp),
            [
                8_030_261_248,
                5_975_052_288,
                4_607_709_184,
                3_907_260_416,
                1_050_939_392
            ]
        );
    }

    #[test]
    fn qwen_2_5_has_the_known_parameters_at_uniform_levels() {
        let mut shape = shape([48, 5120, 152_064, 13_824, 40, 8, 128]);
        shape.query_key_value_bias = true;
        let heads = Ladder::spaced(40, 10, 1).unwrap();
        let mlp = Ladder::spaced(13_824, 10, 32).unwrap();
        assert_eq!(
            at_levels(&shape, heads, mlp),
            [
                14_770_033_664,
                10_947_900_416,
                8_415_540_224,
                7_149_360_128,
                1_557_632_000
            ]
        );
    }

    #[test]
    fn smollm2_has_the_parameters_of_its_checkpoint() {
        let mut shape = shape([30, 576, 49_152, 1536, 9, 3, 64]);
        shape.tied_embeddings = true;
        let dense = shape.fixed_parameters()
            + Module::all(30)
                .map(|module| shape.parameters_at(module.kind, shape.units(module.kind)))
                .sum::<u64>();
        assert_eq!(dense, 134_515_008);
    }

    #[test]
    fn grouped_keys_and_values_stay_until_the_last_query_head_goes() {
        let mut shape = shape([1, 64, 100, 128, 8, 2, 8]);
        assert_eq!(shape.heads_at(1), (1, 2));
        assert_eq!(shape.heads_at(0), (0, 0));
        shape.attention_unit = AttentionUnit::KeyValueGroup;
        assert_eq!(shape.units(ModuleKind::Attention), 2);
        assert_eq!(shape.heads_at(1), (4, 1));
        shape.key_value_heads = 8;
        shape.attention_unit = AttentionUnit::QueryHead;
        assert_eq!(shape.heads_at(3), (3, 3));
    }

    #[test]
    fn head_norms_go_with_their_module_only() {
        let plain = shape([1, 64, 100, 128, 8, 2, 8]);
        let normed = Shape {
            query_key_norm: true,
            ..plain.clone()
        };
        let added = |units| {
            normed.parameters_at(ModuleKind::Attention, units)
                - plain.parameters_at(ModuleKind::Attention, units)
        };
        assert_eq!([added(8), added(1), added(0)], [16, 16, 0]);
    }

    #[test]
    fn sizes_that_make_no_model_name_the_field() {
        let uneven = shape([1, 64, 100, 128, 8, 3, 8]).validate().unwrap_err();
        assert!(uneven.to_string().contains("keyValueHeads (3)"), "{uneven}");
        let none = shape([1, 0, 100, 128, 8, 2, 8]).validate().unwrap_err();
        assert_eq!(none, ShapeError::Zero { field: "hidden" });
    }
}
