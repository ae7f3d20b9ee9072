//! The weights of every level of one module, by least squares on the columns that are kept.

use darwinlm_search::Ladder;
use tch::{Kind, Tensor};

use super::{Damped, Damping, PruneError, column_order, damp, group_order};

/// One level of a module between dense and removed.
#[derive(Debug)]
pub struct LevelWeights {
    /// Units kept, ascending.
    pub kept: Vec<u32>,
    /// The owner matrix with kept columns only [R, S], in the dense weights' type.
    pub weight_RS: Tensor,
}

/// Everything the level database holds about one module.
#[derive(Debug)]
pub struct ModuleLevels {
    /// All units in the order of removal: a deeper level removes a superset.
    pub order: Vec<u32>,
    /// Levels 1 to the last but one: level 0 is the dense matrix, the last has no columns.
    pub levels: Vec<LevelWeights>,
    /// tr(ΔW H ΔWᵀ) with the damped H for every level, 0 for level 0.
    pub errors: Vec<f64>,
    /// How H was damped.
    pub damping: Damping,
}

/// Prunes one module to every level of its ladder.
///
/// `weight_RN` is the dense owner matrix, whose type the levels keep; `hessian_NN` its undamped
/// Hessian; a unit is `unit_columns` neighbouring columns. Computes on the Hessian's device.
pub fn build_module(
    weight_RN: &Tensor,
    hessian_NN: &Tensor,
    unit_columns: u32,
    ladder: &Ladder,
    damping_permille: u32,
) -> Result<ModuleLevels, PruneError> {
    let width = i64::from(unit_columns);
    let dense_RN = weight_RN.f_to_device(hessian_NN.device())?;
    let Damped {
        hessian_NN,
        weight_RN: solved_RN,
        damping,
    } = damp(&dense_RN, hessian_NN, damping_permille)?;
    let units = solved_RN.size()[1] / width;
    if i64::from(ladder.units()) != units || units * width != solved_RN.size()[1] {
        return Err(PruneError::Ladder {
            found: i64::from(ladder.units()),
            expected: units,
        });
    }
    let (order, _) = match width {
        1 => column_order(&solved_RN, &hessian_NN)?,
        _ => group_order(&solved_RN, &hessian_NN, width)?,
    };
    let refit = Refit::new(&solved_RN, &hessian_NN, &order, unit_columns)?;
    let mut levels = Vec::new();
    let mut errors = vec![0.0];
    for &units_kept in &ladder.as_slice()[1..] {
        errors.push(refit.error(units_kept)?);
        if units_kept > 0 {
            let kept = kept_units(&order, units_kept as usize);
            let weight_RS = refit.weights(units_kept)?.f_to_kind(weight_RN.kind())?;
            levels.push(LevelWeights { kept, weight_RS });
        }
    }
    Ok(ModuleLevels {
        order,
        levels,
        errors,
        damping,
    })
}

/// The units that remain when `units_kept` do, ascending.
pub fn kept_units(order: &[u32], units_kept: usize) -> Vec<u32> {
    let mut kept = order[order.len() - units_kept..].to_vec();
    kept.sort_unstable();
    kept
}

/// The columns of some units, in the units' order.
pub fn unit_columns(units: &[u32], unit_columns: u32) -> Vec<i64> {
    let width = i64::from(unit_columns);
    let columns = |&unit: &u32| i64::from(unit) * width..(i64::from(unit) + 1) * width;
    units.iter().flat_map(columns).collect()
}

/// W H_{:,S} H_SS⁻¹ for nested sets S from one factorisation.
///
/// With the columns sorted by how long they stay, every S is a leading part. H = L Lᵀ then has
/// H_SS = L_S L_Sᵀ with the leading part of L, and Z = Lᵀ Wᵀ gives both: the weights are
/// L_S⁻ᵀ Z_S, and the squares of Z's other rows sum to tr(ΔW H ΔWᵀ), without cancellation.
struct Refit<'a> {
    order: &'a [u32],
    unit_columns: u32,
    factor_NN: Tensor,
    z_NR: Tensor,
}

impl<'a> Refit<'a> {
    fn new(
        weight_RN: &Tensor,
        hessian_NN: &Tensor,
        order: &'a [u32],
        width: u32,
    ) -> Result<Self, PruneError> {
        let staying: Vec<u32> = order.iter().rev().copied().collect();
        let columns = Tensor::from_slice(&unit_columns(&staying, width));
        let columns = columns.f_to_device(hessian_NN.device())?;
        let sorted_NN = hessian_NN
            .f_index_select(0, &columns)?
            .f_index_select(1, &columns)?;
        let factor_NN = sorted_NN.f_linalg_cholesky(false)?;
        let sorted_RN = weight_RN.f_index_select(1, &columns)?;
        let z_NR = factor_NN
            .f_transpose(0, 1)?
            .f_matmul(&sorted_RN.f_transpose(0, 1)?)?;
        Ok(Self {
            order,
            unit_columns: width,
            factor_NN,
            z_NR,
        })
    }

    fn error(&self, units_kept: u32) -> Result<f64, PruneError> {
        let kept = i64::from(units_kept) * i64::from(self.unit_columns);
        let removed_NR = self.z_NR.f_narrow(0, kept, self.z_NR.size()[0] - kept)?;
        Ok(removed_NR
            .f_square()?
            .f_sum(Kind::Double)?
            .double_value(&[]))
    }

    /// [R, S], columns ascending.
    fn weights(&self, units_kept: u32) -> Result<Tensor, PruneError> {
        let kept = i64::from(units_kept) * i64::from(self.unit_columns);
        let factor_SS = self.factor_NN.f_narrow(0, 0, kept)?.f_narrow(1, 0, kept)?;
        let z_SR = self.z_NR.f_narrow(0, 0, kept)?;
        let upper_SS = factor_SS.f_transpose(0, 1)?;
        let sorted_SR = upper_SS.f_linalg_solve_triangular(&z_SR, true, true, false)?;
        // from the order of staying back to ascending columns
        let staying: Vec<u32> = self
            .order
            .iter()
            .rev()
            .take(units_kept as usize)
            .copied()
            .collect();
        let columns = Tensor::from_slice(&unit_columns(&staying, self.unit_columns));
        let ascending = columns
            .f_argsort(0, false)?
            .f_to_device(sorted_SR.device())?;
        Ok(sorted_SR
            .f_index_select(0, &ascending)?
            .f_transpose(0, 1)?
            .f_contiguous()?)
    }
}
