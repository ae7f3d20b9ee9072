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

use crate::memory::Kept;

/// Floating-point operations of a pass through blocks that keep so much: two for every weight of a
/// token (Kaplan et al., arXiv 2001.08361, table 1), and four for every query column and position
/// that it attends to, of which there are half as many as the sequence is long.
fn forward(shape: &Shape, kept: &[Kept], tokens: f64, length: f64) -> f64 {
    let columns = |of: fn(&Kept) -> u64| kept.iter().map(of).sum::<u64>() as f64;
    let queries = columns(|kept| kept.queries);
    let weights = f64::from(shape.hidden)
        * (2.0 * queries + 2.0 * columns(|kept| kept.keys) + 3.0 * columns(|kept| kept.columns));
    tokens * (2.0 * weights + 2.0 * length * queries)
}

/// Floating-point operations of the logits of some tokens.
fn output(shape: &Shape, tokens: f64) -> f64 {
    2.0 * tokens * f64::from(shape.vocabulary) * f64::from(shape.hidden)
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
