//! Dense, uniform, searched and trained side by side, as a table.

use darwinlm_report::grouped;
use darwinlm_task::{EvaluationReport, LatencyReport, LatencyWorkload, Measured, Spread};

/// The table, one line per model under a line of headings.
pub fn table(report: &EvaluationReport) -> String {
    let EvaluationReport {
        dense,
        uniform,
        pruned,
        trained,
        latency,
    } = report;
    let mut table = format!(
        "{:<10}{:>16}{:>14}{:>12}{:>12}\n",
        "", "parameters", "perplexity", "KL", "tokens/s"
    );
    let models = [("dense", dense), ("uniform", uniform), ("searched", pruned)];
    let trained = trained.as_ref().map(|trained| ("trained", trained));
    for (name, measured) in models.into_iter().chain(trained) {
        let Measured {
            parameters,
            perplexity,
            kl,
            tokens_per_second,
        } = measured;
        table += &format!(
            "{name:<10}{:>16}{:>14}{:>12}{:>12}\n",
            grouped(*parameters),
            rounded(perplexity, 3),
            rounded(kl, 4),
            rounded(tokens_per_second, 1),
        );
    }
    table + &latency.as_ref().map(speed).unwrap_or_default()
}

/// Dense and searched on the workload of latency.
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
        dense,
        pruned,
        speedup_percent,
    } = report;
    let mut table = format!(
        "{batch} × {prompt_tokens} tokens, then {new_tokens} new ones, on {device}; medians of \
         {pairs} pairs\n{:<10}{:>16}{:>14}{:>12}{:>12}\n",
        "", "memory MB", "prompt ms", "ms/token", "tokens/s"
    );
    for (name, model) in [("dense", dense), ("searched", pruned)] {
        let milliseconds = |spread: Spread| format!("{:.1}", spread.median as f64 / 1000.0);
        let new = model.new_tokens_per_second.as_deref().unwrap_or("-");
        table += &format!(
            "{name:<10}{:>16}{:>14}{:>12}{new:>12}\n",
            grouped(model.memory.bytes() / 1_000_000),
            milliseconds(model.prompt_microseconds),
            model
                .token_microseconds
                .map_or("-".to_owned(), milliseconds),
        );
    }
    let Spread {
        median,
        least,
        most,
    } = *speedup_percent;
    let times = |percent: u64| format!("{}.{:02}", percent / 100, percent % 100);
    table
        + &format!(
            "{} times as fast (from {} to {})\n",
            times(median),
            times(least),
            times(most)
        )
}

/// A decimal number with so many places; what is no number stays as it is.
fn rounded(text: &str, places: usize) -> String {
    text.parse::<f64>()
        .map_or_else(|_| text.to_owned(), |number| format!("{number:.places$}"))
}

#[cfg(test)]
mod tests {
    use darwinlm_task::{Memory, ModelLatency};

    use super::*;

    fn latency() -> LatencyReport {
        let spread = |median: u64| Spread {
            median,
            least: median - 3,
            most: median + 3,
        };
        let model = |scale: u64| ModelLatency {
            prompt_microseconds: spread(10_040 * scale),
            prompt_tokens_per_second: "1".to_owned(),
            token_microseconds: None,
            new_tokens_per_second: None,
            memory: Memory::WeightsAndCache {
                bytes: 270_000_000 * scale,
            },
        };
        LatencyReport {
            workload: LatencyWorkload {
                batch: 1,
                prompt_tokens: 512,
                new_tokens: 0,
            },
            pairs: 5,
            device: "Some CPU".to_owned(),
            dense: model(2),
            pruned: model(1),
            speedup_percent: spread(200),
        }
    }

    #[test]
    fn the_models_stand_side_by_side() {
        let measured = |parameters, perplexity: &str, kl: &str| Measured {
            parameters,
            perplexity: perplexity.to_owned(),
            kl: kl.to_owned(),
            tokens_per_second: "301.25".to_owned(),
        };
        let report = EvaluationReport {
            dense: measured(134_515_008, "23.1042", "0"),
            uniform: measured(90_000_000, "801.5", "3.81234"),
            pruned: measured(999, "201.25", "2.5"),
            trained: Some(measured(999, "51.25", "1.5")),
            latency: Some(latency()),
        };
        let lines: Vec<_> = table(&report).lines().map(str::to_owned).collect();
        assert_eq!(
            lines[0].trim(),
            "parameters    perplexity          KL    tokens/s"
        );
        assert_eq!(
            lines[1],
            "dense          134,515,008        23.104      0.0000       301.2"
        );
        assert_eq!(
            lines[2],
            "uniform         90,000,000       801.500      3.8123       301.2"
        );
        assert_eq!(
            lines[3],
            "searched               999       201.250      2.5000       301.2"
        );
        assert_eq!(
            lines[4],
            "trained                999        51.250      1.5000       301.2"
        );
        assert_eq!(
            lines[5],
            "1 × 512 tokens, then 0 new ones, on Some CPU; medians of 5 pairs"
        );
        assert_eq!(
            lines[7],
            "dense                  540          20.1           -           -"
        );
        assert_eq!(lines[9], "2.00 times as fast (from 1.97 to 2.03)");
    }
}
