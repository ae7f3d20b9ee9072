//! What all workers say of the same ledger.

use std::collections::BTreeMap;

use darwinlm_search::{Digest, Entry, Outcome, Problem, Replay, Survivor};
use darwinlm_task::{SearchReport, SurvivorReport, TrialCounts};

use crate::{GenerationCost, ValidationRecord};

/// Survivors in a report: the lineage, bounded.
pub const SURVIVORS_REPORTED: usize = 10;

/// A replayed ledger in figures, kept as it grows.
#[derive(Clone, Debug)]
pub struct History {
    generations: u32,
    generation: u32,
    digest: Digest,
    /// Distinct survivors with their latest fitness, the start first.
    lineage: Vec<Survivor>,
    trials: TrialCounts,
    milliseconds: u64,
    spent_milliseconds: u64,
    validations: BTreeMap<u32, ValidationRecord>,
}

impl History {
    /// The history before the first generation.
    pub fn start(problem: &Problem, genesis: &Entry, start: &Survivor) -> Self {
        Self {
            generations: problem.generations,
            generation: 0,
            digest: genesis.digest(),
            lineage: vec![start.clone()],
            trials: TrialCounts::default(),
            milliseconds: 0,
            spent_milliseconds: 0,
            validations: BTreeMap::new(),
        }
    }

    /// The history of a replayed ledger; `costs` are those of generations 1, 2, …
    pub fn replayed(
        entries: &[Entry],
        replay: &Replay,
        costs: impl IntoIterator<Item = GenerationCost>,
    ) -> Self {
        let genesis = replay.search.genesis();
        let mut history = Self::start(replay.search.problem(), &genesis, &replay.survivors[0]);
        for (entry, cost) in entries.iter().skip(1).zip(costs) {
            history.add(entry, &cost);
        }
        history
    }

    /// Adds the next entry of the ledger.
    pub fn add(&mut self, entry: &Entry, cost: &GenerationCost) {
        let Entry::Generation(closed) = entry else {
            return;
        };
        self.generation = closed.generation;
        self.digest = entry.digest();
        for (_, _, outcome) in closed.trials() {
            match outcome {
                Outcome::Scored { .. } => self.trials.done += 1,
                Outcome::Failed(_) => self.trials.failed += 1,
            }
        }
        self.trials.repeated += cost.repeated();
        self.milliseconds += cost.milliseconds();
        // Never less than its own trials: a record that was lost makes no budget larger.
        let spent = cost.spent_milliseconds.max(self.milliseconds);
        self.spent_milliseconds = self.spent_milliseconds.max(spent);
        let born = |survivor: &Survivor| survivor.born_in_generation;
        // Only an offspring can replace the parent, so a birth names a survivor.
        self.lineage
            .retain(|known| born(known) != born(&closed.survivor));
        self.lineage.push(closed.survivor.clone());
    }

    /// Adds a survivor's figures.
    pub fn validated(&mut self, record: ValidationRecord) {
        self.validations.insert(record.born_in_generation, record);
    }

    /// Distinct survivors, the start first.
    pub fn lineage(&self) -> &[Survivor] {
        &self.lineage
    }

    /// The survivors whose figures are not known yet, newest first.
    pub fn not_validated(&self) -> Vec<Survivor> {
        let is_new = |born: &u32| !self.validations.contains_key(born);
        let newest_first = self.lineage.iter().rev();
        newest_first
            .filter(|survivor| is_new(&survivor.born_in_generation))
            .cloned()
            .collect()
    }

    /// Device time of all workers when the newest generation ended.
    pub fn spent_milliseconds(&self) -> u64 {
        self.spent_milliseconds
    }

    /// The report: how far the search is, the last ten distinct survivors, the counts.
    pub fn report(&self) -> SearchReport {
        let newest_first = self.lineage.iter().rev();
        // The start was never selected: it has no fitness to show.
        let survivors = newest_first.filter_map(|survivor| {
            let known = self.validations.get(&survivor.born_in_generation);
            Some(SurvivorReport {
                genome: survivor.genome.clone(),
                fitness: survivor.fitness?.to_string(),
                validation_kl: known.and_then(|record| record.kl.clone()),
                validation_perplexity: None,
                parameters: survivor.parameters,
                born_in_generation: survivor.born_in_generation,
            })
        });
        let mut survivors: Vec<_> = survivors.take(SURVIVORS_REPORTED).collect();
        // Of the newest alone: a report has no room for ten.
        if let Some(newest) = survivors.first_mut() {
            let known = self.validations.get(&newest.born_in_generation);
            newest.validation_perplexity = known.and_then(|record| record.perplexity.clone());
        }
        SearchReport {
            generation: self.generation,
            generations: self.generations,
            digest: self.digest.to_string(),
            survivors,
            trials: self.trials,
            spent_gpu_seconds: self.spent_milliseconds / 1000,
        }
    }
}
