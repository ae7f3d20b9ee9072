//! Second-order structured pruning of one module: Hessian, removal order, weights of every level.
//!
//! A module is its owner matrix W [R, N] (`o_proj` or `down_proj`) and H = (2/sequences) Σ XᵀX
//! [N, N] over its inputs. A unit is a run of neighbouring columns of W. Everything here is float64
//! on the matrices' own device. Formulas: Optimal Brain Surgeon as in ZipLM (arXiv 2302.04089).
//!
//! Shape suffixes: R rows of W, N columns, S columns kept, G columns of one unit, U units.

mod columns;
mod damping;
mod groups;
mod hessian;
mod levels;
mod observe;

pub use columns::column_order;
pub use damping::{Damped, Damping, damp};
pub use groups::group_order;
pub use hessian::Hessian;
pub use levels::{LevelWeights, ModuleLevels, build_module, kept_units, unit_columns};
pub use observe::{BlockHessians, CalibrationSettings, calibrate};

/// Why a module could not be pruned.
#[derive(Debug, thiserror::Error)]
pub enum PruneError {
    /// An input of the module was NaN or infinite somewhere.
    #[error("the Hessian holds NaN or infinite values; the model's activations overflow")]
    NonFiniteHessian,
    /// The Hessian is no square matrix over the columns of the weights.
    #[error(
        "the Hessian is {hessian:?} and the weights are {weight:?}; expected [n, n] and [rows, n]"
    )]
    Shapes {
        /// Shape of the Hessian.
        hessian: Vec<i64>,
        /// Shape of the weights.
        weight: Vec<i64>,
    },
    /// The ladder is one of another module.
    #[error("the ladder begins with {found} units; the module has {expected}")]
    Ladder {
        /// Units at level 0 of the ladder.
        found: i64,
        /// Units of the module.
        expected: i64,
    },
    /// No damping within reason makes the Hessian positive definite.
    #[error("the Hessian is not positive definite even with damping {permille} permille")]
    NotPositiveDefinite {
        /// The strongest damping tried.
        permille: u64,
    },
    /// Stopped from outside.
    #[error("stopped from outside")]
    Cancelled,
    /// libtorch refused, for want of memory for instance.
    #[error("libtorch failed while pruning")]
    Torch(#[from] tch::TchError),
}
