//! What the page tells, read out of the store; nothing of it is computed anew but sums and shares.

mod mutations;
mod training;

use std::collections::{BTreeMap, BTreeSet};

use darwinlm_search::{Digest, Entry, GenerationEntry, Genome, PerKind, Problem, verify_chain};
use darwinlm_store::{
    Ledger, LedgerError, Store, StoreError, Validations, read_workers, sum_workers,
};
use darwinlm_task::paths::RunPaths;
use darwinlm_task::{EvaluationReport, GpuSeconds, Plan, RunIdentity};
use futures::stream::{StreamExt as _, TryStreamExt as _, iter};
use serde::Deserialize;

pub use mutations::{Changed, Fared, Mutation};
pub use training::Training;

/// Files that are read at once: a bucket takes its time for each.
const AT_ONCE: usize = 16;

/// Why there is nothing to tell.
#[derive(Debug, thiserror::Error)]
pub enum FactsError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The ledger.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// A file is of another version, or was changed.
    #[error("failed to read {key} as this version writes it")]
    Unreadable {
        /// The file.
        key: String,
        /// What is wrong with it.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The ledger's chain is broken.
    #[error("failed to trust the ledger: {0}")]
    Chain(String),
    /// The search has not begun.
    #[error("run {run} has no ledger yet: there is nothing to report before its search has begun")]
    NotBegun {
        /// The run.
        run: String,
    },
}

/// Everything that the page tells.
#[derive(Debug)]
pub struct Facts {
    /// `<namespace>.<name>`.
    pub run: String,
    /// The store's URL.
    pub store: String,
    /// What was searched.
    pub problem: Problem,
    /// Finished generations, the first one first.
    pub generations: Vec<GenerationEntry>,
    /// The digest of the search so far.
    pub digest: String,
    /// Validation KL and perplexity by the generation that the survivor was born in.
    pub validation: BTreeMap<u32, (f64, f64)>,
    /// Dense, uniform, searched and trained, once they were measured. What was measured of the survivor of
    /// fewer generations is none.
    pub evaluation: Option<EvaluationReport>,
    /// How the survivor was trained, once it was.
    pub training: Option<Training>,
    /// How model and data were prepared.
    pub plan: Option<Plan>,
    /// Where the device seconds went, by the workers' own accounts.
    pub seconds: GpuSeconds,
    /// Devices that trials were computed on.
    pub devices: BTreeSet<String>,
    /// How offspring fared, by what they changed of their parents.
    pub mutations: BTreeMap<Mutation, Fared>,
}

/// The part of `evaluation.json` that is told.
#[derive(Deserialize)]
struct Evaluation {
    of: Evaluated,
    report: EvaluationReport,
}

/// What it is an evaluation of.
#[derive(Deserialize)]
struct Evaluated {
    ledger: Digest,
    training: Option<String>,
}

impl Facts {
    /// Reads a run as far as it is there.
    ///
    /// # Errors
    /// What the store answers; naming the file where one was changed; before the search has begun.
    pub async fn read(store: &Store, run: &RunIdentity) -> Result<Self, FactsError> {
        let paths = RunPaths::new(run);
        let name = format!("{}.{}", run.namespace, run.name);
        let ledger = Ledger::new(store, &paths);
        let entries = ledger.load().await?;
        let digest = verify_chain(&entries);
        let mut generations = Vec::new();
        let mut problem = None;
        for entry in entries {
            match entry {
                Entry::Genesis(genesis) => problem = Some(genesis.problem),
                Entry::Generation(generation) => generations.push(*generation),
            }
        }
        let Some(problem) = problem else {
            return Err(FactsError::NotBegun { run: name });
        };
        let digest = digest.map_err(|error| FactsError::Chain(error.to_string()))?;
        let newest = generations.last().map_or(0, |newest| newest.generation);
        let devices = ledger.devices(newest).await?;
        let evaluation: Option<Evaluation> = read(store, &paths.evaluation()).await?;
        let evaluation = evaluation.filter(|evaluation| evaluation.of.ledger == digest);
        let trained = evaluation.as_ref().and_then(|one| one.of.training.clone());
        Ok(Self {
            run: name,
            store: store.url().to_string(),
            validation: validation(&Validations::new(store, &paths), &generations).await?,
            training: Training::read(store, &paths, digest, trained.as_deref()).await?,
            evaluation: evaluation.map(|evaluation| evaluation.report),
            plan: read(store, &paths.plan()).await?,
            seconds: sum_workers(&read_workers(store, &paths).await?, None),
            devices: devices.iter().map(|device| format!("{device:?}")).collect(),
            mutations: mutations::sums(&generations),
            digest: digest.to_string(),
            problem,
            generations,
        })
    }

    /// The survivor as it stands: the start before the first generation.
    pub fn survivor(&self) -> &Genome {
        let last = self.generations.last();
        last.map_or(&self.problem.start, |last| &last.survivor.genome)
    }

    /// A finished generation.
    pub fn generation(&self, number: u32) -> Option<&GenerationEntry> {
        let mut all = self.generations.iter();
        all.find(|generation| generation.generation == number)
    }

    /// How many modules of each kind are at each level.
    pub fn levels(&self) -> PerKind<Vec<u32>> {
        PerKind::of(|kind| {
            let deepest = self.problem.ladders.deepest();
            let mut counts = vec![0; deepest[kind].index() + 1];
            for (module, level) in self.survivor().modules() {
                if module.kind == kind {
                    counts[level.index()] += 1;
                }
            }
            counts
        })
    }
}

async fn read<T: serde::de::DeserializeOwned>(
    store: &Store,
    key: &str,
) -> Result<Option<T>, FactsError> {
    let Some(bytes) = store.get_if_exists(key).await? else {
        return Ok(None);
    };
    let read = serde_json::from_slice(&bytes);
    read.map(Some).map_err(|source| FactsError::Unreadable {
        key: key.to_owned(),
        source: source.into(),
    })
}

/// The figures of every survivor that was measured.
async fn validation(
    validations: &Validations,
    generations: &[GenerationEntry],
) -> Result<BTreeMap<u32, (f64, f64)>, StoreError> {
    let born = generations.iter().map(|of| of.survivor.born_in_generation);
    let born: BTreeSet<u32> = born.chain([0]).collect();
    let looked = iter(born.into_iter().map(|born| validations.get(born)));
    let records: Vec<_> = looked.buffered(AT_ONCE).try_collect().await?;
    let number = |text: Option<String>| text.and_then(|text| text.parse().ok());
    let figures = records.into_iter().flatten().filter_map(|record| {
        let born = record.born_in_generation;
        Some((born, (number(record.kl)?, number(record.perplexity)?)))
    });
    Ok(figures.collect())
}
