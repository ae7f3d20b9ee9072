//! What a generation cost: kept beside its ledger entry, and no part of any digest.

use std::collections::BTreeMap;

use darwinlm_search::TrialId;
use darwinlm_task::DeviceClass;
use serde::{Deserialize, Serialize};

use crate::TrialResult;

/// What `ledger/<index>.cost.json` holds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GenerationCost {
    /// The generation's trials.
    pub trials: BTreeMap<TrialId, TrialCost>,
    /// What all workers of the run, of all its tasks, had taken when the generation ended: as whoever
    /// ended it first knew. A budget is held against it.
    #[serde(default)]
    pub spent_milliseconds: u64,
}

/// What one trial cost.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TrialCost {
    /// Who computed the result that counts.
    pub worker: String,
    /// On what.
    pub device: DeviceClass,
    /// Device time.
    pub milliseconds: u64,
    /// Which attempt it was, from 1.
    pub attempt: u32,
    /// Tokens trained on.
    pub tokens_trained: u64,
    /// Tokens scored on.
    pub tokens_scored: u64,
}

impl GenerationCost {
    /// Adds the result of a trial.
    pub fn add(&mut self, result: &TrialResult) {
        let cost = TrialCost {
            worker: result.worker.clone(),
            device: result.device,
            milliseconds: result.milliseconds,
            attempt: result.attempt,
            tokens_trained: result.tokens_trained,
            tokens_scored: result.tokens_scored,
        };
        self.trials.insert(result.trial, cost);
    }

    /// Device time of all trials.
    pub fn milliseconds(&self) -> u64 {
        self.trials.values().map(|cost| cost.milliseconds).sum()
    }

    /// Attempts beyond each trial's first.
    pub fn repeated(&self) -> u64 {
        self.trials
            .values()
            .map(|cost| u64::from(cost.attempt.saturating_sub(1)))
            .sum()
    }

    /// The devices that computed; more than one is worth a word to the user.
    pub fn devices(&self) -> std::collections::BTreeSet<DeviceClass> {
        self.trials.values().map(|cost| cost.device).collect()
    }
}
