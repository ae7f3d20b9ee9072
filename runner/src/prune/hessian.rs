//! H = (2/sequences) Σ XᵀX of one module's inputs, summed in a fixed order.

use tch::{Device, Kind, Tensor};

use super::PruneError;

/// The Hessian of one module, while it is being collected.
///
/// Every `add` is one batch of the numerics plan and sums in float32; which worker collects which
/// block changes nothing about a block's own sum.
#[derive(Debug)]
pub struct Hessian {
    sum_NN: Tensor,
    sequences: u64,
}

impl Hessian {
    /// An empty sum over `columns` inputs, on `device`.
    pub fn new(columns: i64, device: Device) -> Result<Self, PruneError> {
        let sum_NN = Tensor::f_zeros([columns, columns], (Kind::Float, device))?;
        Ok(Self {
            sum_NN,
            sequences: 0,
        })
    }

    /// Adds XᵀX of inputs [B, T, N].
    pub fn add(&mut self, inputs_BTN: &Tensor) -> Result<(), PruneError> {
        let columns = self.sum_NN.size()[0];
        let x_MN = inputs_BTN
            .f_reshape([-1, columns])?
            .f_to_kind(Kind::Float)?;
        let _ = self.sum_NN.f_addmm_(&x_MN.f_transpose(0, 1)?, &x_MN)?;
        self.sequences += inputs_BTN.size()[0] as u64;
        Ok(())
    }

    /// (2/sequences) Σ XᵀX [N, N], float32.
    pub fn finish(self) -> Result<Tensor, PruneError> {
        Ok(self.sum_NN * (2.0 / self.sequences.max(1) as f64))
    }
}
