//! What `watch` draws of a run, whether it was read in a cluster or in a store. Pure.
//!
//! ```text
//! PruningRun local/tiny  sha256:6b94…            title
//! prepare ✓ ─ build-database ✓ ─ search ▸        chain
//!   generations ████░░░░ 12 of 200               facts
//! It does not move: …                            words
//! generation  step 1       step 2                grid
//!   validation  ▇▇▆▅▃▁                           curve
//!   attention   ▓▓▒▒░·                           map
//! ```

mod chain;
mod cost;
mod curve;
mod grid;
mod levels;
mod pace;

use console::{measure_text_width, truncate_str};

pub(super) use self::chain::{Link, Mark};
pub(super) use self::cost::shares;
pub(super) use self::curve::Curve;
pub(super) use self::grid::{Cell, Row};
pub(super) use self::levels::Levels;
pub(super) use self::pace::{Pace, of_generations};

/// Room for the name of a fact, and what stands before it.
const NAMES: usize = 14;
/// Generations that are shown where nothing bounds the page.
const ROWS: usize = 8;
/// Cells of a bar.
const BAR: usize = 30;

/// The room that there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Room {
    /// Columns.
    pub(super) width: usize,
    /// Lines; none where the page may be as long as it likes.
    pub(super) height: Option<usize>,
    /// Whether colours are seen.
    pub(super) colours: bool,
}

/// Everything that is drawn.
#[derive(Clone, Debug, Default)]
pub(super) struct Picture {
    /// Which run, and its digest.
    pub(super) title: String,
    /// The tasks, in order.
    pub(super) chain: Vec<Link>,
    /// Names and what is said under them.
    pub(super) facts: Vec<(&'static str, String)>,
    /// Why it does not move, what to do, what has happened.
    pub(super) words: Vec<String>,
    /// Generations, the newest first; each cell a selection step. Only the ledger knows them.
    pub(super) grid: Vec<Row>,
    /// The survivors' validation, or their fitness.
    pub(super) curve: Option<Curve>,
    /// The survivor, block by block.
    pub(super) levels: Option<Levels>,
}

impl Picture {
    /// The lines: on a terminal none longer than the room is wide, and no more than it is high.
    pub(super) fn lines(&self, room: Room) -> Vec<String> {
        let mut above = vec![self.title.clone()];
        above.extend(chain::lines(&self.chain, room));
        let facts = self.facts.iter();
        above.extend(facts.map(|(name, words)| format!("  {name:<12}{words}")));
        if !self.words.is_empty() {
            above.push(String::new());
            let wrapped = self.words.iter().flat_map(|words| wrap(words, room.width));
            above.extend(wrapped);
        }
        let mut below = Vec::new();
        if let Some(curve) = &self.curve {
            below.push(String::new());
            below.extend(curve.lines(room.width));
        }
        if let Some(levels) = &self.levels {
            below.push(String::new());
            below.extend(levels.lines(room.width));
        }
        // A blank line and the headings come before the generations.
        let taken = above.len() + below.len() + 2;
        let rows = room
            .height
            .map_or(ROWS, |height| height.saturating_sub(taken).max(1));
        let mut lines = above;
        if !self.grid.is_empty() {
            lines.push(String::new());
            lines.extend(grid::lines(&self.grid, rows, room.width));
        }
        lines.extend(below);
        let Some(height) = room.height else {
            return lines
                .iter()
                .map(|line| line.trim_end().to_owned())
                .collect();
        };
        lines.truncate(height);
        let fits = |line: String| truncate_str(&line, room.width, "…").trim_end().to_owned();
        lines.into_iter().map(fits).collect()
    }
}

/// So much of all, as a bar.
pub(super) fn bar(done: i64, all: i64) -> String {
    let cells = i64::try_from(BAR).expect("a bar is short");
    let full = done.clamp(0, all.max(0)).saturating_mul(cells) / all.max(1);
    let full = usize::try_from(full).unwrap_or_default();
    format!(
        "{}{}",
        "█".repeat(full),
        "░".repeat(BAR.saturating_sub(full))
    )
}

/// Text in lines of at most so many columns, broken between words; later lines keep the indent.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let indent = &text[..text.len() - text.trim_start().len()];
    let mut lines = vec![indent.to_owned()];
    for word in text.split_whitespace() {
        let line = lines.last_mut().expect("there is a first line");
        let is_first = line.len() == indent.len();
        let longer = measure_text_width(line) + usize::from(!is_first) + measure_text_width(word);
        if is_first || longer <= width {
            let gap = if is_first { "" } else { " " };
            *line = format!("{line}{gap}{word}");
        } else {
            lines.push(format!("{indent}{word}"));
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use darwinlm_task::TaskKind;

    use super::*;

    fn picture() -> Picture {
        let row = |generation| Row {
            generation,
            cells: vec![
                Cell::Closed {
                    all: 12,
                    left: 4,
                    failed: 1,
                    best: Some(0.0412),
                },
                Cell::Open {
                    all: 5,
                    done: 3,
                    failed: 0,
                    best: None,
                },
            ],
        };
        Picture {
            title: "PruningRun local/tiny".to_owned(),
            chain: vec![Link::new(TaskKind::Prepare, Mark::Done), {
                let mut link = Link::new(TaskKind::Search, Mark::AtWork);
                link.note = "12/200".to_owned();
                link
            }],
            facts: vec![("generations", format!("{} 12 of 200", bar(12, 200)))],
            words: vec!["  a long sentence that says why nothing moves, and goes on and on until it is longer than a line".to_owned()],
            grid: (1..=40).rev().map(row).collect(),
            curve: Curve::of("validation", &[Some(0.5), None, Some(0.4), Some(0.1)]),
            levels: Some(Levels {
                attention: "0123456789".repeat(20),
                mlp: "9".repeat(200),
                deepest: [9, 9],
            }),
        }
    }

    #[test]
    fn a_page_fits_the_terminal_whatever_its_size() {
        for (width, height) in [(80, 24), (40, 24), (200, 60), (20, 5), (1, 1)] {
            let lines = picture().lines(Room {
                width,
                height: Some(height),
                colours: true,
            });
            assert!(lines.len() <= height, "{} lines of {height}", lines.len());
            for line in &lines {
                assert!(measure_text_width(line) <= width, "{line:?}");
            }
        }
    }

    #[test]
    fn a_page_of_24_lines_shows_generations_curve_and_map() {
        let room = Room {
            width: 80,
            height: Some(24),
            colours: false,
        };
        insta::assert_snapshot!(picture().lines(room).join("\n"));
    }

    #[test]
    fn words_are_wrapped_under_their_indent_and_none_is_lost() {
        let lines = wrap("  one two three four", 9);
        assert_eq!(lines, ["  one two", "  three", "  four"]);
        assert_eq!(wrap("unbreakable", 3), ["unbreakable"]);
    }

    #[test]
    fn a_bar_is_full_at_the_end_and_empty_where_there_is_nothing_to_do() {
        let full = |done, all| bar(done, all).chars().filter(|cell| *cell == '█').count();
        assert_eq!(
            (full(3, 0), full(50, 100), full(7, 7), full(9, 7)),
            (0, BAR / 2, BAR, BAR)
        );
    }
}
