//! The search as a state that is asked for trials and told their outcomes.

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::fitness::{Fitness, Outcome};
use crate::genome::Genome;
use crate::ledger::{Entry, GenerationEntry, Genesis, StepEntry, TrialEntry};
use crate::mutation::Space;
use crate::problem::{Problem, ProblemError};
use crate::replay::{self, ReplayError};
use crate::round::{Advance, Round, TooFewFinite};
use crate::trial::{Trial, TrialId};

/// The incumbent: the best candidate of the last finished generation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Survivor {
    /// Its levels.
    pub genome: Genome,
    /// Its fitness in the last step of the last finished generation; the start has none. Every
    /// generation has its own fitness tokens: this number is not comparable between generations.
    pub fitness: Option<Fitness>,
    /// Its cost, in the unit of the problem's costs.
    pub cost: u64,
    /// Its parameters.
    pub parameters: u64,
    /// The generation in which it was an offspring; 0 for the start.
    pub born_in_generation: u32,
}

/// A search between two outcomes.
///
/// Every worker holds one, fed from the same store; as all compute the same, they agree on which
/// trials exist without a word. It serialises as what cannot be recomputed and is checked again
/// when read; only the digest and the survivor are taken at their word, which the ledger does not
/// need ([`Search::resume`]).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "State", into = "State")]
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

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct State {
    problem: Problem,
    generation: u32,
    digest: Digest,
    survivor: Survivor,
    outcomes: Vec<(TrialId, Outcome)>,
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

/// Why a search cannot go on, or does not accept an outcome.
#[derive(Debug, thiserror::Error)]
pub enum SearchError {
    /// The problem cannot be searched.
    #[error("the search's problem is not valid")]
    Problem(#[from] ProblemError),
    /// The ledger is not this search's.
    #[error("the ledger does not replay")]
    Ledger(#[from] ReplayError),
    /// The trial is of a generation that is over, or not begun.
    #[error("{id} is told while generation {open:?} is open; it is no open trial")]
    OtherGeneration {
        /// The trial.
        id: TrialId,
        /// The open generation; none once the search is finished.
        open: Option<u32>,
    },
    /// The open generation has no such trial, or not yet.
    #[error("{id} is no trial of its generation so far")]
    UnknownTrial {
        /// The trial.
        id: TrialId,
    },
    /// The trial has another outcome already.
    #[error("{id} is told as {told}, but was told before as {known}")]
    OtherOutcome {
        /// The trial.
        id: TrialId,
        /// The outcome known.
        known: Outcome,
        /// The outcome told now.
        told: Outcome,
    },
    /// Too many candidates of a step failed.
    #[error(
        "generation {generation}, selection step {step} (from 0): {found} candidates have a finite \
         fitness and {needed} must survive"
    )]
    TooFewFinite {
        /// The generation.
        generation: u32,
        /// The selection step.
        step: u32,
        /// Candidates with a fitness.
        found: usize,
        /// Survivors of the step.
        needed: usize,
    },
}

impl Search {
    /// A search before its first generation.
    pub fn new(problem: Problem) -> Result<Search, SearchError> {
        problem.validate()?;
        let digest = genesis(&problem).digest();
        let survivor = survivor_of(&problem, problem.start.clone(), None, 0);
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
        let survivor = survivor_of(&self.problem, genome, outcome.fitness(), born);
        let entry = entry(self.digest, round, survivor.clone());
        *self = Search::at(self.problem.clone(), generation, entry.digest(), survivor);
        entry
    }

    /// Entry 0 of this search's ledger.
    pub fn genesis(&self) -> Entry {
        genesis(&self.problem)
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

fn genesis(problem: &Problem) -> Entry {
    Entry::Genesis(Box::new(Genesis {
        version: Genesis::VERSION,
        problem: problem.clone(),
    }))
}

fn survivor_of(
    problem: &Problem,
    genome: Genome,
    fitness: Option<Fitness>,
    born_in_generation: u32,
) -> Survivor {
    let (cost, parameters) = (
        problem.costs.of_genome(&genome),
        problem.parameters(&genome),
    );
    Survivor {
        genome,
        fitness,
        cost,
        parameters,
        born_in_generation,
    }
}

fn entry(previous: Digest, round: &Round, survivor: Survivor) -> Entry {
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

impl From<Search> for State {
    fn from(search: Search) -> State {
        let generation = search.generation();
        let outcomes = search
            .round()
            .map(|round| round.outcomes().collect())
            .unwrap_or_default();
        let Search {
            problem,
            digest,
            survivor,
            space: _,
            progress: _,
        } = search;
        State {
            problem,
            generation,
            digest,
            survivor,
            outcomes,
        }
    }
}

impl TryFrom<State> for Search {
    type Error = SearchError;

    fn try_from(state: State) -> Result<Search, SearchError> {
        let State {
            problem,
            generation,
            digest,
            survivor,
            outcomes,
        } = state;
        problem.validate()?;
        let deepest = problem.ladders.deepest();
        survivor
            .genome
            .fit(problem.shape.blocks, deepest)
            .map_err(ProblemError::Genome)?;
        let mut search = Search::at(problem, generation, digest, survivor);
        for (id, outcome) in outcomes {
            search.tell(id, outcome)?;
        }
        Ok(search)
    }
}
