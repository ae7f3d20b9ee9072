//! The search as a state that is asked for trials and told their outcomes.

mod error;
mod stored;

use serde::{Deserialize, Serialize};

pub use self::error::SearchError;
use self::stored::Stored;
use crate::digest::Digest;
use crate::fitness::Outcome;
use crate::genome::Genome;
use crate::ledger::{Entry, GenerationEntry, Genesis};
use crate::mutation::Space;
use crate::problem::Problem;
use crate::replay;
use crate::round::{Advance, Round, TooFewFinite};
use crate::survivor::Survivor;
use crate::trial::{Trial, TrialId};

/// A search between two outcomes.
///
/// Every worker holds one, fed from the same store; as all compute the same, they agree on which
/// trials exist without a word. It serialises as what cannot be recomputed and is checked again
/// when read; only the digest and the survivor are taken at their word, which the ledger does not
/// need ([`Search::resume`]).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Stored", into = "Stored")]
pub struct Search {
    problem: Problem,
    space: Space,
    digest: Digest,
    survivor: Survivor,
    progress: Progress,
}

#[derive(Debug, Clone, PartialEq)]
enum Progress {
    Open(Round),
    Finished,
}

/// What a search did with an outcome.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// It is new; other trials of the step are still open.
    Recorded,
    /// The search knew it.
    AlreadyKnown,
    /// It was the last of its step; the next step's trials can be asked for.
    StepComplete,
    /// It was the last of its generation, which this entry records.
    GenerationComplete(Entry),
}

impl Search {
    /// A search before its first generation.
    pub fn new(problem: Problem) -> Result<Search, SearchError> {
        problem.validate()?;
        let digest = Genesis::entry(&problem).digest();
        let survivor = Survivor::of(&problem, problem.start.clone(), None, 0);
        Ok(Search::at(problem, 0, digest, survivor))
    }

    /// A search after the generations of its ledger, entry 0 first; all of them are replayed.
    ///
    /// # Errors
    ///
    /// Where entry 0 holds another problem, or an entry is not what the seed and the recorded
    /// outcomes make it: the error names the generation and what differs.
    pub fn resume(problem: Problem, entries: &[Entry]) -> Result<Search, SearchError> {
        let mut search = Search::new(problem)?;
        replay::advance(&mut search, entries, |_| ())?;
        Ok(search)
    }

    fn at(problem: Problem, generation: u32, digest: Digest, survivor: Survivor) -> Search {
        let space = problem.space();
        let progress = if generation < problem.generations {
            Progress::Open(Round::open(
                &problem,
                &space,
                generation + 1,
                survivor.genome.clone(),
            ))
        } else {
            Progress::Finished
        };
        Search {
            problem,
            space,
            digest,
            survivor,
            progress,
        }
    }

    /// The trials of the open step that have no outcome yet, by slot; none once finished.
    pub fn ask(&self) -> Vec<Trial> {
        match &self.progress {
            Progress::Open(round) => round.open_trials(),
            Progress::Finished => Vec::new(),
        }
    }

    /// Records an outcome. In whatever order a step's outcomes are told, the search is the same.
    ///
    /// # Errors
    ///
    /// Where the trial does not exist (yet), or has another outcome, or too many candidates of its
    /// step failed; the search is then as it was before.
    pub fn tell(&mut self, id: TrialId, outcome: Outcome) -> Result<Told, SearchError> {
        let open = self.open_generation();
        let Progress::Open(round) = &mut self.progress else {
            return Err(SearchError::OtherGeneration { id, open });
        };
        if id.generation != round.generation {
            return Err(SearchError::OtherGeneration { id, open });
        }
        let known = round.outcome(id).ok_or(SearchError::UnknownTrial { id })?;
        match *known {
            Some(known) if known == outcome => return Ok(Told::AlreadyKnown),
            Some(known) => {
                return Err(SearchError::OtherOutcome {
                    id,
                    known,
                    told: outcome,
                });
            }
            None => *known = Some(outcome),
        }
        match round.advance(&self.problem) {
            Ok(None) => Ok(Told::Recorded),
            Ok(Some(Advance::NextStep)) => Ok(Told::StepComplete),
            Ok(Some(Advance::Survivor { slot, outcome })) => Ok(Told::GenerationComplete(
                self.finish_generation(slot, outcome),
            )),
            Err(TooFewFinite { found, needed }) => {
                if let Some(forgotten) = round.outcome(id) {
                    *forgotten = None;
                }
                let TrialId {
                    generation, step, ..
                } = id;
                Err(SearchError::TooFewFinite {
                    generation,
                    step,
                    found,
                    needed,
                })
            }
        }
    }

    /// Takes the search through the entry of its open generation, whatever part of that generation
    /// it has been told itself: a worker that finds the entry in the store need not read the
    /// results one by one.
    ///
    /// # Errors
    ///
    /// Where the entry is not what the seed, its outcomes and the outcomes told so far make it; the
    /// search is then as it was before.
    pub fn follow(&mut self, entry: &GenerationEntry) -> Result<(), SearchError> {
        let mut followed = self.clone();
        replay::advance_generation(&mut followed, entry)?;
        *self = followed;
        Ok(())
    }

    fn finish_generation(&mut self, slot: u32, outcome: Outcome) -> Entry {
        let Progress::Open(round) = &self.progress else {
            unreachable!("only an open generation has a last outcome");
        };
        let genome = round.genome(slot).clone();
        let generation = round.generation;
        let born = if slot == round.parent_slot() {
            self.survivor.born_in_generation
        } else {
            generation
        };
        let survivor = Survivor::of(&self.problem, genome, outcome.fitness(), born);
        let entry = GenerationEntry::entry(self.digest, round, survivor.clone());
        *self = Search::at(self.problem.clone(), generation, entry.digest(), survivor);
        entry
    }

    /// Entry 0 of this search's ledger.
    pub fn genesis(&self) -> Entry {
        Genesis::entry(&self.problem)
    }

    /// What is searched.
    pub fn problem(&self) -> &Problem {
        &self.problem
    }

    /// The genomes among which it moves.
    pub fn space(&self) -> &Space {
        &self.space
    }

    /// The incumbent; before the first generation ends, the start.
    pub fn survivor(&self) -> &Survivor {
        &self.survivor
    }

    /// Finished generations: also the number of the ledger's newest entry.
    pub fn generation(&self) -> u32 {
        match &self.progress {
            Progress::Open(round) => round.generation - 1,
            Progress::Finished => self.problem.generations,
        }
    }

    /// The generation whose trials are asked for; none once finished.
    pub fn open_generation(&self) -> Option<u32> {
        match &self.progress {
            Progress::Open(round) => Some(round.generation),
            Progress::Finished => None,
        }
    }

    /// Offspring of the open generation: fewer than asked where fewer exist.
    pub fn offspring(&self) -> &[Genome] {
        match &self.progress {
            Progress::Open(round) => &round.offspring,
            Progress::Finished => &[],
        }
    }

    /// Whether all generations are over.
    pub fn is_finished(&self) -> bool {
        matches!(self.progress, Progress::Finished)
    }

    /// The digest of the ledger's newest entry.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    pub(crate) fn round(&self) -> Option<&Round> {
        match &self.progress {
            Progress::Open(round) => Some(round),
            Progress::Finished => None,
        }
    }
}
