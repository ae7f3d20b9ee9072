//! The training and scoring of one candidate at one selection step.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::genome::Genome;
use crate::minibatch::Minibatch;

/// Names a trial within its search, written `g000007-s1-t003`.
///
/// The text is a file name, and sorted as text trials are sorted in time: a search has at most
/// 999,999 generations, 10 selection steps and 1000 slots. Generations count from 1 (0 is the
/// start), steps and slots from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TrialId {
    /// The generation, from 1.
    pub generation: u32,
    /// The selection step, from 0.
    pub step: u32,
    /// The candidate's slot, from 0; the parent's comes after all offspring's.
    pub slot: u32,
}

/// A text that names no trial.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("trial {found:?} is not written like g000007-s1-t003")]
pub struct TrialIdError {
    found: String,
}

impl fmt::Display for TrialId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "g{:06}-s{}-t{:03}",
            self.generation, self.step, self.slot
        )
    }
}

impl FromStr for TrialId {
    type Err = TrialIdError;

    fn from_str(text: &str) -> Result<TrialId, TrialIdError> {
        let mut parts = text.split('-');
        let mut part = |letter| parts.next()?.strip_prefix(letter)?.parse().ok();
        let parsed = (|| {
            Some(TrialId {
                generation: part('g')?,
                step: part('s')?,
                slot: part('t')?,
            })
        })();
        // Written back it must be the same text: one trial has one name.
        parsed
            .filter(|id| id.to_string() == text)
            .ok_or_else(|| TrialIdError {
                found: text.to_owned(),
            })
    }
}

impl TryFrom<String> for TrialId {
    type Error = TrialIdError;

    fn try_from(text: String) -> Result<TrialId, TrialIdError> {
        text.parse()
    }
}

impl From<TrialId> for String {
    fn from(id: TrialId) -> String {
        id.to_string()
    }
}

/// What a worker has to do for one outcome: train the candidate, then score it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Trial {
    /// The trial's name.
    pub id: TrialId,
    /// The candidate.
    pub genome: Genome,
    /// What it trains on, from the weights of the level database: all minibatches in this order.
    ///
    /// Without training it is empty, and in the paper's search it holds one. Where training
    /// continues from step to step it holds one per step up to this one: all but the last are what
    /// the candidate trained on before, so a worker that kept the weights may start there, and one
    /// that did not gets the same candidate by training on all of them.
    pub training: Vec<Minibatch>,
    /// What it is scored on.
    pub fitness: Minibatch,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trials_sorted_as_text_are_sorted_in_time() {
        let ids = [
            (9, 3, 16),
            (10, 0, 0),
            (10, 1, 2),
            (10, 1, 10),
            (99_999, 0, 0),
            (100_000, 0, 0),
        ];
        let ids = ids.map(|(generation, step, slot)| TrialId {
            generation,
            step,
            slot,
        });
        assert!(ids.is_sorted());
        assert!(ids.map(|id| id.to_string()).is_sorted());
        for id in ids {
            assert_eq!(id.to_string().parse::<TrialId>().unwrap(), id);
        }
    }

    #[test]
    fn a_trial_has_one_name() {
        for text in [
            "",
            "g7-s1-t3",
            "g000007-s1-t003-x",
            "g000007-s01-t003",
            "s1-g000007-t003",
        ] {
            assert!(text.parse::<TrialId>().is_err(), "{text}");
        }
    }
}
