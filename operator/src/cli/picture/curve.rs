//! The survivors' figure by generation, drawn two lines high.

use super::NAMES;

/// Heights of a cell.
const CELL: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// Room right of the curve, for its first and its last figure.
const FIGURES: usize = 14;
/// A generation is at most so many columns wide.
const WIDEST: usize = 4;

/// A figure of every generation's survivor, lower being better.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::cli) struct Curve {
    name: &'static str,
    points: Vec<f64>,
}

impl Curve {
    /// The curve through what is known; a generation whose figure is not known keeps the one before.
    /// None where nothing is known.
    pub(in crate::cli) fn of(name: &'static str, known: &[Option<f64>]) -> Option<Self> {
        let mut last = None;
        let points: Vec<f64> = known
            .iter()
            .filter_map(|point| {
                last = point.filter(|point| point.is_finite()).or(last);
                last
            })
            .collect();
        (!points.is_empty()).then_some(Self { name, points })
    }

    /// Two lines: the upper half with the first figure, the lower half with the last.
    pub(super) fn lines(&self, width: usize) -> Vec<String> {
        let Self { name, points } = self;
        let columns = width.saturating_sub(NAMES + FIGURES).max(1);
        let heights = heights(&drawn(points, columns));
        let row = |of: fn(usize) -> usize| -> String {
            heights.iter().map(|height| CELL[of(*height)]).collect()
        };
        let upper = row(|height| height.saturating_sub(8));
        let lower = row(|height| height.min(8));
        let (first, last) = (points[0], points[points.len() - 1]);
        vec![
            format!("  {name:<12}{upper}  from {first:.4}"),
            format!("  {:<12}{lower}  to   {last:.4}", ""),
        ]
    }
}

/// The points as so many columns at most: each several columns wide, or one of several.
fn drawn(points: &[f64], columns: usize) -> Vec<f64> {
    let wide = (columns / points.len()).clamp(1, WIDEST);
    if points.len() <= columns {
        let wide = points.iter().flat_map(|point| vec![*point; wide]);
        return wide.collect();
    }
    // The last of each group: the last column is the last generation.
    (1..=columns)
        .map(|column| points[column * points.len() / columns - 1])
        .collect()
}

/// Heights from 1 to 16; one that never changes is half as high.
fn heights(points: &[f64]) -> Vec<usize> {
    let least = points.iter().copied().fold(f64::INFINITY, f64::min);
    let most = points.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let height = |point: &f64| {
        if most <= least {
            return 8;
        }
        let part = (point - least) / (most - least) * 15.0;
        (1..=15)
            .filter(|step| part.round() >= f64::from(*step))
            .count()
            + 1
    };
    points.iter().map(height).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_curve_falls_from_the_highest_to_the_lowest() {
        let curve = Curve::of("validation", &[Some(0.5), Some(0.3), None, Some(0.1)]);
        let lines = curve.expect("something is known").lines(80);
        assert_eq!(lines[0], "  validation  ████              from 0.5000");
        assert_eq!(lines[1], "              ████████████▁▁▁▁  to   0.1000");
    }

    #[test]
    fn more_generations_than_columns_keep_the_first_and_the_last() {
        let many: Vec<f64> = (0..1000).map(f64::from).collect();
        let drawn = drawn(&many, 10);
        assert_eq!(drawn.len(), 10);
        assert_eq!((drawn[0], drawn[9]), (99.0, 999.0));
        assert_eq!(heights(&[2.0, 2.0]), [8, 8]);
        assert_eq!(heights(&[0.0, 1.0]), [1, 16]);
    }

    #[test]
    fn nothing_is_drawn_of_nothing() {
        assert_eq!(Curve::of("fitness", &[None, None]), None);
        assert_eq!(Curve::of("fitness", &[]), None);
    }
}
