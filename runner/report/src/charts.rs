//! The page's drawings, as SVG in two colours and ink, which the page's style makes those of the reader's
//! choice: light or dark.

mod curve;
mod levels;
mod survivor;
mod tree;

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

pub(crate) use curve::{loss, validation_kl, validation_perplexity};
pub(crate) use levels::levels;
pub(crate) use survivor::survivor;
pub(crate) use tree::{MOST_ROWS, tree};

/// Attention, and what is spoken of.
const ONE: RGBColor = RGBColor(1, 1, 1);
/// MLP, and what it is held against.
const TWO: RGBColor = RGBColor(2, 2, 2);

/// The size of letters, as the library counts: a browser's pixels are four fifths of it.
const TEXT: u32 = 16;
/// Letters in a narrow place.
const SMALL: u32 = 14;

/// What stands for a colour in a drawing, and what the style calls it.
const NAMES: [(&str, &str); 3] = [
    ("#010101", "var(--one)"),
    ("#020202", "var(--two)"),
    ("#000000", "currentColor"),
];

type Done = Result<(), Box<dyn std::error::Error>>;
type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// Draws on so many pixels.
fn svg(size: (u32, u32), title: &str, draw: impl FnOnce(&Area<'_>) -> Done) -> String {
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
    let text = text.replacen(&own_size, &label, 1);
    NAMES
        .iter()
        .fold(text, |text, (from, to)| text.replace(from, to))
}

/// How a text lies at its point.
fn text_style(size: u32, color: RGBColor, strength: f64, at: HPos, up: VPos) -> TextStyle<'static> {
    let style = ("sans-serif", size).into_font();
    style.color(&color.mix(strength)).pos(Pos::new(at, up))
}

/// A whole number's label; others have none.
fn whole(number: &f64) -> String {
    match (number - number.round()).abs() < 1e-6 {
        true => format!("{number:.0}"),
        false => String::new(),
    }
}

/// Pixels are few.
fn pixel(number: impl TryInto<i32>) -> i32 {
    number.try_into().unwrap_or(i32::MAX)
}
