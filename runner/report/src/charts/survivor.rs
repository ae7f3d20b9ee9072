//! Where the survivor is thin: a row for each kind of module, a column for each block.

use darwinlm_search::{Module, ModuleKind};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};

use super::{ONE, SMALL, TEXT, TWO, pixel, svg, text_style};
use crate::Facts;

/// Room for the names at the left.
const NAMES: u32 = 74;
/// Cells at least so wide hold the level.
const READABLE: u32 = 15;

/// Share of units removed in each module of the survivor: the more, the stronger; with its level.
pub(crate) fn survivor(facts: &Facts) -> String {
    let genome = facts.survivor();
    let blocks = genome.blocks();
    let cell = (960 / blocks.max(1)).clamp(12, 34);
    let size = (NAMES + cell * blocks + 1, 2 * cell + 28);
    svg(size, "Share of units removed, by block", |area| {
        let at = |column: u32, row: u32| (pixel(NAMES + column * cell), pixel(row * cell));
        let half = pixel(cell / 2);
        for (row, kind, color) in [(0, ModuleKind::Attention, ONE), (1, ModuleKind::Mlp, TWO)] {
            let ladder = &facts.problem.ladders[kind];
            let name = if row == 0 { "attention" } else { "MLP" };
            let style = text_style(TEXT, BLACK, 1.0, HPos::Left, VPos::Center);
            area.draw(&Text::new(name, (0, at(0, row).1 + half), style))?;
            for block in 0..blocks {
                let level = genome.level(Module { block, kind });
                let kept = ladder.units_kept(level).unwrap_or(0);
                let removed = 1.0 - f64::from(kept) / f64::from(ladder.units().max(1));
                let (from, to) = (at(block, row), at(block + 1, row + 1));
                let inner = (to.0 - 1, to.1 - 1);
                let shade = color.mix(0.08 + 0.87 * removed);
                area.draw(&Rectangle::new([from, inner], shade.filled()))?;
                if cell >= READABLE {
                    let style = text_style(SMALL, BLACK, 0.85, HPos::Center, VPos::Center);
                    let middle = (from.0 + half, from.1 + half);
                    area.draw(&Text::new(level.character().to_string(), middle, style))?;
                }
            }
        }
        for block in (0..blocks).step_by(if blocks > 40 { 8 } else { 4 }) {
            let (x, y) = at(block, 2);
            let style = text_style(TEXT, BLACK, 0.75, HPos::Center, VPos::Top);
            area.draw(&Text::new(block.to_string(), (x + half, y + 6), style))?;
        }
        Ok(())
    })
}
