//! Curves, with what they are held against as lines across.

use std::ops::Range;

use darwinlm_task::Measured;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};

use super::{ONE, TEXT, pixel, svg, text_style, whole};
use crate::{Facts, Training};

/// Of every curve: two stand side by side on a page, and one is read on a phone.
const SIZE: (u32, u32) = (440, 280);
/// Room for the names at the right.
const NAMES: u32 = 122;
/// Between the middles of two names.
const LINE: i32 = 16;
/// Most points of a loss curve.
const MOST_POINTS: usize = 240;

struct Curve<'a> {
    title: &'a str,
    x: (&'a str, f64),
    y: &'a str,
    points: Vec<(f64, f64)>,
    /// What the end of the curve is called.
    name: &'a str,
    /// Lines across, by name.
    lines: Vec<(&'a str, f64)>,
    /// Whether a value stays until the next one, rather than going there.
    stays: bool,
}

/// Validation KL of the survivor by generation: it stays as it is until another one is born.
pub(crate) fn validation_kl(facts: &Facts) -> Option<String> {
    let lines = lines(facts, &["uniform", "trained"], |of| of.kl.parse().ok());
    let points = by_generation(facts, |(kl, _)| kl)?;
    Some(drawn(Curve {
        title: "Validation KL of the survivor by generation",
        x: ("generation", f64::from(facts.problem.generations)),
        y: "KL to dense, nats per token",
        points,
        name: "searched",
        lines,
        stays: true,
    }))
}

/// Validation perplexity of the survivor by generation.
pub(crate) fn validation_perplexity(facts: &Facts) -> Option<String> {
    let all = ["dense", "uniform", "trained"];
    let lines = lines(facts, &all, |of| of.perplexity.parse().ok());
    let points = by_generation(facts, |(_, perplexity)| perplexity)?;
    Some(drawn(Curve {
        title: "Validation perplexity of the survivor by generation",
        x: ("generation", f64::from(facts.problem.generations)),
        y: "perplexity",
        points,
        name: "searched",
        lines,
        stays: true,
    }))
}

/// The loss of post-training; how many steps a point is the mean of.
pub(crate) fn loss(training: &Training) -> Option<(String, usize)> {
    let each = training.losses.len().div_ceil(MOST_POINTS).max(1);
    let points: Vec<_> = (0..)
        .zip(training.losses.chunks(each))
        .map(|(at, part)| {
            let mean = part.iter().sum::<f64>() / part.len() as f64;
            (training.tokens_after(at * each + part.len()), mean)
        })
        .filter(|(_, loss)| loss.is_finite())
        .collect();
    let curve = Curve {
        title: "Loss of post-training",
        x: ("tokens", training.tokens as f64),
        y: "loss, nats per token",
        points,
        name: "loss",
        lines: Vec::new(),
        stays: false,
    };
    (curve.points.len() > 1).then(|| (drawn(curve), each))
}

fn by_generation(facts: &Facts, value: impl Fn((f64, f64)) -> f64) -> Option<Vec<(f64, f64)>> {
    let of = |born: u32| facts.validation.get(&born).copied().map(&value);
    let first = of(0).map(|value| (0.0, value));
    let rest = facts.generations.iter().filter_map(|generation| {
        let value = of(generation.survivor.born_in_generation)?;
        Some((f64::from(generation.generation), value))
    });
    let points: Vec<_> = first.into_iter().chain(rest).collect();
    (points.len() > 1).then_some(points)
}

/// The figures of these models, where they were measured.
fn lines<'a>(
    facts: &Facts,
    names: &[&'a str],
    value: impl Fn(&Measured) -> Option<f64>,
) -> Vec<(&'a str, f64)> {
    let Some(evaluation) = &facts.evaluation else {
        return Vec::new();
    };
    let of = |name: &'a str| {
        let measured = match name {
            "dense" => Some(&evaluation.dense),
            "uniform" => Some(&evaluation.uniform),
            _ => evaluation.trained.as_ref(),
        };
        let value = measured.and_then(&value)?;
        value.is_finite().then_some((name, value))
    };
    names.iter().filter_map(|name| of(name)).collect()
}

fn drawn(curve: Curve<'_>) -> String {
    let Curve {
        title,
        x: (x, most),
        y,
        points,
        name,
        lines,
        stays,
    } = curve;
    let of_lines = lines.iter().map(|&(_, value)| value);
    let range = range(points.iter().map(|&(_, value)| value).chain(of_lines));
    let (shown, span) = (places(&range), 0.0..most.max(1.0));
    // One place more than the labels have: what stands between two of them is told, too.
    let finer = shown + 1;
    svg(SIZE, title, |area| {
        let mut chart = ChartBuilder::on(area)
            .margin(6)
            .margin_right(NAMES)
            .x_label_area_size(44)
            .y_label_area_size(70)
            .build_cartesian_2d(span, range)?;
        let label = text_style(TEXT, BLACK, 0.75, HPos::Center, VPos::Center);
        chart
            .configure_mesh()
            .disable_x_mesh()
            .max_light_lines(0)
            .bold_line_style(BLACK.mix(0.12))
            .axis_style(BLACK.mix(0.4))
            .x_labels(5)
            .y_labels(6)
            .x_desc(x)
            .y_desc(y)
            .label_style(("sans-serif", TEXT).into_font().color(&BLACK.mix(0.75)))
            .axis_desc_style(label)
            .x_label_formatter(&counted)
            .y_label_formatter(&|value| format!("{value:.shown$}"))
            .draw()?;
        for &(_, value) in &lines {
            let across = [(0.0, value), (most.max(1.0), value)];
            chart.draw_series(DashedLineSeries::new(
                across,
                4,
                4,
                BLACK.mix(0.45).stroke_width(1),
            ))?;
        }
        let path: Vec<_> = match stays {
            true => steps(&points),
            false => points.clone(),
        };
        chart.draw_series(LineSeries::new(path, ONE.stroke_width(2)))?;
        if stays {
            let born = points.windows(2).filter(|pair| pair[0].1 != pair[1].1);
            chart.draw_series(born.map(|pair| Circle::new(pair[1], 3, ONE.filled())))?;
        }
        let end = points.last().map(|&(_, value)| (name, value, true));
        let rest = lines.iter().map(|&(name, value)| (name, value, false));
        let mut names: Vec<_> = end
            .into_iter()
            .chain(rest)
            .map(|(name, value, is_curve)| {
                let (right, at) = chart.backend_coord(&(most.max(1.0), value));
                (at, right + 6, format!("{name} {value:.finer$}"), is_curve)
            })
            .collect();
        names.sort();
        let apart = spread(names.iter().map(|name| name.0).collect());
        for ((_, right, text, is_curve), at) in names.into_iter().zip(apart) {
            let (color, strength) = if is_curve { (ONE, 1.0) } else { (BLACK, 0.75) };
            let style = text_style(TEXT, color, strength, HPos::Left, VPos::Center);
            area.draw(&Text::new(text, (right, at), style))?;
        }
        Ok(())
    })
}

/// Every value stays until the next one.
fn steps(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let corners = points
        .windows(2)
        .flat_map(|pair| [pair[0], (pair[1].0, pair[0].1)]);
    corners.chain(points.last().copied()).collect()
}

/// Heights in order, moved so far down that no two touch; none leaves the drawing.
fn spread(mut heights: Vec<i32>) -> Vec<i32> {
    let mut lowest = pixel(SIZE.1) - LINE / 2;
    let mut next = i32::MIN;
    for height in &mut heights {
        *height = (*height).max(next);
        next = *height + LINE;
    }
    for height in heights.iter_mut().rev() {
        *height = (*height).min(lowest);
        lowest = *height - LINE;
    }
    heights
}

/// A range that holds all of these, with some room, and is never empty.
fn range(values: impl Iterator<Item = f64>) -> Range<f64> {
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

/// Places after the point that tell two labels apart.
fn places(range: &Range<f64>) -> usize {
    let step = (range.end - range.start) / 6.0;
    let places = (1.0 - step.log10()).floor().clamp(0.0, 9.0);
    // From 0 to 9.
    places as usize
}

/// A whole number, by thousands where it is large; others have no label.
fn counted(number: &f64) -> String {
    match whole(number) {
        text if text.is_empty() || *number < 10_000.0 => text,
        _ if *number < 10_000_000.0 => format!("{}k", number / 1000.0),
        _ => format!("{}M", number / 1_000_000.0),
    }
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

    #[test]
    fn names_never_touch_and_stay_within_the_drawing() {
        assert_eq!(spread(vec![10, 12, 100]), [10, 26, 100]);
        let low = pixel(SIZE.1) - LINE / 2;
        assert_eq!(spread(vec![low, low + 9]), [low - LINE, low]);
    }

    #[test]
    fn labels_have_the_places_that_tell_them_apart() {
        assert_eq!(places(&(0.0..60.0)), 0);
        assert_eq!(places(&(30.0..33.0)), 1);
        assert_eq!(places(&(0.51..0.55)), 3);
    }

    #[test]
    fn a_long_loss_curve_is_told_by_means() {
        let training = Training {
            tokens: 1000,
            losses: (0..1000)
                .map(|step| 9.0 - f64::from(step) / 500.0)
                .collect(),
        };
        let (drawing, each) = loss(&training).unwrap();
        assert_eq!(each, 5);
        assert!(drawing.contains("var(--one)") && drawing.len() < 20_000);
        let none = Training {
            tokens: 1,
            losses: vec![f64::NAN, 1.0],
        };
        assert!(loss(&none).is_none());
    }
}
