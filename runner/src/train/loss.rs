//! The loss and its gradients without a [tokens, vocabulary] tensor.

use tch::{Kind, Tensor};

use super::{SoftTargets, TrainError};

/// The sum of losses over positions, and its gradients times `scale`.
///
/// `hidden_ND` are final hidden states, `output_VD` the output matrix, `target_N` the next tokens.
/// The loss is cross-entropy, or with soft targets of share w (1 − w) · cross-entropy + w ·
/// KL(teacher ‖ model). Returns (sum in nats [], float64, gradient of the hidden states [N, D]) and
/// adds the output matrix' gradient to `output_gradient_VD` (float32); nothing is read back from
/// the device. The gradient of the logits is
/// softmax − ((1 − w) · one-hot + w · teacher), so each chunk of `chunk` positions is done with
/// before the next begins.
pub fn head_gradients(
    hidden_ND: &Tensor,
    output_VD: &Tensor,
    target_N: &Tensor,
    soft: Option<&SoftTargets<'_>>,
    scale: f64,
    chunk: i64,
    output_gradient_VD: &mut Tensor,
) -> Result<(Tensor, Tensor), TrainError> {
    let compute = hidden_ND.kind();
    let output_VD = output_VD.detach().f_to_kind(compute)?;
    let hidden_ND = hidden_ND.detach();
    let positions = hidden_ND.size()[0];
    let hard = 1.0 - soft.map_or(0.0, |soft| soft.share);
    let mut sum = Tensor::f_zeros([], (Kind::Double, hidden_ND.device()))?;
    let mut gradients = Vec::new();
    for start in (0..positions).step_by(chunk.max(1) as usize) {
        let length = chunk.max(1).min(positions - start);
        let hidden_nD = hidden_ND.f_narrow(0, start, length)?;
        let target_n1 = target_N.f_narrow(0, start, length)?.f_unsqueeze(1)?;
        let log_q_nV = hidden_nD
            .f_linear(&output_VD, None::<&Tensor>)?
            .f_log_softmax(-1, Kind::Float)?;
        let picked_n1 = log_q_nV.f_gather(1, &target_n1, false)?;
        let _ = sum.f_sub_(&picked_n1.f_sum(Kind::Double)?.f_mul_scalar(hard)?)?;
        let mut slope_nV = match soft {
            Some(_) => log_q_nV.f_exp()?,
            // in place: nobody needs the logarithms again
            None => log_q_nV.shallow_clone().f_exp_()?,
        };
        let minus_hard = target_n1.f_ones_like()?.f_to_kind(Kind::Float)? * -hard;
        let _ = slope_nV.f_scatter_add_(1, &target_n1, &minus_hard)?;
        if let Some(soft) = soft {
            let _ = sum.f_add_(&soft.add(start, length, &log_q_nV, &mut slope_nV)?)?;
        }
        let _ = slope_nV.f_mul_scalar_(scale)?;
        let slope_nV = slope_nV.f_to_kind(compute)?;
        gradients.push(slope_nV.f_matmul(&output_VD)?);
        let update_VD = slope_nV.f_transpose(0, 1)?;
        if compute == Kind::Float {
            let _ = output_gradient_VD.f_addmm_(&update_VD, &hidden_nD)?;
        } else {
            let update_VD = update_VD.f_matmul(&hidden_nD)?.f_to_kind(Kind::Float)?;
            let _ = output_gradient_VD.f_add_(&update_VD)?;
        }
    }
    Ok((sum, Tensor::f_cat(&gradients, 0)?))
}
