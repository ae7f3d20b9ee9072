//! Results of trials: create-only, and the first one is used by all.

use darwinlm_search::{Digest, Outcome, TrialId};
use darwinlm_task::DeviceClass;
use darwinlm_task::paths::RunPaths;
use serde::{Deserialize, Serialize};

use crate::seal::{seal, unseal};
use crate::{Store, StoreError};

/// What `trials/<trial>.json` holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TrialResult {
    /// The trial.
    pub trial: TrialId,
    /// The digest of the ledger that the trial follows from.
    pub follows: Digest,
    /// What came of it.
    pub outcome: Outcome,
    /// Which attempt this was, from 1.
    pub attempt: u32,
    /// Token of the claim it was computed under.
    pub token: String,
    /// Who computed it.
    pub worker: String,
    /// On what.
    pub device: DeviceClass,
    /// How long it took on the device. Whole, so that all workers sum alike.
    pub milliseconds: u64,
    /// Tokens trained on.
    pub tokens_trained: u64,
    /// Tokens scored on.
    pub tokens_scored: u64,
}

/// The results of a run.
#[derive(Clone, Debug)]
pub struct Results {
    store: Store,
    paths: RunPaths,
}

impl Results {
    /// The results of a run.
    pub fn new(store: &Store, paths: &RunPaths) -> Self {
        Self {
            store: store.clone(),
            paths: paths.clone(),
        }
    }

    /// The result of a trial, if there is one.
    ///
    /// # Errors
    /// What the store answers, or naming the file: when a byte of it changed, or when it is of
    /// another trial or follows from another ledger than `follows`.
    pub async fn get(
        &self,
        trial: TrialId,
        follows: Digest,
    ) -> Result<Option<TrialResult>, StoreError> {
        let key = self.paths.trial(&trial);
        let Some(bytes) = self.store.get_if_exists(&key).await? else {
            return Ok(None);
        };
        self.read(&key, &bytes, trial, follows).map(Some)
    }

    /// Stores a result and returns the one that counts: this one, or another that was first.
    ///
    /// # Errors
    /// Like [`Results::get`].
    pub async fn put(&self, result: &TrialResult) -> Result<(TrialResult, bool), StoreError> {
        let key = self.paths.trial(&result.trial);
        let settled = self.store.settle(&key, seal(result)).await?;
        let stored = self.read(&key, &settled.stored, result.trial, result.follows)?;
        if stored.outcome != result.outcome {
            tracing::warn!(
                trial = %result.trial, ours = %result.outcome, stored = %stored.outcome,
                "Another worker was first with another outcome; its outcome is used."
            );
        }
        Ok((stored, settled.ours))
    }

    fn read(
        &self,
        key: &str,
        bytes: &[u8],
        trial: TrialId,
        follows: Digest,
    ) -> Result<TrialResult, StoreError> {
        let result: TrialResult = unseal(&self.store, key, bytes)?;
        if result.trial != trial {
            return Err(self
                .store
                .malformed(key, format!("it holds trial {}", result.trial)));
        }
        if result.follows != follows {
            let reason = format!("it follows ledger {}, not {follows}", result.follows);
            return Err(self.store.malformed(key, reason));
        }
        Ok(result)
    }
}
