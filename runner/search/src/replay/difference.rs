//! What an entry should say and what it says.

use std::fmt;

use crate::search::SearchError;

/// The part of an entry that differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The problem, or the format's version.
    Genesis,
    /// The kind or number of the entry.
    Generation,
    /// The digest of the entry before.
    Previous,
    /// The parent.
    Parent,
    /// The offspring.
    Offspring,
    /// A step's training and fitness minibatches.
    Minibatches,
    /// A step's trials, and so the selection of the step before.
    Trials,
    /// The survivor.
    Survivor,
}

impl fmt::Display for Part {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Part::Genesis => "problem",
            Part::Generation => "place in the ledger",
            Part::Previous => "digest of the entry before",
            Part::Parent => "parent",
            Part::Offspring => "offspring",
            Part::Minibatches => "minibatches",
            Part::Trials => "selected trials",
            Part::Survivor => "survivor",
        })
    }
}

/// Why a ledger is not what its seed and outcomes make it.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// There is no entry 0.
    #[error("the ledger is empty; entry 0 holds the problem")]
    Empty,
    /// An entry says something else than the replay.
    #[error("ledger entry {generation}: its {part} should be {expected}, found {found}")]
    Differs {
        /// The generation, 0 for the problem.
        generation: u32,
        /// What differs.
        part: Part,
        /// What the replay says.
        expected: String,
        /// What the entry says.
        found: String,
    },
    /// There are more entries than generations.
    #[error("ledger entry {generation}: the search ends before it")]
    TooMany {
        /// The first entry beyond the end.
        generation: u32,
    },
    /// The recorded outcomes cannot have led to this entry.
    #[error("ledger entry {generation}: its outcomes lead nowhere")]
    Outcomes {
        /// The generation.
        generation: u32,
        /// What the search answered.
        #[source]
        source: Box<SearchError>,
    },
}

pub(super) fn same<T: PartialEq + fmt::Display>(
    generation: u32,
    part: Part,
    expected: &T,
    found: &T,
) -> Result<(), ReplayError> {
    if expected == found {
        return Ok(());
    }
    let (expected, found) = (expected.to_string(), found.to_string());
    Err(ReplayError::Differs {
        generation,
        part,
        expected,
        found,
    })
}

/// Compares lists and names the first place that differs.
pub(super) fn same_list<T: PartialEq + fmt::Display>(
    generation: u32,
    part: Part,
    expected: &[T],
    found: &[T],
) -> Result<(), ReplayError> {
    if expected == found {
        return Ok(());
    }
    let at = expected
        .iter()
        .zip(found)
        .take_while(|(one, other)| one == other)
        .count();
    let shown = |list: &[T]| match list.get(at) {
        Some(item) => format!("{item} at place {at}"),
        None => format!("{} in all", list.len()),
    };
    let (expected, found) = (shown(expected), shown(found));
    Err(ReplayError::Differs {
        generation,
        part,
        expected,
        found,
    })
}
