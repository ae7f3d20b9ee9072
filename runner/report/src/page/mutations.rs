//! How offspring fared, by the kind of what they changed and by how many levels moved.

use std::collections::BTreeMap;

use super::markup::{row, table};
use crate::numbers::percent;
use crate::race::levels_in_words;
use crate::{Changed, Facts, Fared};

pub(super) fn told(facts: &Facts) -> String {
    let mut kinds: BTreeMap<Changed, (Fared, String)> = BTreeMap::new();
    for (mutation, fared) in &facts.mutations {
        let (sum, parts) = kinds.entry(mutation.changed).or_default();
        sum.bred += fared.bred;
        sum.survived += fared.survived;
        *parts += &line(&levels_in_words(mutation.levels), *fared, "part");
    }
    let rows: String = kinds
        .into_iter()
        .map(|(changed, (sum, parts))| line(changed.words(), sum, "") + &parts)
        .collect();
    if rows.is_empty() {
        return "<p>No generation is finished yet.</p>".to_owned();
    }
    let heads = ["changed", "bred", "became the parent", "share", ""];
    format!(
        "{}\n<p class=\"note\">Levels: how many went from some modules to others.</p>",
        table(&heads, &rows)
    )
}

fn line(name: &str, Fared { bred, survived }: Fared, class: &str) -> String {
    let share = percent(survived.into(), bred.into());
    let width = share.replace(' ', "");
    let cells = [
        name.to_owned(),
        bred.to_string(),
        survived.to_string(),
        share,
        format!("<span class=\"track\"><span style=\"width:{width}\"></span></span>"),
    ];
    row(cells, "td", class)
}
