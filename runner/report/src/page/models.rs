//! Dense, uniform, searched and trained side by side.

use darwinlm_task::{EvaluationReport, LatencyReport, LatencyWorkload, Measured, Spread};

use super::markup::{data, escaped, row, table};
use crate::numbers::{grouped, percent};

pub(super) fn told(evaluation: &EvaluationReport) -> String {
    let named = [
        ("dense", Some(&evaluation.dense)),
        ("uniform", Some(&evaluation.uniform)),
        ("searched", Some(&evaluation.pruned)),
        ("trained", evaluation.trained.as_ref()),
    ];
    let last = match evaluation.trained {
        Some(_) => "trained",
        None => "searched",
    };
    let mut rows = String::new();
    for (name, measured) in named {
        let Some(Measured {
            parameters,
            perplexity,
            kl,
            tokens_per_second,
        }) = measured
        else {
            continue;
        };
        let class = if name == last { "best" } else { "" };
        let cells = [
            name.to_owned(),
            data(parameters, &grouped(*parameters)),
            percent(*parameters, evaluation.dense.parameters),
            escaped(perplexity),
            escaped(kl),
            escaped(tokens_per_second),
        ];
        rows += &row(cells, "td", class);
    }
    let heads = [
        "model",
        "parameters",
        "of dense",
        "perplexity",
        "KL to dense (nats)",
        "tokens/s scored",
    ];
    let speed = evaluation.latency.as_ref().map(speed).unwrap_or_default();
    let words = "<p class=\"note\">On held-out text that nothing was selected or trained on; lower is better for \
                 perplexity and KL.</p>";
    format!("{}\n{words}{speed}", table(&heads, &rows))
}

fn speed(report: &LatencyReport) -> String {
    let LatencyReport {
        workload:
            LatencyWorkload {
                batch,
                prompt_tokens,
                new_tokens,
            },
        pairs,
        device,
        dense: _,
        pruned: _,
        speedup_percent: Spread {
            median,
            least,
            most,
        },
    } = report;
    let times = |percent: &u64| format!("{}.{:02}", percent / 100, percent % 100);
    format!(
        "\n<p>The searched model is {} times as fast as the dense one (from {} to {} in {pairs} pairs): {batch} × \
         {prompt_tokens} tokens, then {new_tokens} new ones, on {}.</p>",
        times(median),
        times(least),
        times(most),
        escaped(device)
    )
}
