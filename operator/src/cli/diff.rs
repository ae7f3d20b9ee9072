//! `darwinlm diff`: where two searches part, and why.

use clap::Args;
use darwinlm_report::{Facts, grouped};
use darwinlm_store::Store;
use darwinlm_task::Measured;
use serde_json::Value;

use super::get::runs;
use super::lineage::changes;
use super::report::{failure, only};
use super::{Failure, store_url};

pub(super) const EXAMPLES: &str = "\
Examples:
  darwinlm diff ./store research.a research.b              two runs of one store
  darwinlm diff ./store research.a research.b --other ./b   the second one of another store

Says what was asked for differently, the first generation in which they part, how their survivors differ, and what both
measure. Two runs of one spec, model and data have one digest.";

/// Differences of one kind that are shown at most.
const SHOWN: usize = 30;

#[derive(Debug, Args)]
pub(super) struct Diff {
    /// Folder or URL of the store
    #[arg(value_name = "DIR|URL")]
    store: String,
    /// The first run, as <namespace>.<name> or its name alone
    one: String,
    /// The second run
    two: String,
    /// Folder or URL of the second run's store, if it is another
    #[arg(long, value_name = "DIR|URL")]
    other: Option<String>,
}

/// Prints the differences.
pub(super) async fn diff(arguments: Diff) -> Result<(), Failure> {
    let Diff {
        store,
        one,
        two,
        other,
    } = arguments;
    let other = other.unwrap_or_else(|| store.clone());
    let (one, two) = (facts(&store, &one).await?, facts(&other, &two).await?);
    print!("{}", told(&one, &two));
    Ok(())
}

async fn facts(store: &str, run: &str) -> Result<Facts, Failure> {
    let url = store_url(store)?;
    let store = Store::open_existing(&url)?;
    let run = only(&url, runs(&store, Some(run)).await?)?;
    Facts::read(&store, &run).await.map_err(failure)
}

fn told(one: &Facts, two: &Facts) -> String {
    let mut text = format!(
        "- {}  {}\n+ {}  {}\n",
        one.run, one.digest, two.run, two.digest
    );
    if one.digest == two.digest {
        return text + "\nThe same search with the same history.\n";
    }
    let asked = |facts: &Facts| serde_json::to_value(&facts.problem).expect("a problem is JSON");
    let mut asked_for = Vec::new();
    compare("", &asked(one), &asked(two), &mut asked_for);
    text += &match asked_for.as_slice() {
        [] => "\nAsked for: the same.\n".to_owned(),
        lines => format!("\nAsked for\n{}", shown(lines)),
    };
    let pairs = one.generations.iter().zip(&two.generations);
    let first = pairs
        .clone()
        .find(|(a, b)| a.survivor.genome != b.survivor.genome);
    text += &match first {
        Some((generation, _)) => format!(
            "\nTheir survivors part in generation {} of {} and {}.\n",
            generation.generation,
            one.generations.len(),
            two.generations.len()
        ),
        None => format!(
            "\nTheir survivors are the same in the {} generations that both have.\n",
            pairs.count()
        ),
    };
    if one.survivor().blocks() == two.survivor().blocks() {
        let changes = changes(one.survivor(), two.survivor());
        if !changes.is_empty() {
            text += &format!(
                "\nSurvivors (level of the first → of the second)\n{}",
                shown(&changes)
            );
        }
    }
    text + &measured(one, two)
}

fn shown(lines: &[String]) -> String {
    let mut text: String = lines
        .iter()
        .take(SHOWN)
        .map(|line| format!("  {line}\n"))
        .collect();
    if lines.len() > SHOWN {
        text += &format!("  … and {} more\n", lines.len() - SHOWN);
    }
    text
}

/// Every place where two values differ, as a path with both.
fn compare(path: &str, one: &Value, two: &Value, lines: &mut Vec<String>) {
    match (one, two) {
        (Value::Object(first), Value::Object(second)) => {
            let keys = first
                .keys()
                .chain(second.keys().filter(|key| !first.contains_key(*key)));
            for key in keys {
                let below = if path.is_empty() {
                    key.clone()
                } else {
                    format!("{path}.{key}")
                };
                let of = |object: &serde_json::Map<String, Value>| object.get(key).cloned();
                let (one, two) = (
                    of(first).unwrap_or_default(),
                    of(second).unwrap_or_default(),
                );
                compare(&below, &one, &two, lines);
            }
        }
        _ if one == two => {}
        _ => lines.push(format!("{path}: {one} → {two}")),
    }
}

fn measured(one: &Facts, two: &Facts) -> String {
    let (Some(one), Some(two)) = (&one.evaluation, &two.evaluation) else {
        return String::new();
    };
    let mut text = format!(
        "\n{:<12}{:>16}{:>14}{:>12}\n",
        "Measured", "parameters", "perplexity", "KL"
    );
    for (sign, evaluation) in [("-", one), ("+", two)] {
        let trained = evaluation
            .trained
            .as_ref()
            .map(|trained| ("trained", trained));
        for (name, model) in [("searched", &evaluation.pruned)]
            .into_iter()
            .chain(trained)
        {
            let Measured {
                parameters,
                perplexity,
                kl,
                ..
            } = model;
            let name = format!("{sign} {name}");
            text += &format!(
                "{name:<12}{:>16}{perplexity:>14}{kl:>12}\n",
                grouped(*parameters)
            );
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_difference_is_a_path_with_both_values() {
        let mut lines = Vec::new();
        let (one, two) = (
            json!({"seed": 1, "steps": [1, 2], "target": {"level": 3}, "old": true}),
            json!({"seed": 2, "steps": [1, 2], "target": {"level": 4}, "new": 0}),
        );
        compare("", &one, &two, &mut lines);
        lines.sort();
        let expected = [
            "new: null → 0",
            "old: true → null",
            "seed: 1 → 2",
            "target.level: 3 → 4",
        ];
        assert_eq!(lines, expected);
    }

    #[test]
    fn many_differences_are_counted_after_the_first_few() {
        let lines: Vec<_> = (0..40).map(|number| number.to_string()).collect();
        let text = shown(&lines);
        assert_eq!(text.lines().count(), SHOWN + 1);
        assert!(text.ends_with("… and 10 more\n"), "{text}");
    }
}
