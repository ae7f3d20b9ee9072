//! The survivors on held-out text, generation by generation.

use super::markup::{data, row, table};
use crate::Facts;
use crate::charts;
use crate::numbers::grouped;

pub(super) fn told(facts: &Facts) -> String {
    let curves: String = [
        charts::validation_kl(facts),
        charts::validation_perplexity(facts),
    ]
    .into_iter()
    .flatten()
    .map(|curve| format!("<figure>{curve}</figure>"))
    .collect();
    let curves = match curves.as_str() {
        "" => "<p>No two generations were measured yet.</p>".to_owned(),
        curves => format!(
            "<div class=\"pair\">{curves}</div>\n<p class=\"note\">A point is another survivor. Dashed: what it is \
             held against; the dense model's KL is 0.</p>"
        ),
    };
    format!(
        "{curves}\n<details><summary>The survivor of every generation</summary>\n{}\n</details>",
        survivors(facts)
    )
}

fn survivors(facts: &Facts) -> String {
    let figures = |born: u32| {
        let known = facts.validation.get(&born);
        known.map_or(["–".to_owned(), "–".to_owned()], |(kl, perplexity)| {
            [
                data(kl, &format!("{kl:.5}")),
                data(perplexity, &format!("{perplexity:.3}")),
            ]
        })
    };
    let line = |generation: u32, born: u32, fitness: String, parameters: u64| {
        let [kl, perplexity] = figures(born);
        let cells = [
            generation.to_string(),
            born.to_string(),
            fitness,
            kl,
            perplexity,
            data(parameters, &grouped(parameters)),
        ];
        row(cells, "td", "")
    };
    let start = facts.problem.parameters(&facts.problem.start);
    let mut rows = line(0, 0, "–".to_owned(), start);
    for generation in &facts.generations {
        let survivor = &generation.survivor;
        let fitness = survivor.fitness.map_or("–".to_owned(), |fitness| {
            data(fitness, &format!("{:.5}", fitness.get()))
        });
        rows += &line(
            generation.generation,
            survivor.born_in_generation,
            fitness,
            survivor.parameters,
        );
    }
    let heads = [
        "generation",
        "born in",
        "fitness",
        "validation KL",
        "perplexity",
        "parameters",
    ];
    table(&heads, &rows)
}
