//! A generation's selection: the tree, and the same as a table.

use darwinlm_search::{FitnessKind, GenerationEntry, Outcome};

use super::markup::{data, row, table};
use crate::Facts;
use crate::charts;
use crate::numbers::grouped;
use crate::race::{Runner, race};

pub(super) fn told(facts: &Facts, generation: &GenerationEntry) -> String {
    let runners = race(generation);
    let steps = generation.steps.len();
    let drawn = charts::tree(&runners, steps);
    let left_out = match drawn.left_out {
        0 => String::new(),
        more => format!(
            " The best {} are drawn; the table has the other {more}, too.",
            charts::MOST_ROWS
        ),
    };
    let fitness = match facts.problem.fitness {
        FitnessKind::KullbackLeibler => "KL to dense, in nats per token",
        FitnessKind::Perplexity => "perplexity",
    };
    format!(
        "<div class=\"wide\">{}</div>\n<p class=\"note\">Each candidate with its slot, what was changed of its parent \
         and its fitness in each step: {fitness}, lower is better; × where it fell out. The parent joins in the \
         last step.{left_out}</p>\n{}\n<details><summary>The same as a table</summary>\n{}\n</details>",
        drawn.drawing,
        asked(facts),
        as_table(&runners, steps)
    )
}

/// What each step asks of its candidates.
fn asked(facts: &Facts) -> String {
    let steps = facts.problem.steps.steps().iter();
    let items: Vec<_> = (1..)
        .zip(steps)
        .map(|(number, step)| {
            let trained = match step.training_tokens {
                0 => "as they are".to_owned(),
                tokens => format!("after training on {}", grouped(tokens)),
            };
            let scored = grouped(step.fitness_tokens);
            let left = step.survivors;
            format!("Step {number} scores them on {scored} tokens, {trained}, and leaves {left}")
        })
        .collect();
    format!("<p class=\"note\">{}.</p>", items.join(". "))
}

fn as_table(runners: &[Runner], steps: usize) -> String {
    let mut rows = String::new();
    for runner in runners {
        let outcomes = runner.outcomes.iter();
        let outcomes = outcomes.map(|outcome| outcome.map_or("–".to_owned(), shown));
        let cells = [runner.slot.to_string(), runner.what.words()];
        let class = if runner.is_survivor { "best" } else { "" };
        rows += &row(cells.into_iter().chain(outcomes), "td", class);
    }
    let names: Vec<_> = (1..=steps).map(|step| format!("step {step}")).collect();
    let mut heads = vec!["slot", "changed"];
    heads.extend(names.iter().map(String::as_str));
    table(&heads, &rows)
}

fn shown(outcome: Outcome) -> String {
    match outcome.fitness() {
        Some(fitness) => data(fitness, &format!("{:.5}", fitness.get())),
        None => "not finite".to_owned(),
    }
}
