//! `survivors/<generation born>.json`: a survivor on the validation slice, outside every digest.

use darwinlm_search::{Genome, Survivor};
use darwinlm_task::paths::RunPaths;
use serde::{Deserialize, Serialize};

use crate::seal::{seal, unseal};
use crate::{Store, StoreError};

/// What a survivor measures on the validation slice.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Validation {
    /// Mean KL(dense ‖ survivor), in nats per token.
    pub kl: f64,
    /// exp of the mean negative log-likelihood of a token.
    pub perplexity: f64,
}

/// What the file holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ValidationRecord {
    /// The generation the survivor was born in, 0 for the start.
    pub born_in_generation: u32,
    /// The survivor.
    pub genome: Genome,
    /// Its KL as a decimal number; none where the worker's runner does not validate.
    pub kl: Option<String>,
    /// Its perplexity as a decimal number.
    pub perplexity: Option<String>,
}

/// The survivors' validation figures of a run.
#[derive(Clone, Debug)]
pub struct Validations {
    store: Store,
    paths: RunPaths,
}

impl Validations {
    /// The figures of a run.
    pub fn new(store: &Store, paths: &RunPaths) -> Self {
        Self {
            store: store.clone(),
            paths: paths.clone(),
        }
    }

    /// The figures of the survivor born in this generation, if they are there.
    ///
    /// # Errors
    /// What the store answers, or naming the file when it was changed.
    pub async fn get(&self, born: u32) -> Result<Option<ValidationRecord>, StoreError> {
        let key = self.paths.survivor(born);
        let bytes = self.store.get_if_exists(&key).await?;
        bytes
            .map(|bytes| unseal(&self.store, &key, &bytes))
            .transpose()
    }

    /// Stores a survivor's figures and returns those that count: the first.
    ///
    /// # Errors
    /// Like [`Validations::get`].
    pub async fn put(
        &self,
        survivor: &Survivor,
        validation: Option<Validation>,
    ) -> Result<ValidationRecord, StoreError> {
        let record = ValidationRecord {
            born_in_generation: survivor.born_in_generation,
            genome: survivor.genome.clone(),
            kl: validation.map(|validation| validation.kl.to_string()),
            perplexity: validation.map(|validation| validation.perplexity.to_string()),
        };
        let key = self.paths.survivor(survivor.born_in_generation);
        let settled = self.store.settle(&key, seal(&record)).await?;
        unseal(&self.store, &key, &settled.stored)
    }
}
