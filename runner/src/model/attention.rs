//! Grouped-query attention in which some query heads may be missing.

use tch::{Kind, Tensor};

use super::rope::Rotation;

/// Which key-value head each kept query head reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyValueMap {
    /// Query head h reads head h / (H / K): the stock layout.
    Grouped,
    /// Query head h reads head `self[h]`: what is left when groups lost unequal numbers of heads.
    Gathered(Vec<i64>),
}

impl KeyValueMap {
    /// The map of kept query heads, where `key_value_head[h]` is the head that kept query head h
    /// has read since before pruning.
    pub fn of(key_value_head: Vec<i64>, key_value_heads: i64) -> Self {
        let queries = key_value_head.len() as i64;
        let regular = queries > 0
            && queries % key_value_heads == 0
            && (0..queries).all(|h| key_value_head[h as usize] == h / (queries / key_value_heads));
        if regular {
            Self::Grouped
        } else {
            Self::Gathered(key_value_head)
        }
    }
}

/// Self-attention with the heads that were kept.
#[derive(Debug)]
pub struct Attention {
    /// [H·E, D].
    pub q_QD: Tensor,
    /// [K·E, D].
    pub k_KD: Tensor,
    /// [K·E, D].
    pub v_KD: Tensor,
    /// [D, H·E].
    pub o_DQ: Tensor,
    /// Which key-value head each query head reads.
    pub key_value_map: KeyValueMap,
    /// E.
    pub head_dim: i64,
}

impl Attention {
    /// Query heads kept.
    pub fn query_heads(&self) -> i64 {
        self.q_QD.size()[0] / self.head_dim
    }

    /// Key-value heads kept.
    pub fn key_value_heads(&self) -> i64 {
        self.k_KD.size()[0] / self.head_dim
    }

    /// The input of `o_proj`: [B, T, D] → [B, T, H·E], causal.
    pub fn context(&self, x_BTD: &Tensor, rotation: &Rotation) -> Tensor {
        let (batch, tokens, _) = x_BTD.size3().expect("activations are [B, T, D]");
        let heads = |weight: &Tensor| {
            x_BTD
                .linear(&weight.to_kind(x_BTD.kind()), None::<&Tensor>)
                .view([batch, tokens, -1, self.head_dim])
                .transpose(1, 2)
        };
        let q_BHTE = rotation.apply(&heads(&self.q_QD));
        let k_BKTE = rotation.apply(&heads(&self.k_KD));
        let v_BKTE = heads(&self.v_KD);
        let out_BHTE = match &self.key_value_map {
            KeyValueMap::Grouped => {
                let grouped = self.query_heads() != self.key_value_heads();
                attend(&q_BHTE, &k_BKTE, &v_BKTE, grouped)
            }
            KeyValueMap::Gathered(read) => {
                let index = Tensor::from_slice(read).to_device(x_BTD.device());
                let (k, v) = (
                    k_BKTE.index_select(1, &index),
                    v_BKTE.index_select(1, &index),
                );
                attend(&q_BHTE, &k, &v, false)
            }
        };
        out_BHTE.transpose(1, 2).reshape([batch, tokens, -1])
    }

    /// `o_proj`: [B, T, H·E] → [B, T, D].
    pub fn project(&self, context_BTQ: &Tensor) -> Tensor {
        context_BTQ.linear(&self.o_DQ.to_kind(context_BTQ.kind()), None::<&Tensor>)
    }

    pub(super) fn weights(&self) -> [(&'static str, &Tensor); 4] {
        [
            ("self_attn.q_proj.weight", &self.q_QD),
            ("self_attn.k_proj.weight", &self.k_KD),
            ("self_attn.v_proj.weight", &self.v_KD),
            ("self_attn.o_proj.weight", &self.o_DQ),
        ]
    }

    pub(super) fn map_weights(&self, change: &mut dyn FnMut(&str, &Tensor) -> Tensor) -> Self {
        Self {
            q_QD: change("self_attn.q_proj.weight", &self.q_QD),
            k_KD: change("self_attn.k_proj.weight", &self.k_KD),
            v_KD: change("self_attn.v_proj.weight", &self.v_KD),
            o_DQ: change("self_attn.o_proj.weight", &self.o_DQ),
            key_value_map: self.key_value_map.clone(),
            head_dim: self.head_dim,
        }
    }
}

fn attend(q: &Tensor, k: &Tensor, v: &Tensor, grouped: bool) -> Tensor {
    debug_assert!(matches!(
        q.kind(),
        Kind::Float | Kind::BFloat16 | Kind::Half | Kind::Double
    ));
    Tensor::scaled_dot_product_attention(q, k, v, None::<&Tensor>, 0.0, true, None, grouped)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kept_query_head_reads_the_key_value_head_of_the_original_numbering() {
        // 6 query heads in 2 groups of 3; heads 0, 4 and 5 are left
        let read = vec![0, 1, 1];
        assert_eq!(
            KeyValueMap::of(read.clone(), 2),
            KeyValueMap::Gathered(read)
        );
    }

    #[test]
    fn equal_groups_in_order_are_the_stock_layout() {
        assert_eq!(KeyValueMap::of(vec![0, 0, 1, 1], 2), KeyValueMap::Grouped);
        assert_eq!(
            KeyValueMap::of(vec![0, 0], 2),
            KeyValueMap::Gathered(vec![0, 0])
        );
    }
}
