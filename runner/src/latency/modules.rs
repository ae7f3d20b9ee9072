//! Times of one attention and one mlp at many sizes, and of what surrounds them in a model.

use std::sync::atomic::{AtomicBool, Ordering};

use darwinlm_search::{LatencyTable, ModuleKind, PerKind, Shape};
use tch::{Kind, Tensor};

use super::{LatencyError, median, timed};
use crate::model::{Block, DenseModel, Model, Positions};
use crate::no_grad::no_grad;
use crate::stitch::cut_block;

/// Rounds over all sizes, after one that only warms up.
pub const ROUNDS: u32 = 7;

/// Passes in a row that are timed together: a device that is told one pass while it computes the
/// last hides what telling costs, as it does in a model.
const PASSES: u64 = 2;

/// Sizes of a kind that are timed at most, the removed one aside: closer ones than this differ by
/// less than noise.
const MOST_SIZES: u32 = 64;

/// The times of a model's modules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Modules {
    /// Modules by size, and everything else of a forward pass.
    pub table: LatencyTable,
    /// Nanoseconds of the whole dense model.
    pub whole_nanoseconds: u64,
}

/// Sizes to time where levels are to be spaced by time: multiples of the granularity, evenly
/// spaced, dense first and 0 last; up to [`MOST_SIZES`] heads that is every number of them.
pub fn sizes(shape: &Shape, mlp_granularity: u32) -> PerKind<Vec<u32>> {
    PerKind {
        attention: even(shape.units(ModuleKind::Attention), 1),
        mlp: even(shape.units(ModuleKind::Mlp), mlp_granularity),
    }
}

fn even(units: u32, granularity: u32) -> Vec<u32> {
    let granules = (units / granularity.max(1)).max(1);
    let steps = granules.min(MOST_SIZES);
    let removed = |step: u32| (granules * step + steps / 2) / steps * granularity;
    let kept = (0..steps).map(|step| units - removed(step));
    kept.chain([0]).collect()
}

/// What is timed in turn.
enum Subject {
    /// The dense model.
    Whole,
    /// A model without blocks: embeddings, positions, last norm, logits of the last tokens.
    Rest,
    /// A module of the first block with so many units, its norm and the residual sum included: all
    /// that goes when the module is removed.
    Module(ModuleKind, u32),
}

/// Times the first block's modules at every size, and the rest of the model, on tokens [B, T].
/// `hear` is told of subjects done and in all.
///
/// # Errors
/// When stopped, or libtorch fails.
pub fn time_modules(
    dense: &DenseModel,
    shape: &Shape,
    sizes: &PerKind<Vec<u32>>,
    tokens_BT: &Tensor,
    cancel: &AtomicBool,
    mut hear: impl FnMut(u64, u64),
) -> Result<Modules, LatencyError> {
    let mut subjects = vec![(Subject::Whole, vec![]), (Subject::Rest, vec![])];
    for kind in ModuleKind::ALL {
        let present = sizes[kind].iter().filter(|&&units| units > 0);
        subjects.extend(present.map(|&units| (Subject::Module(kind, units), vec![])));
    }
    let total = subjects.len() as u64 * u64::from(ROUNDS + 1);
    let bench = Bench::new(dense, shape, tokens_BT);
    let mut done = 0;
    for round in 0..=ROUNDS {
        for (subject, samples) in &mut subjects {
            if cancel.load(Ordering::Relaxed) {
                return Err(LatencyError::Cancelled);
            }
            let nanoseconds = no_grad(|| bench.sample(subject))?;
            if round > 0 {
                samples.push(nanoseconds);
            }
            done += 1;
            hear(done, total);
        }
    }
    tabulate(&subjects)
}

/// The medians, in order.
fn tabulate(subjects: &[(Subject, Vec<u64>)]) -> Result<Modules, LatencyError> {
    let (mut whole_nanoseconds, mut base) = (0, 0);
    let mut times = PerKind::of(|_| Vec::new());
    for (subject, samples) in subjects {
        match subject {
            Subject::Whole => whole_nanoseconds = median(samples),
            Subject::Rest => base = median(samples),
            Subject::Module(kind, units) => times[*kind].push((*units, median(samples))),
        }
    }
    for kind in ModuleKind::ALL {
        times[kind].push((0, 0));
    }
    Ok(Modules {
        table: LatencyTable::new(base, times)?,
        whole_nanoseconds,
    })
}

/// What every sample needs.
struct Bench<'a> {
    dense: &'a DenseModel,
    shape: &'a Shape,
    tokens_BT: &'a Tensor,
    x_BTD: Tensor,
    positions: Positions,
}

impl<'a> Bench<'a> {
    fn new(dense: &'a DenseModel, shape: &'a Shape, tokens_BT: &'a Tensor) -> Self {
        let model = &dense.model;
        Self {
            dense,
            shape,
            tokens_BT,
            x_BTD: no_grad(|| model.embed(tokens_BT)),
            positions: model.positions(tokens_BT.size()[1]),
        }
    }

    /// Nanoseconds of one pass of a subject.
    fn sample(&self, subject: &Subject) -> Result<u64, LatencyError> {
        let (model, device) = (&self.dense.model, self.tokens_BT.device());
        match subject {
            Subject::Whole => {
                let whole = || last_logits(model, &model.hidden_states(self.tokens_BT));
                Ok(timed(device, whole).1)
            }
            Subject::Rest => {
                let pass = || {
                    let x_BTD = model.embed(self.tokens_BT);
                    model.positions(self.tokens_BT.size()[1]);
                    last_logits(model, &model.norm.forward(&x_BTD, model.compute))
                };
                Ok(several(device, pass))
            }
            Subject::Module(kind, units) => {
                let block: Block = cut_block(&model.blocks[0], self.shape, *kind, *units)?;
                Ok(several(device, || {
                    block.forward(&self.x_BTD, &self.positions)
                }))
            }
        }
    }
}

/// Nanoseconds of a pass, of several in a row after one that is not timed.
fn several(device: tch::Device, pass: impl Fn() -> Tensor) -> u64 {
    drop(pass());
    let passes = || {
        for _ in 0..PASSES {
            drop(pass());
        }
    };
    (timed(device, passes).1 / PASSES).max(1)
}

/// Logits of the last token of each sequence: hidden states [B, T, D] → [B, V].
fn last_logits(model: &Model, hidden_BTD: &Tensor) -> Tensor {
    model.logits(&hidden_BTD.select(1, -1)).to_kind(Kind::Float)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_even_multiples_of_the_granularity_from_dense_to_removed() {
        assert_eq!(even(9, 1), [9, 8, 7, 6, 5, 4, 3, 2, 1, 0]);
        assert_eq!(even(100, 32), [100, 68, 36, 0]);
        assert_eq!(even(20, 32), [20, 0]);
        for (units, granularity) in [(1536, 32), (14_336, 32), (13_824, 1), (4_194_304, 1)] {
            let sizes = even(units, granularity);
            assert_eq!((sizes[0], sizes.last()), (units, Some(&0)));
            assert!(sizes.len() <= MOST_SIZES as usize + 1);
            assert!(sizes.windows(2).all(|pair| pair[1] < pair[0]));
            let removed = sizes[1..sizes.len() - 1].iter().map(|kept| units - kept);
            assert!(
                removed
                    .into_iter()
                    .all(|removed| removed % granularity == 0)
            );
        }
    }
}
