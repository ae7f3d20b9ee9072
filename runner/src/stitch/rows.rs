//! Which rows of q, k and v, and columns of o, the kept units of an attention are.

use darwinlm_search::{AttentionUnit, ModuleKind, Shape};

use super::columns_per_unit;
use crate::prune::unit_columns;

/// Rows that stay, in the numbering of the dense module.
pub(crate) struct AttentionRows {
    /// Rows of q; columns of o.
    pub(crate) queries: Vec<i64>,
    /// Rows of k and v; `None`: all, for several query heads share each.
    pub(crate) keys: Option<Vec<i64>>,
}

impl AttentionRows {
    pub(crate) fn of(shape: &Shape, kept: &[u32]) -> Self {
        let width = columns_per_unit(shape, ModuleKind::Attention);
        let shared = shape.query_heads > shape.key_value_heads;
        let keys_are_whole = shape.attention_unit == AttentionUnit::QueryHead && shared;
        Self {
            queries: unit_columns(kept, width),
            // else a unit is a key-value head with all its query heads
            keys: (!keys_are_whole).then(|| unit_columns(kept, shape.head_dim)),
        }
    }
}
