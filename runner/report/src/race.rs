//! One generation's selection as a race: who ran in which step, and who fell out where.

use darwinlm_search::{GenerationEntry, Outcome, TrialEntry, ranked};

use crate::Mutation;

/// One candidate of a generation.
#[derive(Debug, PartialEq)]
pub(crate) struct Runner {
    /// Its slot.
    pub(crate) slot: u32,
    /// What it is.
    pub(crate) what: What,
    /// What came of it in each step; none where it was not in the race.
    pub(crate) outcomes: Vec<Option<Outcome>>,
    /// Whether it is the survivor.
    pub(crate) is_survivor: bool,
}

/// What a candidate is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// The parent itself, which joins in the last step.
    Parent,
    /// A child, by what was changed of its parent.
    Offspring(Mutation),
    /// A child that nothing is different in.
    Twin,
}

impl What {
    /// In a few words.
    pub(crate) fn words(self) -> String {
        match self {
            Self::Parent => "the parent".to_owned(),
            Self::Twin => "the same as its parent".to_owned(),
            Self::Offspring(Mutation { changed, levels }) => {
                format!("{}, {}", changed.words(), levels_in_words(levels))
            }
        }
    }
}

/// `1 level`, `2 levels`.
pub(crate) fn levels_in_words(levels: u32) -> String {
    match levels {
        1 => "1 level".to_owned(),
        more => format!("{more} levels"),
    }
}

impl Runner {
    /// The last step that it ran in.
    pub(crate) fn last_step(&self) -> Option<usize> {
        self.outcomes.iter().rposition(Option::is_some)
    }
}

/// Everybody, the survivor first: by the last step they ran in, then by their rank in it.
pub(crate) fn race(generation: &GenerationEntry) -> Vec<Runner> {
    let GenerationEntry {
        parent,
        offspring,
        steps,
        ..
    } = generation;
    let order_in = |step: usize| {
        let trials = steps[step].trials.iter();
        ranked(trials.map(|&TrialEntry { slot, outcome }| (slot, outcome)))
    };
    let orders: Vec<Vec<u32>> = (0..steps.len()).map(order_in).collect();
    let survivor = orders.last().and_then(|order| order.first()).copied();
    let of_offspring = offspring.iter().map(|child| {
        let mutation = Mutation::of(parent, child);
        mutation.map_or(What::Twin, What::Offspring)
    });
    let all = of_offspring.chain([What::Parent]);
    let mut runners: Vec<Runner> = (0..)
        .zip(all)
        .map(|(slot, what)| {
            let outcomes = steps.iter().map(|step| {
                let trial = step.trials.iter().find(|trial| trial.slot == slot);
                trial.map(|trial| trial.outcome)
            });
            Runner {
                slot,
                what,
                outcomes: outcomes.collect(),
                is_survivor: survivor == Some(slot),
            }
        })
        .collect();
    runners.sort_by_key(|runner| {
        let step = runner.last_step();
        let rank = step.and_then(|step| orders[step].iter().position(|&slot| slot == runner.slot));
        (std::cmp::Reverse(step), rank)
    });
    runners
}
