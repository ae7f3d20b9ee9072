//! The page's drawings, as SVG. Ink is `currentColor`, so that they are read in the dark, too.

use darwinlm_search::{Module, ModuleKind};
use plotters::coord::Shift;
use plotters::prelude::*;

use super::facts::{Facts, of_kind};

const BLUE: RGBColor = RGBColor(31, 119, 180);
const ORANGE: RGBColor = RGBColor(230, 126, 34);
const INK: &str = "currentColor";

type Drawn = Result<(), Box<dyn std::error::Error>>;

/// Draws on so many pixels.
fn svg(
    size: (u32, u32),
    title: &str,
    draw: impl FnOnce(&DrawingArea<SVGBackend<'_>, Shift>) -> Drawn,
) -> String {
    let mut text = String::new();
    {
        let area = SVGBackend::with_string(&mut text, size).into_drawing_area();
        let drawn = draw(&area).and_then(|()| Ok(area.present()?));
        // Into a string, in ranges that are never empty: nothing can fail.
        drawn.expect("a drawing on a string succeeds");
    }
    let (width, height) = size;
    let own_size = format!("width=\"{width}\" height=\"{height}\" viewBox");
    // As wide as the page at most, and never blown up.
    let label = format!("role=\"img\" aria-label=\"{title}\" style=\"width:{width}px\" viewBox");
    text.replacen(&own_size, &label, 1).replace("#000000", INK)
}

/// A whole number's label; others have none.
fn whole(number: &f64) -> String {
    match (number - number.round()).abs() < 1e-6 {
        true => format!("{number:.0}"),
        false => String::new(),
    }
}

/// A range that holds all of these, with some room, and is never empty.
fn range(values: impl Iterator<Item = f64>) -> std::ops::Range<f64> {
    let (low, high) = values
        .filter(|value| value.is_finite())
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
            (low.min(value), high.max(value))
        });
    if !low.is_finite() {
        return 0.0..1.0;
    }
    let room = ((high - low) * 0.08).max(high.abs() * 1e-3).max(1e-9);
    (low - room).max(0.0)..high + room
}

/// Validation KL of the survivor by generation: it stays as it is until another one is born.
pub(super) fn validation_kl(facts: &Facts) -> Option<String> {
    let mut points = Vec::new();
    let of = |born: u32| facts.validation.get(&born).map(|(kl, _)| *kl);
    points.extend(of(0).map(|kl| (0.0, kl)));
    for generation in &facts.generations {
        let kl = of(generation.survivor.born_in_generation);
        points.extend(kl.map(|kl| (f64::from(generation.generation), kl)));
    }
    if points.len() < 2 {
        return None;
    }
    let generations = f64::from(facts.problem.generations).max(1.0);
    let title = "Validation KL of the survivor by generation";
    Some(svg((640, 280), title, |area| {
        let mut chart = ChartBuilder::on(area)
            .margin(10)
            .x_label_area_size(36)
            .y_label_area_size(64)
            .build_cartesian_2d(0.0..generations, range(points.iter().map(|(_, kl)| *kl)))?;
        chart
            .configure_mesh()
            .disable_x_mesh()
            .x_desc("generation")
            .y_desc("KL, nats per token")
            .x_label_formatter(&whole)
            .light_line_style(TRANSPARENT)
            .draw()?;
        // A step for each generation that has the same survivor.
        let steps = points
            .windows(2)
            .flat_map(|pair| [pair[0], (pair[1].0, pair[0].1)]);
        let steps: Vec<_> = steps.chain(points.last().copied()).collect();
        chart.draw_series(LineSeries::new(steps, BLUE.stroke_width(2)))?;
        let born = points
            .windows(2)
            .filter(|pair| (pair[0].1 - pair[1].1).abs() > 0.0);
        chart.draw_series(born.map(|pair| Circle::new(pair[1], 3, BLUE.filled())))?;
        Ok(())
    }))
}

/// Share of units removed in each module of the survivor: a row for each kind, a column for each block.
pub(super) fn survivor(facts: &Facts) -> String {
    let genome = facts.survivor();
    let blocks = genome.blocks();
    let cell = (880 / blocks.max(1)).clamp(12, 40);
    let size = (70 + cell * blocks, 2 * cell + 34);
    svg(size, "Share of units removed, by block", |area| {
        let at = |column: u32, row: u32| {
            let pixel = |number: u32| i32::try_from(number).unwrap_or(i32::MAX);
            (pixel(66 + column * cell), pixel(row * cell))
        };
        for (row, kind) in [(0, ModuleKind::Attention), (1, ModuleKind::Mlp)] {
            let ladder = of_kind(&facts.problem.ladders, kind);
            let name = if row == 0 { "attention" } else { "MLP" };
            let (_, top) = at(0, row);
            let middle = top + i32::try_from(cell / 2).unwrap_or(0) - 6;
            area.draw(&Text::new(name, (0, middle), ("sans-serif", 13)))?;
            for block in 0..blocks {
                let level = genome.level(Module { block, kind });
                let kept = ladder.units_kept(level).unwrap_or(0);
                let removed = 1.0 - f64::from(kept) / f64::from(ladder.units().max(1));
                let (from, to) = (at(block, row), at(block + 1, row + 1));
                let inner = (to.0 - 1, to.1 - 1);
                // One hue, from pale to deep: more removed is more ink.
                let shade = HSLColor(0.05, 0.75, 0.93 - 0.55 * removed);
                area.draw(&Rectangle::new([from, inner], shade.filled()))?;
            }
        }
        for block in (0..blocks).step_by(if blocks > 40 { 8 } else { 4 }) {
            let (x, y) = at(block, 2);
            area.draw(&Text::new(
                block.to_string(),
                (x + 2, y + 4),
                ("sans-serif", 12),
            ))?;
        }
        Ok(())
    })
}

/// Modules of each kind at each level.
pub(super) fn levels(facts: &Facts) -> String {
    let counts = facts.levels();
    let most = counts.attention.iter().chain(&counts.mlp).max();
    let (most, last) = (
        f64::from(*most.unwrap_or(&1)),
        counts.attention.len().max(counts.mlp.len()),
    );
    let levels = f64::from(u32::try_from(last).unwrap_or(u32::MAX));
    svg((640, 220), "Modules at each level", |area| {
        let mut chart = ChartBuilder::on(area)
            .margin(10)
            .x_label_area_size(36)
            .y_label_area_size(50)
            .build_cartesian_2d(0.0..levels, 0.0..most * 1.1)?;
        chart
            .configure_mesh()
            .disable_mesh()
            .x_desc("level (0 is dense)")
            .y_desc("modules")
            .x_label_formatter(&|x| whole(&(x - 0.5)))
            .y_label_formatter(&whole)
            .x_labels(2 * last + 1)
            .draw()?;
        for (counts, color, shift) in [(&counts.attention, BLUE, 0.1), (&counts.mlp, ORANGE, 0.5)] {
            let bars = (0_u32..).zip(counts).map(|(level, &count)| {
                let left = f64::from(level) + shift;
                Rectangle::new(
                    [(left, 0.0), (left + 0.4, f64::from(count))],
                    color.filled(),
                )
            });
            chart.draw_series(bars)?;
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_holds_everything_and_is_never_empty() {
        let of = |values: &[f64]| range(values.iter().copied());
        assert_eq!(of(&[]), 0.0..1.0);
        assert_eq!(of(&[f64::NAN]), 0.0..1.0);
        let one = of(&[2.0]);
        assert!(one.start < 2.0 && one.end > 2.0);
        let many = of(&[0.0, 5.0]);
        assert!(many.start <= 0.0 && many.end > 5.0);
    }
}
