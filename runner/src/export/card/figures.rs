//! Sizes, and what the run measured of the model.

use darwinlm_task::{EvaluationReport, Measured};

use super::{Card, grouped};

pub(super) fn parameters(card: &Card<'_>) -> String {
    let of_dense = |count: u64| {
        let permille = count * 1000 / card.parameters.dense.max(1);
        format!("{}.{} %", permille / 10, permille % 10)
    };
    let row =
        |what: &str, count: u64| format!("| {what} | {} | {} |\n", grouped(count), of_dense(count));
    format!(
        "## Size\n\n| | parameters | of dense |\n|---|---:|---:|\n{}{}{}\n",
        row("dense model", card.parameters.dense),
        row("pruned model, as the search counts", card.parameters.pruned),
        row("weights in this folder", card.parameters.stored),
    )
}

pub(super) fn evaluation(report: &EvaluationReport) -> String {
    let EvaluationReport {
        dense,
        uniform,
        pruned,
        trained,
    } = report;
    let row = |name: &str, measured: &Measured| {
        let Measured {
            parameters,
            perplexity,
            kl,
            tokens_per_second: _, // of the worker's machine, not of the model
        } = measured;
        format!(
            "| {name} | {} | {perplexity} | {kl} |\n",
            grouped(*parameters)
        )
    };
    let rest = match trained {
        None => row("this", pruned),
        Some(trained) => format!("{}{}", row("pruned", pruned), row("this, trained", trained)),
    };
    format!(
        "## Evaluation\n\nOn the run's own validation tokens, which nothing was trained or selected on. \
         Uniform is what the\nsearch started from, at the same budget; KL is to the dense model, in nats \
         per token. Measured on the\nshrunk model in the run's numerics.\n\n\
         | model | parameters | perplexity | KL |\n|---|---:|---:|---:|\n{}{}{}\n",
        row("dense", dense),
        row("uniform", uniform),
        rest,
    )
}
