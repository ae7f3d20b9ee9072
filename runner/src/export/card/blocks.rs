//! What is left of every block.

use darwinlm_search::{Module, ModuleKind};

use super::Card;

pub(super) fn table(card: &Card<'_>) -> String {
    let Card {
        shape,
        ladders,
        genome,
        ..
    } = card;
    let kept = |block, kind| {
        let level = genome.level(Module { block, kind });
        ladders[kind].units_kept(level).unwrap_or_default()
    };
    let cell = |kept: u32| match kept {
        0 => "removed".to_owned(),
        kept => kept.to_string(),
    };
    let rows = (0..shape.blocks).map(|block| {
        let (queries, keys) = shape.heads_at(kept(block, ModuleKind::Attention));
        let columns = cell(kept(block, ModuleKind::Mlp));
        let (queries, keys) = (cell(queries), cell(keys));
        format!("| {block} | {queries} | {keys} | {columns} |\n")
    });
    format!(
        "## Blocks\n\n| block | query heads kept | key-value heads kept | mlp columns kept |\n\
         |---:|---:|---:|---:|\n{}| of | {} | {} | {} |\n\n\
         The genome, one base-36 level per block, 0 for dense: attention `{}`, mlp `{}`.\n\n",
        rows.collect::<String>(),
        shape.query_heads,
        shape.key_value_heads,
        shape.intermediate,
        characters(card, ModuleKind::Attention),
        characters(card, ModuleKind::Mlp),
    )
}

fn characters(card: &Card<'_>, kind: ModuleKind) -> String {
    let of_kind = card
        .genome
        .modules()
        .filter(|(module, _)| module.kind == kind);
    of_kind.map(|(_, level)| level.character()).collect()
}
