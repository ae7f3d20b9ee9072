//! Sizes, and what the run measured of the model.

use darwinlm_report::grouped;
use darwinlm_task::{EvaluationReport, LatencyReport, LatencyWorkload, Measured, Memory, Spread};

use super::Card;

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
        latency: _, // told by itself
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

/// Ratios alone: seconds are those of the worker's machine, ratios are about the model.
pub(super) fn speed(report: &LatencyReport) -> String {
    let LatencyReport {
        workload:
            LatencyWorkload {
                batch,
                prompt_tokens,
                new_tokens,
            },
        pairs,
        device,
        dense,
        pruned,
        speedup_percent,
    } = report;
    let ratio = |dense: u64, pruned: u64| hundredths(dense * 100 / pruned.max(1));
    let mut rows = format!(
        "| reading the prompt | {} × as fast |\n",
        ratio(
            dense.prompt_microseconds.median,
            pruned.prompt_microseconds.median
        )
    );
    if let (Some(dense), Some(pruned)) = (&dense.token_microseconds, &pruned.token_microseconds) {
        rows += &format!(
            "| each new token | {} × as fast |\n",
            ratio(dense.median, pruned.median)
        );
    }
    let Spread {
        median,
        least,
        most,
    } = *speedup_percent;
    let counted = match pruned.memory {
        Memory::AllocatorPeak { .. } => "memory at its peak",
        Memory::WeightsAndCache { .. } => "weights and cached keys and values",
    };
    format!(
        "## Speed\n\nThis model against the dense one in the run's own runtime on {device}: {batch} \
         sequences of {prompt_tokens} tokens,\nthen {new_tokens} new tokens each; medians of {pairs} \
         pairs, taken in turn.\n\n\
         | | |\n|---|---|\n{rows}| both | {} × as fast (from {} to {}) |\n\
         | {counted} | {} bytes, of {} |\n\n",
        hundredths(median),
        hundredths(least),
        hundredths(most),
        grouped(pruned.memory.bytes()),
        grouped(dense.memory.bytes()),
    )
}

fn hundredths(percent: u64) -> String {
    format!("{}.{:02}", percent / 100, percent % 100)
}
