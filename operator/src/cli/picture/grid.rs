//! Generations by selection steps.

use console::{measure_text_width, truncate_str};

/// Room for the number of a generation.
const NUMBER: usize = 12;
/// A step is at most so many columns wide.
const WIDEST: usize = 22;

/// A generation.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::cli) struct Row {
    pub(in crate::cli) generation: u32,
    /// Its selection steps, all of them.
    pub(in crate::cli) cells: Vec<Cell>,
}

/// A selection step of a generation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::cli) enum Cell {
    /// Candidates that were scored, those that are left, and those whose trial failed.
    Closed {
        all: usize,
        left: usize,
        failed: usize,
        best: Option<f64>,
    },
    /// Candidates, and those of them that have an outcome.
    Open {
        all: usize,
        done: usize,
        failed: usize,
        best: Option<f64>,
    },
    /// It comes later.
    Later,
}

impl Cell {
    /// What is said of it, in the first form that fits.
    fn text(self, width: usize) -> String {
        let (count, failed, best) = match self {
            Self::Closed {
                all,
                left,
                failed,
                best,
            } => (format!("{all}→{left}"), failed, best),
            Self::Open {
                all,
                done,
                failed,
                best,
            } => (format!("{done}/{all}"), failed, best),
            Self::Later => ("·".to_owned(), 0, None),
        };
        let failed = match failed {
            0 => String::new(),
            failed => format!(" ✗{failed}"),
        };
        let best = best.map_or_else(String::new, |best| format!(" {best:.4}"));
        let forms = [
            format!("{count}{failed}{best}"),
            format!("{count}{best}"),
            count,
        ];
        let last = forms[2].clone();
        let fitting = forms
            .into_iter()
            .find(|form| measure_text_width(form) < width);
        fitting.unwrap_or_else(|| truncate_str(&last, width.saturating_sub(1), "…").into_owned())
    }
}

/// The headings and the newest generations, as many as asked for.
pub(super) fn lines(grid: &[Row], rows: usize, width: usize) -> Vec<String> {
    let steps = grid.iter().map(|row| row.cells.len()).max();
    let steps = steps.unwrap_or_default().max(1);
    let wide = (width.saturating_sub(NUMBER) / steps).clamp(1, WIDEST);
    let line = |number: String, cells: Vec<String>| {
        let cells = cells.into_iter().map(|text| {
            let gap = wide.saturating_sub(measure_text_width(&text));
            format!("{text}{}", " ".repeat(gap))
        });
        format!("{number}  {}", cells.collect::<String>())
    };
    let heading = |step: usize| {
        let long = format!("step {step}");
        if long.len() < wide {
            long
        } else {
            step.to_string()
        }
    };
    let mut lines = vec![line(
        "generation".to_owned(),
        (1..=steps).map(heading).collect(),
    )];
    let shown = grid.iter().take(rows).map(|row| {
        let cells = row.cells.iter().map(|cell| cell.text(wide)).collect();
        line(format!("{:>10}", row.generation), cells)
    });
    lines.extend(shown);
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_says_less_where_there_is_less_room() {
        let cell = Cell::Closed {
            all: 16,
            left: 4,
            failed: 2,
            best: Some(0.25),
        };
        assert_eq!(cell.text(22), "16→4 ✗2 0.2500");
        assert_eq!(cell.text(14), "16→4 0.2500");
        assert_eq!(cell.text(6), "16→4");
        assert_eq!(cell.text(4), "16…");
        let open = Cell::Open {
            all: 4,
            done: 1,
            failed: 0,
            best: None,
        };
        assert_eq!(
            (open.text(22), Cell::Later.text(22)),
            ("1/4".to_owned(), "·".to_owned())
        );
    }

    #[test]
    fn ten_steps_fit_eighty_columns() {
        let cell = Cell::Closed {
            all: 128,
            left: 64,
            failed: 0,
            best: Some(0.1),
        };
        let row = Row {
            generation: 7,
            cells: vec![cell; 10],
        };
        for line in lines(&[row.clone(), row], 5, 80) {
            assert!(measure_text_width(line.trim_end()) <= 80, "{line}");
        }
    }
}
