//! The entries of the hash chain of finished generations and their bytes.

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::fitness::Outcome;
use crate::genome::Genome;
use crate::problem::Problem;
use crate::round::Round;
use crate::survivor::Survivor;
use crate::trial::TrialId;

/// One entry of the ledger. Entry `n` is generation `n`; entry 0 is the problem.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Entry {
    /// Entry 0.
    Genesis(Box<Genesis>),
    /// A finished generation.
    Generation(Box<GenerationEntry>),
}

/// Entry 0: what is searched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Genesis {
    /// The version of this format and of everything that draws random numbers.
    pub version: u32,
    /// Everything that decides the search.
    pub problem: Problem,
}

/// A finished generation. It says nothing of time, workers or devices.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GenerationEntry {
    /// The digest of the entry before.
    pub previous: Digest,
    /// The generation, from 1.
    pub generation: u32,
    /// The incumbent; its slot is the one after the last offspring's.
    pub parent: Genome,
    /// The offspring by slot: as many as were found, at most as many as were asked.
    pub offspring: Vec<Genome>,
    /// All selection steps, the first one first.
    pub steps: Vec<StepEntry>,
    /// Who is the next generation's parent.
    pub survivor: Survivor,
}

/// One selection step of a finished generation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StepEntry {
    /// The sha256 of the JSON of the step's training and fitness minibatches.
    pub minibatches: Digest,
    /// The step's trials by slot.
    pub trials: Vec<TrialEntry>,
}

/// One trial of a finished generation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TrialEntry {
    /// The candidate's slot.
    pub slot: u32,
    /// What came of it.
    pub outcome: Outcome,
}

/// Bytes that are no entry as [`Entry::to_bytes`] writes it.
#[derive(Debug, thiserror::Error)]
pub enum EntryError {
    /// No JSON of this form.
    #[error("a ledger entry cannot be read")]
    Parse(#[from] serde_json::Error),
    /// The content is not the one that was sealed.
    #[error("a ledger entry is sealed with {sealed}, but its content has digest {found}")]
    Seal {
        /// The digest written beside the entry.
        sealed: Digest,
        /// The digest of the entry.
        found: Digest,
    },
    /// The same content, spelled otherwise.
    #[error("a ledger entry is written otherwise than this version writes it, at byte {at}")]
    Spelling {
        /// The first byte that differs.
        at: usize,
    },
}

impl Genesis {
    /// The version that this code writes and replays.
    pub const VERSION: u32 = 1;

    /// Entry 0 of a problem's ledger.
    pub(crate) fn entry(problem: &Problem) -> Entry {
        let problem = problem.clone();
        Entry::Genesis(Box::new(Genesis {
            version: Genesis::VERSION,
            problem,
        }))
    }
}

impl GenerationEntry {
    /// The entry of a round whose every trial has an outcome.
    pub(crate) fn entry(previous: Digest, round: &Round, survivor: Survivor) -> Entry {
        let Round {
            generation,
            parent,
            offspring,
            steps,
        } = round;
        let steps = steps.iter().map(|step| {
            let trial = |(&slot, outcome): (&u32, &Option<Outcome>)| {
                let outcome = outcome.expect("a finished generation has all outcomes");
                TrialEntry { slot, outcome }
            };
            StepEntry {
                minibatches: step.minibatches.digest(),
                trials: step.outcomes.iter().map(trial).collect(),
            }
        });
        Entry::Generation(Box::new(GenerationEntry {
            previous,
            generation: *generation,
            parent: parent.clone(),
            offspring: offspring.clone(),
            steps: steps.collect(),
            survivor,
        }))
    }

    /// Every trial with its candidate, by step and slot.
    pub fn trials(&self) -> impl Iterator<Item = (TrialId, &Genome, Outcome)> {
        (0..).zip(&self.steps).flat_map(move |(step, of_step)| {
            of_step
                .trials
                .iter()
                .map(move |&TrialEntry { slot, outcome }| {
                    let id = TrialId {
                        generation: self.generation,
                        step,
                        slot,
                    };
                    (
                        id,
                        self.offspring.get(slot as usize).unwrap_or(&self.parent),
                        outcome,
                    )
                })
        })
    }
}

#[derive(Serialize)]
struct Sealed<'a> {
    digest: Digest,
    entry: &'a Entry,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Unsealed {
    digest: Digest,
    entry: Entry,
}

impl Entry {
    /// The generation; 0 for the problem.
    pub fn generation(&self) -> u32 {
        match self {
            Entry::Genesis(_) => 0,
            Entry::Generation(entry) => entry.generation,
        }
    }

    /// The sha256 of the entry's canonical JSON: compact, fields in the order of declaration.
    pub fn digest(&self) -> Digest {
        Digest::of(&serde_json::to_vec(self).expect("an entry has text keys and finite numbers"))
    }

    /// The bytes of the entry's file: `{"digest":…,"entry":…}` and a line end.
    ///
    /// The digest is there so that damage to the newest entry, which no other entry points to yet,
    /// is noticed as well.
    pub fn to_bytes(&self) -> Vec<u8> {
        let sealed = Sealed {
            digest: self.digest(),
            entry: self,
        };
        let mut bytes =
            serde_json::to_vec(&sealed).expect("an entry has text keys and finite numbers");
        bytes.push(b'\n');
        bytes
    }

    /// Reads an entry, accepting nothing but what [`Entry::to_bytes`] writes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Entry, EntryError> {
        let Unsealed {
            digest: sealed,
            entry,
        } = serde_json::from_slice(bytes)?;
        let found = entry.digest();
        if sealed != found {
            return Err(EntryError::Seal { sealed, found });
        }
        let canonical = entry.to_bytes();
        if canonical != bytes {
            let same = canonical
                .iter()
                .zip(bytes)
                .take_while(|(one, other)| one == other);
            return Err(EntryError::Spelling { at: same.count() });
        }
        Ok(entry)
    }
}
