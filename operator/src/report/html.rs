//! The page: words, tables and drawings in one file, without script, style sheet or font of elsewhere.

use std::fmt::Display;

use darwinlm_search::{GenerationEntry, TrialEntry};
use darwinlm_task::{EvaluationReport, GpuSeconds, Measured};

use super::charts;
use super::facts::{Facts, changed};
use crate::local::evaluation::grouped;

/// Light and dark by the reader's choice; one column on a phone; no shadows on paper.
const STYLE: &str = "\
:root{color-scheme:light dark;--line:#8884}
body{font:16px/1.5 system-ui,sans-serif;max-width:72rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.6rem;margin:0}h2{font-size:1.15rem;margin:2.2rem 0 .6rem}
.lead{font-size:1.1rem;margin:.4rem 0 1rem}
table{border-collapse:collapse;font-variant-numeric:tabular-nums}
.wide{overflow-x:auto}
th,td{padding:.25rem .9rem .25rem 0;text-align:right;border-bottom:1px solid var(--line);white-space:nowrap}
td:has(.digest){white-space:normal;text-align:left}
th:first-child,td:first-child{text-align:left}
tr.best td{font-weight:600}
svg{max-width:100%;height:auto}
.wide svg{max-width:none}
code,.digest{font-family:ui-monospace,monospace;font-size:.9em;overflow-wrap:anywhere}
.bar{display:flex;height:1.2rem;border-radius:.3rem;overflow:hidden;margin:.4rem 0}
.bar span{display:block}
.key{display:inline-block;width:.8em;height:.8em;border-radius:.15em;margin:0 .35em 0 .9em}
footer{margin-top:3rem;color:GrayText;font-size:.9em}
@media print{body{margin:0;max-width:none}h2{break-after:avoid}svg,table{break-inside:avoid}}";

/// Colours of the causes, in the order of [`GpuSeconds`].
const CAUSES: [(&str, &str); 4] = [
    ("useful", "#2e8b57"),
    ("starting", "#4682b4"),
    ("waiting", "#d4a017"),
    ("lost", "#c0392b"),
];

/// The whole page.
pub fn page(facts: &Facts) -> String {
    let run = escaped(&facts.run);
    let mut body = format!("<h1>{run}</h1>\n<p class=\"lead\">{}</p>\n", lead(facts));
    if let Some(evaluation) = &facts.evaluation {
        section(
            &mut body,
            "Dense, uniform, searched, trained",
            &models(evaluation),
        );
    }
    if let Some(chart) = charts::validation_kl(facts) {
        section(&mut body, "Validation by generation", &chart);
    }
    let keys = "<p><span class=\"key\" style=\"background:#fae9e1\"></span>whole\
        <span class=\"key\" style=\"background:#a93c18\"></span>removed</p>";
    let map = format!(
        "<div class=\"wide\">{}</div>\n{keys}",
        charts::survivor(facts)
    );
    section(
        &mut body,
        "Where the survivor is thin: share of units removed, by block",
        &map,
    );
    let keys = "<p><span class=\"key\" style=\"background:#1f77b4\"></span>attention\
        <span class=\"key\" style=\"background:#e67e22\"></span>MLP</p>";
    section(
        &mut body,
        "Levels of the survivor",
        &(charts::levels(facts) + keys),
    );
    if let Some(last) = facts.generations.last() {
        let title = format!("Selection in generation {}", last.generation);
        section(&mut body, &title, &selection(last));
    }
    section(
        &mut body,
        "Offspring by what they changed",
        &mutations(facts),
    );
    section(
        &mut body,
        "Where the device time went",
        &seconds(&facts.seconds),
    );
    section(&mut body, "Provenance", &provenance(facts));
    section(&mut body, "To reproduce", &reproduce(facts));
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n\
         <title>{run} – DarwinLM</title>\n<style>\n{STYLE}\n</style>\n</head>\n<body>\n{body}\
         <footer>Written by darwinlm {} out of the run's ledger; the digest names the search.</footer>\n\
         </body>\n</html>\n",
        env!("CARGO_PKG_VERSION")
    )
}

fn section(body: &mut String, title: &str, content: &str) {
    *body += &format!(
        "<section>\n<h2>{}</h2>\n{content}\n</section>\n",
        escaped(title)
    );
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

fn percent(part: u64, of: u64) -> String {
    format!("{:.1} %", 100.0 * part as f64 / of.max(1) as f64)
}

fn row<T: Display>(cells: impl IntoIterator<Item = T>, kind: &str, class: &str) -> String {
    let cells: String = cells
        .into_iter()
        .map(|cell| format!("<{kind}>{cell}</{kind}>"))
        .collect();
    format!("<tr{class}>{cells}</tr>\n")
}

fn table(heads: &[&str], rows: &str) -> String {
    let heads = row(heads.iter().map(|head| escaped(head)), "th", "");
    format!("<div class=\"wide\"><table>\n{heads}{rows}</table></div>")
}

fn models(evaluation: &EvaluationReport) -> String {
    let named = [
        ("dense", Some(&evaluation.dense)),
        ("uniform", Some(&evaluation.uniform)),
        ("searched", Some(&evaluation.pruned)),
        ("trained", evaluation.trained.as_ref()),
    ];
    let last = if evaluation.trained.is_some() {
        "trained"
    } else {
        "searched"
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
        let class = if name == last { " class=\"best\"" } else { "" };
        let cells = [
            name.to_owned(),
            grouped(*parameters),
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
    table(&heads, &rows)
}

/// Each candidate with its fitness in each step, the survivor in bold.
fn selection(generation: &GenerationEntry) -> String {
    let GenerationEntry {
        parent,
        offspring,
        steps,
        survivor,
        ..
    } = generation;
    let mut rows = String::new();
    let candidates = offspring.iter().chain([parent]);
    for (slot, candidate) in (0_u32..).zip(candidates) {
        let is_parent = candidate == parent;
        let what = match changed(parent, candidate) {
            Some(changed) => format!("changes {}", changed.words()),
            None if is_parent => "the parent".to_owned(),
            None => "the same as its parent".to_owned(),
        };
        let of_step = steps.iter().map(|step| {
            let trial = step.trials.iter().find(|trial| trial.slot == slot);
            trial.map_or_else(|| "–".to_owned(), outcome)
        });
        let cells = [slot.to_string(), what].into_iter().chain(of_step);
        let is_survivor = *candidate == survivor.genome;
        let class = if is_survivor { " class=\"best\"" } else { "" };
        rows += &row(cells, "td", class);
    }
    let names: Vec<_> = (1..=steps.len())
        .map(|step| format!("step {step}"))
        .collect();
    let mut heads = vec!["candidate", "what it is"];
    heads.extend(names.iter().map(String::as_str));
    let words = "<p>Fitness in each step, lower is better; – where it was not in the race: the parent enters it in the last step. The survivor is bold.</p>";
    format!("{words}\n{}", table(&heads, &rows))
}

fn outcome(trial: &TrialEntry) -> String {
    match trial.outcome.fitness() {
        Some(fitness) => format!("{:.5}", fitness.get()),
        None => "not finite".to_owned(),
    }
}

fn mutations(facts: &Facts) -> String {
    let rows: String = facts
        .mutations
        .iter()
        .map(|(changed, fared)| {
            let cells = [
                changed.words().to_owned(),
                fared.bred.to_string(),
                fared.survived.to_string(),
                percent(fared.survived.into(), fared.bred.into()),
            ];
            row(cells, "td", "")
        })
        .collect();
    if rows.is_empty() {
        return "<p>No generation is finished yet.</p>".to_owned();
    }
    table(&["changed", "bred", "became the parent", "share"], &rows)
}

fn seconds(seconds: &GpuSeconds) -> String {
    let GpuSeconds {
        useful,
        starting,
        waiting,
        lost,
    } = *seconds;
    let parts = [useful, starting, waiting, lost];
    let all = parts
        .iter()
        .fold(0_u64, |sum, part| sum.saturating_add(*part));
    if all == 0 {
        return "<p>No worker has kept an account yet.</p>".to_owned();
    }
    let (mut bar, mut rows) = (String::new(), String::new());
    for ((name, color), part) in CAUSES.into_iter().zip(parts) {
        let share = percent(part, all);
        let width = share.replace(' ', "");
        bar += &format!("<span style=\"width:{width};background:{color}\"></span>");
        let key = format!("<span class=\"key\" style=\"background:{color}\"></span>{name}");
        rows += &row([key, grouped(part), share], "td", "");
    }
    let heads = ["by the workers' accounts", "seconds", "share"];
    format!("<div class=\"bar\">{bar}</div>\n{}", table(&heads, &rows))
}

fn provenance(facts: &Facts) -> String {
    let problem = &facts.problem;
    let pins = &problem.pins;
    let devices: Vec<_> = facts.devices.iter().cloned().collect();
    let mut lines = vec![
        ("digest of the search", facts.digest.clone()),
        ("seed", problem.seed.to_string()),
        ("level database", pins.level_database.to_string()),
        ("training tokens", pins.training_tokens.to_string()),
        ("fitness tokens", pins.fitness_tokens.to_string()),
        ("numerics", pins.numerics_plan.to_string()),
        ("devices of the trials", devices.join(", ")),
        (
            "written by",
            format!("darwinlm {}", env!("CARGO_PKG_VERSION")),
        ),
    ];
    if let Some(plan) = &facts.plan {
        lines.push(("model", plan.model.clone()));
        lines.push(("dense parameters", grouped(plan.dense_parameters)));
        lines.extend(
            plan.fetched
                .iter()
                .map(|from| ("fetched", from.from.clone())),
        );
    }
    let rows: String = lines
        .into_iter()
        .map(|(name, text)| {
            let cells = [
                name.to_owned(),
                format!("<span class=\"digest\">{}</span>", escaped(&text)),
            ];
            row(cells, "td", "")
        })
        .collect();
    format!("<div class=\"wide\"><table>\n{rows}</table></div>")
}

fn reproduce(facts: &Facts) -> String {
    let (store, run) = (escaped(&facts.store), escaped(&facts.run));
    format!(
        "<p>The same spec with the same model and data gives the same digest, on any number of workers:</p>\n\
         <pre><code>darwinlm run -f run.yaml --store DIR</code></pre>\n\
         <p>Without the model, from the ledger alone, every mutation and selection can be replayed:</p>\n\
         <pre><code>darwinlm verify {store} --run {run}</code></pre>"
    )
}

/// Text that means itself in HTML.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_a_run_is_taken_for_markup() {
        assert_eq!(escaped("a<b>&\"c"), "a&lt;b&gt;&amp;&quot;c");
    }

    #[test]
    fn device_time_is_told_by_its_shares() {
        let told = seconds(&GpuSeconds {
            useful: 900,
            lost: 100,
            ..GpuSeconds::default()
        });
        assert!(
            told.contains("width:90.0%") && told.contains("<td>10.0 %</td>"),
            "{told}"
        );
        assert!(seconds(&GpuSeconds::default()).contains("No worker"));
    }
}
