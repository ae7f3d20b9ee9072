//! Two models on one workload, in turn: how long each reads a prompt and writes what follows.

use std::sync::atomic::{AtomicBool, Ordering};

use tch::{Kind, Tensor};

use super::{LatencyError, timed};
use crate::device::Watch;
use crate::model::{Cache, Model};
use crate::no_grad::no_grad;

/// Pairs that count, after one that only warms up.
pub const PAIRS: u32 = 5;

/// One model on the workload, once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pass {
    /// Nanoseconds to read the prompt and know the next token.
    pub prompt: u64,
    /// Nanoseconds of all tokens after that one; 0 where there are none.
    pub tokens: u64,
    /// Bytes of cached keys and values.
    pub cache_bytes: u64,
    /// The most that the device's allocator held beyond what it held before, where it counts.
    pub peak_bytes: Option<u64>,
}

impl Pass {
    /// Nanoseconds of both.
    pub fn total(&self) -> u64 {
        self.prompt + self.tokens
    }
}

/// Measures [`PAIRS`] pairs: prompts [B, T], then `new_tokens` tokens each, always the likeliest.
/// Who goes first alternates. `hear` is told of pairs done and in all.
///
/// # Errors
/// When stopped, or libtorch fails.
pub fn compare(
    models: [&Model; 2],
    prompts_BT: &Tensor,
    new_tokens: u32,
    cancel: &AtomicBool,
    mut hear: impl FnMut(u64, u64),
) -> Result<Vec<[Pass; 2]>, LatencyError> {
    let mut pairs = Vec::new();
    for pair in 0..=PAIRS {
        hear(u64::from(pair), u64::from(PAIRS) + 1);
        let run = |model| no_grad(|| pass(model, prompts_BT, new_tokens, cancel));
        let [first, second] = models;
        let passes = if pair % 2 == 0 {
            let first = run(first)?;
            [first, run(second)?]
        } else {
            let second = run(second)?;
            [run(first)?, second]
        };
        if pair > 0 {
            pairs.push(passes);
        }
    }
    Ok(pairs)
}

fn pass(
    model: &Model,
    prompts_BT: &Tensor,
    new_tokens: u32,
    cancel: &AtomicBool,
) -> Result<Pass, LatencyError> {
    let device = model.device();
    let (batch, length) = prompts_BT.size2()?;
    let watch = Watch::begin(device);
    let mut cache = model.cache(batch, length + i64::from(new_tokens))?;
    let (mut next_B1, prompt) = timed(device, || step(model, prompts_BT, &mut cache));
    let generate = || {
        for _ in 0..new_tokens {
            if cancel.load(Ordering::Relaxed) {
                return Err(LatencyError::Cancelled);
            }
            next_B1 = step(model, &next_B1, &mut cache);
        }
        Ok(())
    };
    let (ended, tokens) = timed(device, generate);
    ended?;
    Ok(Pass {
        prompt,
        tokens: if new_tokens == 0 { 0 } else { tokens },
        cache_bytes: cache.bytes(),
        peak_bytes: watch.and_then(Watch::peak),
    })
}

/// The likeliest next token of each sequence: ids [B, T] → [B, 1].
fn step(model: &Model, tokens_BT: &Tensor, cache: &mut Cache) -> Tensor {
    let hidden_BTD = model.hidden_states_after(tokens_BT, cache);
    let logits_BV = model.logits(&hidden_BTD.select(1, -1));
    logits_BV.argmax(-1, true).to_kind(Kind::Int64)
}
