//! A generation's selection as a tree: the parent, its offspring, and how far each of them came.

use darwinlm_search::Outcome;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};

use super::{Area, Done, ONE, TEXT, pixel, svg, text_style};
use crate::race::Runner;

/// Rows that are drawn at most, the best; the table beside the drawing holds everybody.
pub(crate) const MOST_ROWS: usize = 40;

const ROW: i32 = 26;
const HEAD: i32 = 28;
/// Where the branches of the offspring begin.
const TRUNK: i32 = 66;
/// Where offspring are named.
const NAMED: i32 = 124;
/// Where the first step stands, and how far it is to the next one.
const FIRST: i32 = 364;
const STEP: i32 = 140;
/// How wide a letter is, by and large, and how wide a fitness is.
const LETTER: i32 = 7;
const FITNESS: i32 = 78;

/// A drawing, and how many it leaves out.
pub(crate) struct Drawn {
    /// SVG.
    pub(crate) drawing: String,
    /// Those that fell out first.
    pub(crate) left_out: usize,
}

/// The tree of a race, the survivor on top.
pub(crate) fn tree(runners: &[Runner], steps: usize) -> Drawn {
    let shown = &runners[..runners.len().min(MOST_ROWS)];
    let height = HEAD + ROW * pixel(shown.len()) + 4;
    let width = FIRST + STEP * pixel(steps);
    let size = [width, height].map(|pixels| u32::try_from(pixels).unwrap_or(0));
    let drawing = svg((size[0], size[1]), "Who fell out in which step", |area| {
        heads(area, steps)?;
        let middle = HEAD + ROW * pixel(shown.len()) / 2;
        for (row, runner) in (0..).zip(shown) {
            branch(area, runner, middle, HEAD + ROW * row + ROW / 2)?;
        }
        area.draw(&Circle::new((TRUNK - 4, middle), 5, BLACK.filled()))?;
        let style = text_style(TEXT, BLACK, 1.0, HPos::Right, VPos::Center);
        area.draw(&Text::new("parent", (TRUNK - 13, middle), style))?;
        Ok(())
    });
    Drawn {
        drawing,
        left_out: runners.len() - shown.len(),
    }
}

fn heads(area: &Area<'_>, steps: usize) -> Done {
    for step in 0..pixel(steps) {
        let style = text_style(TEXT, BLACK, 0.75, HPos::Left, VPos::Center);
        let at = (FIRST + STEP * step - 5, HEAD / 2);
        area.draw(&Text::new(format!("step {}", step + 1), at, style))?;
    }
    Ok(())
}

/// From the parent to a candidate, and on through the steps that it ran in.
fn branch(area: &Area<'_>, runner: &Runner, middle: i32, at: i32) -> Done {
    let (color, strength, stroke) = match runner.is_survivor {
        true => (ONE, 1.0, 3),
        false => (BLACK, 0.35, 1),
    };
    let line = color.mix(strength).stroke_width(stroke);
    let bend = [(TRUNK, middle), (TRUNK + 18, at), (NAMED - 6, at)];
    area.draw(&PathElement::new(bend, line))?;
    let (color, strength) = match runner.is_survivor {
        true => (ONE, 1.0),
        false => (BLACK, 0.85),
    };
    let name = format!("{} · {}", runner.slot, runner.what.words());
    let end = NAMED + LETTER * pixel(name.chars().count());
    let style = text_style(TEXT, color, strength, HPos::Left, VPos::Center);
    area.draw(&Text::new(name, (NAMED, at), style))?;
    let first = runner.outcomes.iter().position(Option::is_some);
    if let Some(first) = first.map(|step| FIRST + STEP * pixel(step) - 8)
        && first > end
    {
        area.draw(&PathElement::new([(end, at), (first, at)], line))?;
    }
    let last = runner.last_step();
    for (step, outcome) in runner.outcomes.iter().enumerate() {
        let Some(outcome) = outcome else { continue };
        let x = FIRST + STEP * pixel(step);
        let goes_on = runner.outcomes.get(step + 1).is_some_and(Option::is_some);
        if goes_on {
            let on = [(x + FITNESS, at), (x + STEP - 8, at)];
            area.draw(&PathElement::new(on, line))?;
        }
        let stays = goes_on || runner.is_survivor;
        if last == Some(step) && !stays {
            // Fell out here.
            for slope in [-4, 4] {
                let stroke = [(x - 4, at - slope), (x + 4, at + slope)];
                area.draw(&PathElement::new(stroke, BLACK.mix(0.6).stroke_width(1)))?;
            }
        } else {
            let size = if runner.is_survivor { 5 } else { 4 };
            area.draw(&Circle::new((x, at), size, color.mix(strength).filled()))?;
        }
        let style = text_style(TEXT, color, strength, HPos::Left, VPos::Center);
        area.draw(&Text::new(told(*outcome), (x + 10, at), style))?;
    }
    Ok(())
}

fn told(outcome: Outcome) -> String {
    match outcome.fitness() {
        Some(fitness) => format!("{:.5}", fitness.get()),
        None => "not finite".to_owned(),
    }
}
