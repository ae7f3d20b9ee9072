//! Grouped-query attention in which some query heads may be missing.

use tch::{Device, Kind, Tensor};

use super::cache::KeyValues;
use super::{Positions, RmsNorm};

/// Which key-value head each kept query head reads.
#[derive(Clone, Debug, PartialEq)]
pub enum KeyValueMap {
    /// Query head h reads head h / (H / K): the stock layout.
    Grouped,
    /// Query head h reads head `self[h]`: what is left when groups lost unequal numbers of heads.
    Gathered(Gathered),
}

/// The key-value heads that query heads read, here and where they are read.
#[derive(Debug)]
pub struct Gathered {
    heads: Vec<i64>,
    index_H: Tensor,
}

impl Gathered {
    fn new(heads: Vec<i64>, device: Device) -> Self {
        let index_H = Tensor::from_slice(&heads).to_device(device);
        Self { heads, index_H }
    }
}

impl Clone for Gathered {
    fn clone(&self) -> Self {
        Self {
            heads: self.heads.clone(),
            index_H: self.index_H.shallow_clone(),
        }
    }
}

impl PartialEq for Gathered {
    fn eq(&self, other: &Self) -> bool {
        self.heads == other.heads
    }
}

impl std::ops::Deref for Gathered {
    type Target = [i64];

    fn deref(&self) -> &[i64] {
        &self.heads
    }
}

impl KeyValueMap {
    /// The map of kept query heads, where `key_value_head[h]` is the head that kept query head h
    /// has read since before pruning; `device` is where the attention computes.
    pub fn of(key_value_head: Vec<i64>, key_value_heads: i64, device: Device) -> Self {
        let queries = key_value_head.len() as i64;
        let regular = queries > 0
            && queries % key_value_heads == 0
            && (0..queries).all(|h| key_value_head[h as usize] == h / (queries / key_value_heads));
        if regular {
            Self::Grouped
        } else {
            Self::Gathered(Gathered::new(key_value_head, device))
        }
    }
}

/// What is added to queries, keys and values (Qwen2).
#[derive(Debug)]
pub struct HeadBiases {
    /// [H·E].
    pub q_Q: Tensor,
    /// [K·E].
    pub k_K: Tensor,
    /// [K·E].
    pub v_K: Tensor,
}

/// How every query and every key is normalised before it is rotated (Qwen3).
#[derive(Debug)]
pub struct HeadNorms {
    /// Of queries; the scale is [E].
    pub query: RmsNorm,
    /// Of keys; the scale is [E].
    pub key: RmsNorm,
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
    /// Biases of q, k and v, where the family has them.
    pub biases: Option<HeadBiases>,
    /// Norms of queries and keys, where the family has them.
    pub norms: Option<HeadNorms>,
    /// Which key-value head each query head reads.
    pub key_value_map: KeyValueMap,
    /// E.
    pub head_dim: i64,
    /// Positions that a query sees, its own included; `None`: all before it.
    pub window: Option<i64>,
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
    pub fn context(&self, x_BTD: &Tensor, positions: &Positions) -> Tensor {
        let heads = self.heads(x_BTD, positions);
        self.read(&heads, positions.mask(self.window), true)
    }

    /// The same for tokens that follow those in `seen`, which then holds them, too: a prompt into an
    /// empty cache, or one token after it.
    pub(super) fn context_after(
        &self,
        x_BTD: &Tensor,
        positions: &Positions,
        seen: &mut KeyValues,
    ) -> Tensor {
        let heads = self.heads(x_BTD, positions);
        let is_prompt = seen.is_empty();
        seen.append(&heads.k_BKTE, &heads.v_BKTE);
        if is_prompt {
            return self.read(&heads, positions.mask(self.window), true);
        }
        let (k_BKTE, v_BKTE) = seen.last(self.window);
        let heads = Heads {
            k_BKTE,
            v_BKTE,
            ..heads
        };
        self.read(&heads, None, false)
    }

    /// Queries, keys and values, normalised and rotated.
    fn heads(&self, x_BTD: &Tensor, positions: &Positions) -> Heads {
        let (batch, tokens, _) = x_BTD.size3().expect("activations are [B, T, D]");
        let compute = x_BTD.kind();
        let heads = |weight: &Tensor, bias: Option<&Tensor>, norm: Option<&RmsNorm>| {
            let bias = bias.map(|bias| bias.to_kind(compute));
            let x_BTHE = x_BTD.linear(&weight.to_kind(compute), bias.as_ref()).view([
                batch,
                tokens,
                -1,
                self.head_dim,
            ]);
            let normal_BTHE = norm.map(|norm| norm.forward(&x_BTHE, compute));
            normal_BTHE.unwrap_or(x_BTHE).transpose(1, 2)
        };
        let (biases, norms) = (self.biases.as_ref(), self.norms.as_ref());
        let q_BHTE = heads(&self.q_QD, biases.map(|b| &b.q_Q), norms.map(|n| &n.query));
        let k_BKTE = heads(&self.k_KD, biases.map(|b| &b.k_K), norms.map(|n| &n.key));
        let v_BKTE = heads(&self.v_KD, biases.map(|b| &b.v_K), None);
        Heads {
            q_BHTE: positions.rotation.apply(&q_BHTE),
            k_BKTE: positions.rotation.apply(&k_BKTE),
            v_BKTE,
        }
    }

    /// What the queries read: [B, T, H·E]. Without a mask a query sees what comes before it where
    /// `causal`, else everything.
    fn read(&self, heads: &Heads, mask_TT: Option<&Tensor>, causal: bool) -> Tensor {
        let Heads {
            q_BHTE,
            k_BKTE,
            v_BKTE,
        } = heads;
        let (batch, _, tokens, _) = q_BHTE.size4().expect("queries are [B, H, T, E]");
        let out_BHTE = match (&self.key_value_map, mask_TT) {
            (KeyValueMap::Grouped, None) => {
                let grouped = self.query_heads() != self.key_value_heads();
                attend(q_BHTE, k_BKTE, v_BKTE, None, causal, grouped)
            }
            // libtorch's fast kernels take groups or a mask, not both
            (KeyValueMap::Grouped, Some(mask_TT)) => {
                let times = self.query_heads() / self.key_value_heads();
                let each = |x: &Tensor| x.repeat_interleave_self_int(times, 1, None);
                let (k, v) = (each(k_BKTE), each(v_BKTE));
                attend(q_BHTE, &k, &v, Some(mask_TT), false, false)
            }
            (KeyValueMap::Gathered(read), mask_TT) => {
                let (k, v) = (
                    k_BKTE.index_select(1, &read.index_H),
                    v_BKTE.index_select(1, &read.index_H),
                );
                let causal = causal && mask_TT.is_none();
                attend(q_BHTE, &k, &v, mask_TT, causal, false)
            }
        };
        out_BHTE.transpose(1, 2).reshape([batch, tokens, -1])
    }

    /// `o_proj`: [B, T, H·E] → [B, T, D].
    pub fn project(&self, context_BTQ: &Tensor) -> Tensor {
        context_BTQ.linear(&self.o_DQ.to_kind(context_BTQ.kind()), None::<&Tensor>)
    }

    /// The same attention, sharing its weights.
    pub(crate) fn view(&self) -> Self {
        self.map_weights(&mut |_, weight| weight.shallow_clone())
    }

    pub(super) fn weights(&self) -> impl Iterator<Item = (&'static str, &Tensor)> {
        let matrices = [
            ("self_attn.q_proj.weight", &self.q_QD),
            ("self_attn.k_proj.weight", &self.k_KD),
            ("self_attn.v_proj.weight", &self.v_KD),
            ("self_attn.o_proj.weight", &self.o_DQ),
        ];
        let biases = self.biases.iter().flat_map(|biases| {
            [
                ("self_attn.q_proj.bias", &biases.q_Q),
                ("self_attn.k_proj.bias", &biases.k_K),
                ("self_attn.v_proj.bias", &biases.v_K),
            ]
        });
        let norms = self.norms.iter().flat_map(|norms| {
            [
                ("self_attn.q_norm.weight", &norms.query.weight_D),
                ("self_attn.k_norm.weight", &norms.key.weight_D),
            ]
        });
        matrices.into_iter().chain(biases).chain(norms)
    }

    /// The same attention with every weight replaced by `change(name, weight)`.
    pub(crate) fn map_weights(&self, change: &mut dyn FnMut(&str, &Tensor) -> Tensor) -> Self {
        Self {
            q_QD: change("self_attn.q_proj.weight", &self.q_QD),
            k_KD: change("self_attn.k_proj.weight", &self.k_KD),
            v_KD: change("self_attn.v_proj.weight", &self.v_KD),
            o_DQ: change("self_attn.o_proj.weight", &self.o_DQ),
            biases: self.biases.as_ref().map(|biases| HeadBiases {
                q_Q: change("self_attn.q_proj.bias", &biases.q_Q),
                k_K: change("self_attn.k_proj.bias", &biases.k_K),
                v_K: change("self_attn.v_proj.bias", &biases.v_K),
            }),
            norms: self.norms.as_ref().map(|norms| HeadNorms {
                query: norms.query.map(|w| change("self_attn.q_norm.weight", w)),
                key: norms.key.map(|w| change("self_attn.k_norm.weight", w)),
            }),
            key_value_map: self.key_value_map.clone(),
            head_dim: self.head_dim,
            window: self.window,
        }
    }
}

impl HeadNorms {
    /// The same norms, sharing their weights.
    pub(crate) fn view(&self) -> Self {
        Self {
            query: self.query.view(),
            key: self.key.view(),
        }
    }
}

/// Queries, keys and values of some tokens.
struct Heads {
    q_BHTE: Tensor,
    k_BKTE: Tensor,
    v_BKTE: Tensor,
}

/// Attention, causal or not; a mask must itself hide what comes after a query.
fn attend(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    mask_TT: Option<&Tensor>,
    causal: bool,
    grouped: bool,
) -> Tensor {
    debug_assert!(matches!(
        q.kind(),
        Kind::Float | Kind::BFloat16 | Kind::Half | Kind::Double
    ));
    Tensor::scaled_dot_product_attention(q, k, v, mask_TT, 0.0, causal, None, grouped)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kept_query_head_reads_the_key_value_head_of_the_original_numbering() {
        // 6 query heads in 2 groups of 3; heads 0, 4 and 5 are left
        let read = vec![0, 1, 1];
        let KeyValueMap::Gathered(map) = KeyValueMap::of(read.clone(), 2, Device::Cpu) else {
            panic!("the groups are unequal");
        };
        assert_eq!(*map, read);
    }

    #[test]
    fn equal_groups_in_order_are_the_stock_layout() {
        let of = |heads| KeyValueMap::of(heads, 2, Device::Cpu);
        assert_eq!(of(vec![0, 0, 1, 1]), KeyValueMap::Grouped);
        assert!(matches!(of(vec![0, 0]), KeyValueMap::Gathered(_)));
    }
}
