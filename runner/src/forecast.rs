//! What a run will come to before it is run: counts out of its spec, times out of a short table of
//! rates that was measured on a device.
//!
//! [`Run`] counts; [`measure`] makes the table with the very code that a run computes with, on a few
//! blocks of random weights; [`times`] puts the two together for any number of workers.

mod rates;
mod run;
mod times;

pub use rates::{RatesError, Subject, measure};
pub use run::Run;
pub use times::times;

use darwinlm_search::Shape;

use crate::flops::Flops;
use crate::memory::Kept;

/// Floating-point operations of a pass of so many tokens, in sequences of `length`, through blocks that
/// keep so much.
fn forward(shape: &Shape, kept: &[Kept], tokens: f64, length: f64) -> f64 {
    let whole = (length.max(1.0)) as u64;
    let of_one = Flops::of_sizes(shape, kept).states(1, whole);
    of_one as f64 * tokens / whole as f64
}

/// Floating-point operations of the logits of some tokens.
fn output(shape: &Shape, tokens: f64) -> f64 {
    Flops::of_sizes(shape, &[]).logits(1) as f64 * tokens
}

/// Floating-point operations of the sums XᵀX of some blocks' modules.
fn hessians(kept: &[Kept], tokens: f64) -> f64 {
    let square = |size: u64| (size as f64) * (size as f64);
    let sizes = kept
        .iter()
        .map(|kept| square(kept.queries) + square(kept.columns));
    2.0 * tokens * sizes.sum::<f64>()
}

/// Floating-point operations of pruning a module to so many levels, as they grow: of `columns` inputs
/// and `rows` outputs.
fn pruning(columns: f64, rows: f64, levels: f64) -> f64 {
    2.0 * columns.powi(3) + levels * rows * columns.powi(2)
}

#[cfg(test)]
mod tests;
