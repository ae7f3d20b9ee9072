//! Outcomes into the search, and finished generations into the ledger or out of it.

use std::collections::BTreeMap;

use darwinlm_search::{Entry, Told};

use super::{WorkError, Worker};
use crate::{GenerationCost, TrialResult};

impl Worker<'_> {
    /// Tells the search a stored result; the last one of a generation becomes a ledger entry.
    pub(super) async fn tell(&mut self, result: &TrialResult) -> Result<(), WorkError> {
        let told = self.search.tell(result.trial, result.outcome)?;
        self.cost.add(result);
        match told {
            Told::Recorded | Told::AlreadyKnown | Told::StepComplete => Ok(()),
            Told::GenerationComplete(entry) => {
                let mut cost = std::mem::take(&mut self.cost);
                cost.spent_milliseconds = self.timesheet.spent_milliseconds().await?;
                // As the first one recorded it: all workers hold the same budget against it.
                let cost = self.ledger.put_cost(entry.generation(), &cost).await?;
                self.ledger.append(&entry).await?;
                self.closed(&entry, &cost);
                Ok(())
            }
        }
    }

    /// Takes the next entry from the ledger, if another worker wrote it: its outcomes are told as
    /// if they had been read one by one, and must lead to the same entry.
    pub(super) async fn follow(&mut self) -> Result<bool, WorkError> {
        let index = self.search.generation() + 1;
        let Some(stored) = self.ledger.entry(index).await? else {
            return Ok(false);
        };
        let outcomes: BTreeMap<_, _> = match &stored {
            Entry::Generation(entry) => entry
                .trials()
                .map(|(id, _, outcome)| (id, outcome))
                .collect(),
            Entry::Genesis(_) => BTreeMap::new(),
        };
        for (id, outcome) in outcomes {
            if let Told::GenerationComplete(ours) = self.search.tell(id, outcome)? {
                // Not a write: the entry is there, so this compares the two.
                self.ledger.append(&ours).await?;
                let cost = self.ledger.cost(index).await?;
                self.cost = GenerationCost::default();
                self.closed(&ours, &cost);
                return Ok(true);
            }
        }
        Err(WorkError::Incomplete { index })
    }

    fn closed(&mut self, entry: &Entry, cost: &GenerationCost) {
        self.history.add(entry, cost);
        let survivor = self.search.survivor();
        tracing::info!(
            generation = entry.generation(), fitness = ?survivor.fitness, digest = %entry.digest(),
            "A generation is in the ledger."
        );
    }
}
