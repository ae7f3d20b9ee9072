//! How many modules of each kind are at each level.

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};

use super::{ONE, SMALL, TEXT, TWO, pixel, svg, text_style, whole};
use crate::Facts;

/// Above the bars, for their numbers.
const HEAD: i32 = 20;
/// Room for the bars.
const HEIGHT: i32 = 150;

/// Two bars for each level, with their numbers.
pub(crate) fn levels(facts: &Facts) -> String {
    let counts = facts.levels();
    let levels = counts.attention.len().max(counts.mlp.len());
    let most = counts.attention.iter().chain(&counts.mlp).max();
    let most = pixel(*most.unwrap_or(&1)).max(1);
    let group = (900 / pixel(levels)).clamp(26, 64);
    let bar = (group - 6) / 2;
    let width = u32::try_from(group * pixel(levels) + 2).unwrap_or(900);
    let size = (width, u32::try_from(HEAD + HEIGHT + 24).unwrap_or(0));
    svg(size, "Modules at each level", |area| {
        let floor = HEAD + HEIGHT;
        for (counts, color, shift) in [(&counts.attention, ONE, 0), (&counts.mlp, TWO, bar)] {
            for (level, &count) in (0..).zip(counts) {
                let left = level * group + 3 + shift;
                let top = floor - pixel(count) * HEIGHT / most;
                if count == 0 {
                    continue;
                }
                let shape = [(left, top), (left + bar - 1, floor)];
                area.draw(&Rectangle::new(shape, color.filled()))?;
                let style = text_style(SMALL, BLACK, 0.85, HPos::Center, VPos::Bottom);
                let above = (left + bar / 2, top - 2);
                area.draw(&Text::new(count.to_string(), above, style))?;
            }
        }
        let line = [(0, floor), (group * pixel(levels), floor)];
        area.draw(&PathElement::new(line, BLACK.mix(0.4)))?;
        for level in 0..pixel(levels) {
            let style = text_style(TEXT, BLACK, 0.75, HPos::Center, VPos::Top);
            let below = (level * group + group / 2, floor + 6);
            area.draw(&Text::new(whole(&f64::from(level)), below, style))?;
        }
        Ok(())
    })
}
