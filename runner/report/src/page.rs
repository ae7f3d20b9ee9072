//! The page: words, tables and drawings in one file, without script, style sheet or font of elsewhere.

mod cost;
mod markup;
mod models;
mod mutations;
mod provenance;
mod selection;
mod validation;

use darwinlm_search::GenerationEntry;

use crate::Facts;
use crate::charts;
use crate::numbers::percent;

use markup::{escaped, keys, section};

/// Light and dark by the reader's choice; one column on a phone; ink on paper.
const STYLE: &str = include_str!("page/style.css");

/// The whole page, with the selection of this generation.
pub fn page(facts: &Facts, selection: Option<&GenerationEntry>) -> String {
    let run = escaped(&facts.run);
    let mut body = format!("<h1>{run}</h1>\n<p class=\"lead\">{}</p>\n", lead(facts));
    if let Some(evaluation) = &facts.evaluation {
        let title = "Dense, uniform, searched, trained";
        section(&mut body, title, &models::told(evaluation));
    }
    section(
        &mut body,
        "Validation by generation",
        &validation::told(facts),
    );
    section(
        &mut body,
        "Where the survivor is thin: share of units removed, by block",
        &map(facts),
    );
    let both = [("var(--one)", "attention"), ("var(--two)", "MLP")];
    let levels = format!(
        "<div class=\"wide\">{}</div>\n{}\n<p class=\"note\">Modules at each level: 0 is dense, the last one \
         is all of it removed.</p>",
        charts::levels(facts),
        keys(&both)
    );
    section(&mut body, "Levels of the survivor", &levels);
    if let Some((curve, each)) = facts.training.as_ref().and_then(charts::loss) {
        section(&mut body, "Post-training", &training(facts, &curve, each));
    }
    if let Some(generation) = selection {
        let title = format!("Selection in generation {}", generation.generation);
        section(&mut body, &title, &selection::told(facts, generation));
    }
    let title = "Offspring by what they changed";
    section(&mut body, title, &mutations::told(facts));
    let title = "Where the device time went";
    section(&mut body, title, &cost::told(&facts.seconds));
    section(&mut body, "Provenance", &provenance::told(facts));
    section(&mut body, "To reproduce", &provenance::reproduce(facts));
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n\
         <title>{run} – DarwinLM</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n{body}\
         <footer>Written by darwinlm {} out of the run's ledger; the digest names the search.</footer>\n\
         </body>\n</html>\n",
        env!("CARGO_PKG_VERSION")
    )
}

/// One or two sentences: what came out.
fn lead(facts: &Facts) -> String {
    let done = facts.generations.len();
    let asked = facts.problem.generations;
    let progress = format!("{done} of {asked} generations searched");
    let Some(evaluation) = &facts.evaluation else {
        return format!("{progress}; the models are not measured yet.");
    };
    let best = evaluation.trained.as_ref().unwrap_or(&evaluation.pruned);
    let share = percent(best.parameters, evaluation.dense.parameters);
    let (dense, now) = (&evaluation.dense.perplexity, &best.perplexity);
    format!(
        "{progress}. The result has {share} of the dense model's parameters; perplexity {} where the dense \
         model has {}, and a uniform one of its size {}.",
        escaped(now),
        escaped(dense),
        escaped(&evaluation.uniform.perplexity)
    )
}

fn map(facts: &Facts) -> String {
    let shades = [
        (
            "linear-gradient(90deg,var(--one) 50%,var(--two) 50%);opacity:.08",
            "whole",
        ),
        (
            "linear-gradient(90deg,var(--one) 50%,var(--two) 50%)",
            "removed",
        ),
    ];
    format!(
        "<div class=\"wide\">{}</div>\n{}\n<p class=\"note\">In each cell the module's level; below, the block.</p>",
        charts::survivor(facts),
        keys(&shades)
    )
}

fn training(facts: &Facts, curve: &str, each: usize) -> String {
    let steps = facts.training.as_ref().map_or(0, |of| of.losses.len());
    let each = match each {
        1 => "a point for each".to_owned(),
        more => format!("each point the mean of {more}"),
    };
    let note = format!("The loss that was trained on, in {steps} steps, {each}.");
    format!("<figure>{curve}<figcaption>{note}</figcaption></figure>")
}
