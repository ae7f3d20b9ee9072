//! Where it all comes from, and how anybody gets it again.

use darwinlm_search::{CostUnit, Exchange, Problem, Target};

use super::markup::{escaped, row};
use crate::Facts;
use crate::numbers::grouped;

pub(super) fn told(facts: &Facts) -> String {
    let problem = &facts.problem;
    let pins = &problem.pins;
    let devices: Vec<_> = facts.devices.iter().cloned().collect();
    let mut lines = vec![
        ("digest of the search", facts.digest.clone()),
        ("target", target(problem)),
        ("seed", problem.seed.to_string()),
        ("offspring", offspring(problem)),
        ("learning rate", problem.optimizer.learning_rate.clone()),
        ("level database", pins.level_database.to_string()),
        ("training tokens", pins.training_tokens.to_string()),
        ("fitness tokens", pins.fitness_tokens.to_string()),
        ("numerics", pins.numerics_plan.to_string()),
        ("devices of the trials", devices.join(", ")),
    ];
    if let Some(table) = pins.latency_table {
        lines.push(("table of latencies", table.to_string()));
    }
    if let Some(plan) = &facts.plan {
        lines.push(("model", plan.model.clone()));
        lines.push(("dense parameters", grouped(plan.dense_parameters)));
        let fetched = plan.fetched.iter();
        lines.extend(fetched.map(|from| ("fetched", from.from.clone())));
    }
    let version = format!("darwinlm {}", env!("CARGO_PKG_VERSION"));
    lines.push(("written by", version));
    let rows: String = lines
        .into_iter()
        .map(|(name, text)| {
            let text = format!("<span class=\"digest\">{}</span>", escaped(&text));
            row([name.to_owned(), text], "td", "")
        })
        .collect();
    format!("<table class=\"said\">\n{rows}</table>")
}

fn target(problem: &Problem) -> String {
    match (problem.target, problem.costs.unit()) {
        (Target::Level(level), _) => format!("level {}", level.get()),
        (Target::Cost(most), CostUnit::Parameters) => {
            format!("at most {} parameters", grouped(most))
        }
        (Target::Cost(most), CostUnit::Nanoseconds) => format!("at most {} ns", grouped(most)),
    }
}

fn offspring(problem: &Problem) -> String {
    let exchange = match problem.exchange {
        Exchange::WithinKind => "levels move within a kind of module",
        Exchange::AcrossKinds => "levels move across kinds of modules",
    };
    format!("{} a generation; {exchange}", problem.offspring)
}

pub(super) fn reproduce(facts: &Facts) -> String {
    let (store, run) = (escaped(&facts.store), escaped(&facts.run));
    format!(
        "<p>The same spec with the same model and data gives the same digest, on any number of workers:</p>\n\
         <pre><code>darwinlm run -f run.yaml --store DIR</code></pre>\n\
         <p>Without the model, from the ledger alone, every mutation and selection can be replayed:</p>\n\
         <pre><code>darwinlm verify STORE --run {run}</code></pre>\n\
         <p class=\"note\">STORE is <code>{store}</code>, as whoever wrote this page sees it.</p>"
    )
}
