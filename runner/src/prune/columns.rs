//! The greedy removal order of single columns, blocked and lazily updated.
//!
//! The greedy loop removes argmin c/h again and again, where c = diag(WᵀW) and h = diag(H⁻¹), and
//! updates W and H⁻¹ after each removal. W itself is never needed: one column of H⁻¹ and one of
//! the Gram matrix WᵀW per step are. Both are recovered from the matrices at the block's start and
//! the block's earlier columns, so that the large updates happen once a block, as matrix products
//! on what is still alive.

use tch::{Kind, Tensor};

use super::PruneError;

/// Columns removed between two updates of the large matrices.
const BLOCK: i64 = 64;

/// The order in which columns are removed, all N of them, and the score of each removal.
///
/// `hessian_NN` is damped, `weight_RN` goes with it; both float64. Ties fall to the lowest index.
/// The order equals the one of the plain loop, which updates everything after every removal.
pub fn column_order(
    weight_RN: &Tensor,
    hessian_NN: &Tensor,
) -> Result<(Vec<u32>, Vec<f64>), PruneError> {
    let columns = hessian_NN.size()[0];
    let mut state = Live {
        index: (0..columns).collect(),
        inverse_NN: hessian_NN
            .f_linalg_cholesky(false)?
            .f_cholesky_inverse(false)?,
        gram_NN: weight_RN.f_transpose(0, 1)?.f_matmul(weight_RN)?,
    };
    let mut order = Vec::with_capacity(columns as usize);
    let mut scores = Vec::with_capacity(columns as usize);
    // the diagonals live outside the matrices, so that the block's end does not perturb them
    let mut gram_N = state.gram_NN.diagonal(0, 0, 1).copy();
    let mut inverse_N = state.inverse_NN.diagonal(0, 0, 1).copy();
    while !state.index.is_empty() {
        let block = Block::choose(&state, &mut gram_N, &mut inverse_N)?;
        for (&place, &score) in block.removed.iter().zip(&block.scores) {
            order.push(u32::try_from(state.index[place]).expect("columns are counted in 32 bits"));
            scores.push(score);
        }
        let kept = block.kept(state.index.len());
        let kept_L = Tensor::from_slice(&kept).to_device(hessian_NN.device());
        gram_N = gram_N.f_index_select(0, &kept_L)?;
        inverse_N = inverse_N.f_index_select(0, &kept_L)?;
        state = state.without(&block, &kept, &kept_L)?;
    }
    Ok((order, scores))
}

/// What is still alive, at the start of a block.
struct Live {
    /// Original column of each row and column below.
    index: Vec<i64>,
    inverse_NN: Tensor,
    gram_NN: Tensor,
}

/// One block of removals. `u`, `p`: a column of H⁻¹ and of the Gram matrix when each was removed.
struct Block {
    removed: Vec<usize>,
    scores: Vec<f64>,
    u_NB: Tensor,
    p_NB: Tensor,
    d_B: Tensor,
    gamma_B: Tensor,
}

impl Block {
    /// Chooses without waiting for the device: places stay there until the block is full.
    fn choose(
        state: &Live,
        gram_N: &mut Tensor,
        inverse_N: &mut Tensor,
    ) -> Result<Self, PruneError> {
        let columns = state.index.len() as i64;
        let size = columns.min(BLOCK);
        let device = state.inverse_NN.device();
        let zeros = |shape: &[i64], kind| Tensor::zeros(shape, (kind, device));
        let square = [columns, size];
        let (u_NB, p_NB) = (zeros(&square, Kind::Double), zeros(&square, Kind::Double));
        let (d_B, gamma_B) = (zeros(&[size], Kind::Double), zeros(&[size], Kind::Double));
        let (place_B, score_B) = (zeros(&[size], Kind::Int64), zeros(&[size], Kind::Double));
        let mut removed_N = zeros(&[columns], Kind::Bool);
        for step in 0..size {
            let score_N = (&*gram_N / &*inverse_N).masked_fill(&removed_N, f64::INFINITY);
            let place_1 = score_N.argmin(0, true);
            let at = |vector: &Tensor| vector.index_select(0, &place_1);
            let row = |matrix: &Tensor| matrix.index_select(0, &place_1).squeeze_dim(0);
            let column = |matrix: &Tensor| matrix.index_select(1, &place_1).squeeze_dim(1);
            // current columns, from those at the block's start and the block's earlier removals
            let (u_NE, p_NE) = (u_NB.narrow(1, 0, step), p_NB.narrow(1, 0, step));
            let (d_E, gamma_E) = (d_B.narrow(0, 0, step), gamma_B.narrow(0, 0, step));
            let row_E = row(&u_NE) / &d_E;
            let mixed_E = (row(&p_NE) - &gamma_E * &row_E) / &d_E;
            let u_N = column(&state.inverse_NN) - u_NE.mv(&row_E);
            let p_N = column(&state.gram_NN) - u_NE.mv(&mixed_E) - p_NE.mv(&row_E);
            let (d_1, gamma_1) = (at(&u_N), at(&p_N));
            let ratio_N = &u_N / &d_1;
            *gram_N = &*gram_N - &ratio_N * &p_N * 2.0 + ratio_N.square() * &gamma_1;
            *inverse_N = &*inverse_N - &u_N * &ratio_N;
            u_NB.select(1, step).copy_(&u_N);
            p_NB.select(1, step).copy_(&p_N);
            d_B.narrow(0, step, 1).copy_(&d_1);
            gamma_B.narrow(0, step, 1).copy_(&gamma_1);
            place_B.narrow(0, step, 1).copy_(&place_1);
            score_B.narrow(0, step, 1).copy_(&at(&score_N));
            let _ = removed_N.index_fill_(0, &place_1, 1);
        }
        let places = Vec::<i64>::try_from(place_B)?;
        Ok(Self {
            removed: places.into_iter().map(|place| place as usize).collect(),
            scores: Vec::<f64>::try_from(score_B)?,
            u_NB,
            p_NB,
            d_B,
            gamma_B,
        })
    }

    fn kept(&self, columns: usize) -> Vec<i64> {
        let mut alive = vec![true; columns];
        for &place in &self.removed {
            alive[place] = false;
        }
        (0..columns as i64)
            .filter(|&place| alive[place as usize])
            .collect()
    }
}

impl Live {
    /// The state without a block's columns, its updates applied as matrix products.
    fn without(self, block: &Block, kept: &[i64], kept_L: &Tensor) -> Result<Self, PruneError> {
        let compact = |matrix: &Tensor| -> Result<Tensor, PruneError> {
            Ok(matrix
                .f_index_select(0, kept_L)?
                .f_index_select(1, kept_L)?)
        };
        let u_LB = block.u_NB.f_index_select(0, kept_L)?;
        let p_LB = block.p_NB.f_index_select(0, kept_L)?;
        let ratio_LB = &u_LB / &block.d_B;
        let inverse_NN = compact(&self.inverse_NN)? - ratio_LB.matmul(&u_LB.tr());
        let cross_LL = ratio_LB.matmul(&p_LB.tr());
        let square_LL = (&ratio_LB * &block.gamma_B).matmul(&ratio_LB.tr());
        let gram_NN = compact(&self.gram_NN)? - &cross_LL - cross_LL.tr() + square_LL;
        let index = kept
            .iter()
            .map(|&place| self.index[place as usize])
            .collect();
        Ok(Self {
            index,
            inverse_NN,
            gram_NN,
        })
    }
}
