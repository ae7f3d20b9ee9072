//! Dense, uniform, searched and trained side by side, as a table.

use darwinlm_task::{EvaluationReport, Measured};

/// The table, one line per model under a line of headings.
pub fn table(report: &EvaluationReport) -> String {
    let EvaluationReport {
        dense,
        uniform,
        pruned,
        trained,
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
    table
}

/// A number with a comma between groups of three digits.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// A decimal number with so many places; what is no number stays as it is.
fn rounded(text: &str, places: usize) -> String {
    text.parse::<f64>()
        .map_or_else(|_| text.to_owned(), |number| format!("{number:.places$}"))
}

#[cfg(test)]
mod tests {
    use super::*;

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
    }
}
