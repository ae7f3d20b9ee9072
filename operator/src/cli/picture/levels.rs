//! The survivor's map: a cell for each block, the fuller the more is left.

use super::NAMES;

/// What is left of a module, from all of it to nothing.
const SHADES: [char; 5] = ['█', '▓', '▒', '░', '·'];

/// A genome as it is written, one base-36 character a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli) struct Levels {
    pub(in crate::cli) attention: String,
    pub(in crate::cli) mlp: String,
    /// The last level of attention and of mlp modules, which removes them.
    pub(in crate::cli) deepest: [u32; 2],
}

impl Levels {
    /// A line for each kind, for as many blocks as fit; then as many pairs of lines as it takes.
    pub(super) fn lines(&self, width: usize) -> Vec<String> {
        let kinds = [("attention", &self.attention), ("mlp", &self.mlp)];
        let cells: Vec<Vec<char>> = kinds
            .iter()
            .zip(self.deepest)
            .map(|((_, levels), deepest)| {
                levels.chars().map(|level| shade(level, deepest)).collect()
            })
            .collect();
        let columns = width.saturating_sub(NAMES).max(1);
        let blocks = cells.iter().map(Vec::len).max().unwrap_or_default();
        let mut lines = Vec::new();
        for from in (0..blocks).step_by(columns) {
            for ((name, _), cells) in kinds.iter().zip(&cells) {
                let shown: String = cells.iter().skip(from).take(columns).collect();
                let name = if from == 0 { name } else { "" };
                lines.push(format!("  {name:<12}{shown}"));
            }
        }
        lines.push(format!(
            "  {:<12}█ dense ▓ ▒ ░ · removed, block by block",
            ""
        ));
        lines
    }
}

fn shade(level: char, deepest: u32) -> char {
    match level.to_digit(36) {
        None => '?',
        Some(0) => SHADES[0],
        Some(level) if level >= deepest => SHADES[4],
        Some(level) => {
            let between = (level - 1) * 3 / (deepest - 1);
            SHADES[1 + between as usize]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_is_the_fainter_the_less_is_left() {
        let shades = |levels: &str, deepest| {
            levels
                .chars()
                .map(|level| shade(level, deepest))
                .collect::<String>()
        };
        assert_eq!(shades("0123456789", 9), "█▓▓▓▒▒▒░░·");
        assert_eq!(shades("01", 1), "█·");
        assert_eq!(shades("012", 2), "█▓·");
        assert_eq!(shades("0hz", 35), "█▒·");
    }

    #[test]
    fn blocks_that_do_not_fit_come_below() {
        let levels = Levels {
            attention: "0".repeat(5),
            mlp: "2".repeat(5),
            deepest: [2, 2],
        };
        let lines = levels.lines(NAMES + 3);
        assert_eq!(
            lines[..4],
            [
                "  attention   ███",
                "  mlp         ···",
                "              ██",
                "              ··"
            ]
        );
        assert_eq!(levels.lines(80).len(), 3);
    }
}
