//! The YAML that the Hub reads.

use super::Card;

pub(super) fn text(card: &Card<'_>) -> String {
    let base = card.base_model;
    let base = base.map(|name| format!("base_model: {name}\n"));
    format!(
        "---\nlibrary_name: transformers\npipeline_tag: text-generation\n{}tags:\n- darwinlm\n\
         - pruned\n- structured-pruning\n- {}\n---\n\n",
        base.unwrap_or_default(),
        card.family.model_type()
    )
}

/// A name on the Hub, `owner/model`; configurations also hold paths of their makers' machines.
pub fn hub_name(written: &str) -> Option<&str> {
    let plain = |part: &str| {
        let within = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        part.starts_with(|c: char| c.is_ascii_alphanumeric()) && part.chars().all(within)
    };
    let (owner, model) = written.split_once('/')?;
    (plain(owner) && plain(model)).then_some(written)
}
