//! Making a Hessian safely invertible: dead inputs, and a multiple of the mean diagonal.

use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use super::PruneError;

/// What was added to a Hessian's diagonal, recorded in the level database.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Damping {
    /// Thousandths of the mean diagonal of the live inputs that were added.
    pub permille: u64,
    /// How often the requested damping was doubled until the factorisation succeeded.
    pub doublings: u32,
    /// Columns whose input was zero on every calibration token.
    pub dead_columns: u32,
}

/// A damped Hessian and the weights that go with it.
#[derive(Debug)]
pub struct Damped {
    /// H with damping [N, N], float64, positive definite.
    pub hessian_NN: Tensor,
    /// W with dead columns zeroed [R, N], float64.
    pub weight_RN: Tensor,
    /// What was done.
    pub damping: Damping,
}

/// After so many doublings the Hessian is given up: 2^20 times the requested damping.
const MOST_DOUBLINGS: u32 = 20;

/// Damps H by `permille` thousandths of its mean diagonal, doubling until a Cholesky factor exists.
///
/// An input that is always zero has no curvature: its weights are set to zero, which changes no
/// output, and its diagonal to the mean of the live ones, so that it is removed first at no cost.
/// Being relative throughout, the result does not depend on the scale of H.
pub fn damp(weight_RN: &Tensor, hessian_NN: &Tensor, permille: u32) -> Result<Damped, PruneError> {
    let (weight, hessian) = (weight_RN.size(), hessian_NN.size());
    if weight.len() != 2
        || hessian.len() != 2
        || hessian[0] != hessian[1]
        || hessian[0] != weight[1]
    {
        return Err(PruneError::Shapes { hessian, weight });
    }
    let hessian_NN = hessian_NN.f_to_kind(Kind::Double)?;
    if hessian_NN.isfinite().all().int64_value(&[]) == 0 {
        return Err(PruneError::NonFiniteHessian);
    }
    let diagonal_N = hessian_NN.diagonal(0, 0, 1);
    let dead_N = diagonal_N.eq(0.0);
    let dead_columns = dead_N.sum(Kind::Int64).int64_value(&[]);
    let live = (weight[1] - dead_columns).max(1) as f64;
    let sum = diagonal_N.sum(Kind::Double).double_value(&[]);
    // no live input at all: any positive number serves
    let mean = if sum > 0.0 { sum / live } else { 1.0 };
    let dead_diagonal_N = dead_N.to_kind(Kind::Double) * mean;
    let alive_N = dead_N.logical_not().to_kind(Kind::Double);
    let weight_RN = weight_RN.f_to_kind(Kind::Double)?.f_mul(&alive_N)?;
    let base_NN = hessian_NN.f_add(&dead_diagonal_N.diag(0))?;
    let mut permille = u64::from(permille.max(1));
    for doublings in 0..=MOST_DOUBLINGS {
        let damped_NN = base_NN.copy();
        let mut diagonal = damped_NN.diagonal(0, 0, 1);
        let _ = diagonal.f_add_scalar_(permille as f64 / 1000.0 * mean)?;
        let (_, info) = damped_NN.f_linalg_cholesky_ex(false, false)?;
        if info.int64_value(&[]) == 0 {
            let dead_columns = u32::try_from(dead_columns).expect("columns are counted in 32 bits");
            let damping = Damping {
                permille,
                doublings,
                dead_columns,
            };
            return Ok(Damped {
                hessian_NN: damped_NN,
                weight_RN,
                damping,
            });
        }
        permille *= 2;
    }
    Err(PruneError::NotPositiveDefinite {
        permille: permille / 2,
    })
}
