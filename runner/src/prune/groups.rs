//! The greedy removal order of units of several columns each: query heads, key-value groups.

use tch::{Kind, Tensor};

use super::PruneError;

/// The order in which units of `unit_columns` neighbouring columns are removed, all of them, and
/// the score of each removal.
///
/// `hessian_NN` is damped, `weight_RN` goes with it; both float64. Ties fall to the lowest index.
/// A head is wide enough that updating after every removal is a matrix product already, so there
/// is nothing to delay; what is removed is dropped from the matrices.
pub fn group_order(
    weight_RN: &Tensor,
    hessian_NN: &Tensor,
    unit_columns: i64,
) -> Result<(Vec<u32>, Vec<f64>), PruneError> {
    let units = hessian_NN.size()[0] / unit_columns;
    let mut inverse_NN = hessian_NN
        .f_linalg_cholesky(false)?
        .f_cholesky_inverse(false)?;
    let mut gram_NN = weight_RN.f_transpose(0, 1)?.f_matmul(weight_RN)?;
    let mut alive: Vec<u32> = (0..u32::try_from(units).expect("units fit 32 bits")).collect();
    let mut order = Vec::with_capacity(alive.len());
    let mut scores = Vec::with_capacity(alive.len());
    while !alive.is_empty() {
        let score_U = scores_of_units(&inverse_NN, &gram_NN, unit_columns)?;
        let place = score_U.argmin(0, false).int64_value(&[]);
        scores.push(score_U.double_value(&[place]));
        order.push(alive.remove(place as usize));
        (inverse_NN, gram_NN) = without_unit(&inverse_NN, &gram_NN, place, unit_columns)?;
    }
    Ok((order, scores))
}

/// tr((H⁻¹_GG)⁻¹ (WᵀW)_GG) of every unit.
fn scores_of_units(
    inverse_NN: &Tensor,
    gram_NN: &Tensor,
    unit_columns: i64,
) -> Result<Tensor, PruneError> {
    let units = inverse_NN.size()[0] / unit_columns;
    let diagonal_blocks = |matrix: &Tensor| {
        let tiles = matrix.view([units, unit_columns, units, unit_columns]);
        tiles.diagonal(0, 0, 2).permute([2, 0, 1]).contiguous()
    };
    let factor_UGG = diagonal_blocks(inverse_NN).f_linalg_cholesky(false)?;
    let solved_UGG = diagonal_blocks(gram_NN).f_cholesky_solve(&factor_UGG, false)?;
    Ok(solved_UGG
        .diagonal(0, 1, 2)
        .sum_dim_intlist([-1i64].as_slice(), false, Kind::Double))
}

/// H⁻¹ and WᵀW after the removal of one unit, over the columns that stay.
fn without_unit(
    inverse_NN: &Tensor,
    gram_NN: &Tensor,
    place: i64,
    unit_columns: i64,
) -> Result<(Tensor, Tensor), PruneError> {
    let start = place * unit_columns;
    let end = start + unit_columns;
    let columns = inverse_NN.size()[0];
    let stay = |matrix: &Tensor| -> Result<Tensor, PruneError> {
        let (before, after) = (
            matrix.narrow(0, 0, start),
            matrix.narrow(0, end, columns - end),
        );
        Ok(Tensor::f_cat(&[before, after], 0)?)
    };
    let columns_of = |matrix: &Tensor| matrix.narrow(1, start, unit_columns);
    let (u_NG, p_NG) = (columns_of(inverse_NN), columns_of(gram_NN));
    let factor_GG = u_NG
        .narrow(0, start, unit_columns)
        .f_linalg_cholesky(false)?;
    let u_LG = stay(&u_NG)?;
    let ratio_LG = u_LG.tr().f_cholesky_solve(&factor_GG, false)?.tr();
    let gamma_GG = p_NG.narrow(0, start, unit_columns);
    let p_LG = stay(&p_NG)?;
    let square = |matrix: &Tensor| stay(&stay(matrix)?.tr());
    let inverse_LL = square(inverse_NN)?.tr() - ratio_LG.matmul(&u_LG.tr());
    let cross_LL = ratio_LG.matmul(&p_LG.tr());
    let inner_LL = ratio_LG.matmul(&gamma_GG).matmul(&ratio_LG.tr());
    let gram_LL = square(gram_NN)?.tr() - &cross_LL - cross_LL.tr() + inner_LL;
    Ok((inverse_LL.contiguous(), gram_LL.contiguous()))
}
