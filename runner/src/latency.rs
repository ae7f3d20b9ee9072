//! How long things take on the run's device: modules of every size, for ladders and speed-up
//! budgets, and whole models side by side, for people.
//!
//! Every figure is a median over rounds in which all that is compared takes its turn, so that a
//! machine that slows down for a while slows down everything alike. Before and after what is timed
//! the device has nothing else to do.

mod modules;
mod pairs;

pub use modules::{Modules, ROUNDS, sizes, time_modules};
pub use pairs::{PAIRS, Pass, compare};

use std::time::Instant;

use tch::Device;

use crate::device::finish;
use crate::stitch::StitchError;

/// Why nothing was measured.
#[derive(Debug, thiserror::Error)]
pub enum LatencyError {
    /// Stopped from outside.
    #[error("stopped from outside")]
    Cancelled,
    /// A module could not be cut.
    #[error("failed to cut a module to the size that is timed")]
    Stitch(#[from] StitchError),
    /// The sizes that were timed make no table.
    #[error(transparent)]
    Table(#[from] darwinlm_search::LatencyError),
    /// libtorch refused, for want of memory for instance.
    #[error("libtorch failed while something was timed")]
    Torch(#[from] tch::TchError),
}

/// What work gives, and the nanoseconds that it took on a device; at least 1.
fn timed<R>(device: Device, work: impl FnOnce() -> R) -> (R, u64) {
    finish(device);
    let started = Instant::now();
    let given = work();
    finish(device);
    let nanoseconds = u64::try_from(started.elapsed().as_nanos()).unwrap_or(u64::MAX);
    (given, nanoseconds.max(1))
}

/// The middle of some figures, the upper one of two; 0 of none.
pub fn median(figures: &[u64]) -> u64 {
    let mut sorted = figures.to_vec();
    sorted.sort_unstable();
    sorted.get(sorted.len() / 2).copied().unwrap_or_default()
}
