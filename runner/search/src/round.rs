//! One generation while it is being computed: its candidates, its steps, the outcomes so far.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::digest::Digest;
use crate::fitness::Outcome;
use crate::genome::Genome;
use crate::minibatch::Minibatch;
use crate::mutation::{Space, offspring};
use crate::problem::Problem;
use crate::randomness::{Purpose, Stream};
use crate::selection::ranked;
use crate::trial::{Trial, TrialId};

/// One generation: the parent, its offspring and every step up to the open one.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Round {
    pub(crate) generation: u32,
    pub(crate) parent: Genome,
    pub(crate) offspring: Vec<Genome>,
    /// Finished steps, then the open one.
    pub(crate) steps: Vec<StepRound>,
}

/// One selection step: what its candidates share, and each candidate's outcome by slot.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct StepRound {
    pub(crate) minibatches: Minibatches,
    pub(crate) outcomes: BTreeMap<u32, Option<Outcome>>,
}

/// What all candidates of a step train on and are scored on.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Minibatches {
    pub(crate) training: Vec<Minibatch>,
    pub(crate) fitness: Minibatch,
}

/// What a complete step leads to.
pub(crate) enum Advance {
    /// The next step is open.
    NextStep,
    /// The generation is over; this slot survived with this outcome.
    Survivor { slot: u32, outcome: Outcome },
}

/// A step whose trials failed too often.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TooFewFinite {
    pub(crate) found: usize,
    pub(crate) needed: usize,
}

impl Minibatches {
    /// Drawn for one step of one generation. Where training continues from step to step, the
    /// training of all earlier steps comes first and this step adds the difference.
    fn draw(problem: &Problem, generation: u32, step: usize) -> Minibatches {
        let steps = problem.steps.steps();
        let stream = |step: usize, purpose| {
            let step = u32::try_from(step).expect("a schedule has at most 10 steps");
            Stream::new(problem.seed, generation, step, purpose)
        };
        let first = if problem.continue_training { 0 } else { step };
        let mut before = 0;
        let mut training = Vec::new();
        for (at, of_step) in steps.iter().enumerate().take(step + 1).skip(first) {
            let tokens = of_step.training_tokens - before;
            if tokens > 0 {
                let mut stream = stream(at, Purpose::Training);
                training.push(problem.training_pool.draw(tokens, &mut stream));
            }
            before = of_step.training_tokens;
        }
        let mut stream = stream(step, Purpose::Fitness);
        let fitness = problem
            .fitness_pool
            .draw(steps[step].fitness_tokens, &mut stream);
        Minibatches { training, fitness }
    }

    /// Pins what was drawn: the sha256 of its JSON.
    pub(crate) fn digest(&self) -> Digest {
        Digest::of(&serde_json::to_vec(self).expect("numbers and lists are always JSON"))
    }
}

impl Round {
    /// Opens a generation with its first step that has candidates.
    pub(crate) fn open(problem: &Problem, space: &Space, generation: u32, parent: Genome) -> Round {
        let mut stream = Stream::new(problem.seed, generation, 0, Purpose::Offspring);
        let offspring = offspring(space, &parent, problem.offspring, &mut stream);
        let slots = (0..).zip(&offspring).map(|(slot, _)| slot).collect();
        let mut round = Round {
            generation,
            parent,
            offspring,
            steps: Vec::new(),
        };
        round.open_step(problem, slots);
        // Without offspring only the last step, which the parent joins, has anything to compute.
        while round.last().outcomes.is_empty() {
            round.open_step(problem, Vec::new());
        }
        round
    }

    /// The parent's slot: the one after the offspring's.
    pub(crate) fn parent_slot(&self) -> u32 {
        u32::try_from(self.offspring.len()).expect("a generation has at most 999 offspring")
    }

    /// The genome in a slot.
    pub(crate) fn genome(&self, slot: u32) -> &Genome {
        self.offspring.get(slot as usize).unwrap_or(&self.parent)
    }

    fn open_step(&mut self, problem: &Problem, mut slots: Vec<u32>) {
        let step = self.steps.len();
        if step + 1 == problem.steps.steps().len() {
            slots.push(self.parent_slot());
        }
        let minibatches = Minibatches::draw(problem, self.generation, step);
        let outcomes = slots.into_iter().map(|slot| (slot, None)).collect();
        self.steps.push(StepRound {
            minibatches,
            outcomes,
        });
    }

    fn last(&self) -> &StepRound {
        self.steps.last().expect("a round opens its first step")
    }

    /// The trials of the open step without an outcome, by slot.
    pub(crate) fn open_trials(&self) -> Vec<Trial> {
        let step = u32::try_from(self.steps.len() - 1).expect("a schedule has at most 10 steps");
        let StepRound {
            minibatches,
            outcomes,
        } = self.last();
        let open = outcomes.iter().filter(|(_, outcome)| outcome.is_none());
        open.map(|(&slot, _)| Trial {
            id: TrialId {
                generation: self.generation,
                step,
                slot,
            },
            genome: self.genome(slot).clone(),
            training: minibatches.training.clone(),
            fitness: minibatches.fitness.clone(),
        })
        .collect()
    }

    /// The outcome of a trial of this generation, `None` where there is no such trial (yet).
    pub(crate) fn outcome(&mut self, id: TrialId) -> Option<&mut Option<Outcome>> {
        self.steps
            .get_mut(id.step as usize)?
            .outcomes
            .get_mut(&id.slot)
    }

    /// Every outcome so far, by step and slot.
    pub(crate) fn outcomes(&self) -> impl Iterator<Item = (TrialId, Outcome)> {
        let generation = self.generation;
        (0..).zip(&self.steps).flat_map(move |(step, of_step)| {
            let told = of_step.outcomes.iter();
            told.filter_map(move |(&slot, outcome)| {
                Some((
                    TrialId {
                        generation,
                        step,
                        slot,
                    },
                    (*outcome)?,
                ))
            })
        })
    }

    /// Selects, where every trial of the open step has an outcome; `None` where one has not.
    pub(crate) fn advance(&mut self, problem: &Problem) -> Result<Option<Advance>, TooFewFinite> {
        let outcomes = self.last().outcomes.iter();
        let complete: Option<BTreeMap<u32, Outcome>> = outcomes
            .map(|(&slot, outcome)| Some((slot, (*outcome)?)))
            .collect();
        let Some(complete) = complete else {
            return Ok(None);
        };
        let step = self.steps.len() - 1;
        let survivors = problem.steps.steps()[step].survivors as usize;
        let needed = survivors.min(complete.len());
        let found = complete
            .values()
            .filter(|outcome| outcome.fitness().is_some())
            .count();
        if found < needed {
            return Err(TooFewFinite { found, needed });
        }
        let mut slots = ranked(complete.iter().map(|(&slot, &outcome)| (slot, outcome)));
        if step + 1 == problem.steps.steps().len() {
            let slot = slots[0];
            return Ok(Some(Advance::Survivor {
                slot,
                outcome: complete[&slot],
            }));
        }
        slots.truncate(needed);
        self.open_step(problem, slots);
        Ok(Some(Advance::NextStep))
    }
}
