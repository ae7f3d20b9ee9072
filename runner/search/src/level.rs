//! How far one module is pruned.

use serde::{Deserialize, Serialize};

/// How far a module is pruned: 0 is dense, the last of its ladder removes it.
///
/// At most 35, so that a level is one base-36 character.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(try_from = "u8", into = "u8")]
pub struct Level(u8);

/// A number or character that is no level.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LevelError {
    /// The number is too large for one base-36 character.
    #[error("level {found} is not within 0 to 35")]
    TooDeep {
        /// The number that was given.
        found: u8,
    },
    /// The character is no digit of base 36 as we write it.
    #[error("character {found:?} is no level: 0 to 9 and a to z are")]
    Character {
        /// The character that was given.
        found: char,
    },
}

impl Level {
    /// Nothing is pruned.
    pub const DENSE: Level = Level(0);
    /// The deepest level that any ladder may have.
    pub const DEEPEST: Level = Level(35);

    /// A level from 0 to 35.
    pub fn new(level: u8) -> Result<Level, LevelError> {
        if level > Level::DEEPEST.0 {
            return Err(LevelError::TooDeep { found: level });
        }
        Ok(Level(level))
    }

    /// The level as an index into a ladder or a table of costs.
    pub fn index(self) -> usize {
        usize::from(self.0)
    }

    /// The level as a number.
    pub fn get(self) -> u8 {
        self.0
    }

    /// One base-36 character: `0` to `9`, then `a` to `z`.
    pub fn character(self) -> char {
        char::from_digit(u32::from(self.0), 36).expect("a level is at most 35")
    }

    /// Reads what [`Level::character`] writes; capital letters are refused.
    pub fn from_character(found: char) -> Result<Level, LevelError> {
        let digit = found.to_digit(36).filter(|_| !found.is_ascii_uppercase());
        let digit = digit.ok_or(LevelError::Character { found })?;
        Ok(Level(
            u8::try_from(digit).expect("a base-36 digit is at most 35"),
        ))
    }

    /// One level more pruned, unless this is already `deepest`.
    pub fn deeper(self, deepest: Level) -> Option<Level> {
        (self < deepest).then(|| Level(self.0 + 1))
    }

    /// One level less pruned, unless this is dense.
    pub fn shallower(self) -> Option<Level> {
        self.0.checked_sub(1).map(Level)
    }
}

impl TryFrom<u8> for Level {
    type Error = LevelError;

    fn try_from(level: u8) -> Result<Level, LevelError> {
        Level::new(level)
    }
}

impl From<Level> for u8 {
    fn from(level: Level) -> u8 {
        level.0
    }
}

impl std::fmt::Display for Level {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_level_reads_back_from_its_character() {
        for level in (0..=35).map(|level| Level::new(level).unwrap()) {
            assert_eq!(Level::from_character(level.character()), Ok(level));
        }
        assert_eq!(Level::new(36), Err(LevelError::TooDeep { found: 36 }));
        assert_eq!(
            Level::from_character('A'),
            Err(LevelError::Character { found: 'A' })
        );
    }

    #[test]
    fn a_step_never_leaves_the_ladder() {
        let last = Level::new(3).unwrap();
        assert_eq!(last.deeper(last), None);
        assert_eq!(Level::DENSE.shallower(), None);
        assert_eq!(
            Level::DENSE.deeper(last).and_then(Level::shallower),
            Some(Level::DENSE)
        );
    }
}
