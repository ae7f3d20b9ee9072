//! What is measured on the finished model.

use darwinlm_api::Evaluation;
use darwinlm_task::{EvaluationSpec, LatencyWorkload};

use super::{Rejection, at_least_one};

/// Checks what to measure.
pub(super) fn evaluation(evaluation: &Evaluation) -> Result<EvaluationSpec, Rejection> {
    let latency = evaluation.latency.as_ref().map(workload).transpose()?;
    Ok(EvaluationSpec { latency })
}

fn workload(workload: &darwinlm_api::LatencyWorkload) -> Result<LatencyWorkload, Rejection> {
    let darwinlm_api::LatencyWorkload {
        batch,
        prompt_tokens,
        new_tokens,
    } = *workload;
    let field = "spec.evaluation.latency";
    Ok(LatencyWorkload {
        batch: at_least_one(&format!("{field}.batch"), batch)?,
        prompt_tokens: at_least_one(&format!("{field}.promptTokens"), prompt_tokens)?,
        new_tokens: u32::try_from(new_tokens).map_err(|_| {
            let problem = format!("is {new_tokens}; at least 0 is accepted");
            Rejection::invalid(&format!("{field}.newTokens"), problem)
        })?,
    })
}
