//! What the page tells, read out of the store; nothing of it is computed anew but sums and shares.

use std::collections::{BTreeMap, BTreeSet};

use darwinlm_search::{Entry, GenerationEntry, Genome, ModuleKind, PerKind, Problem, verify_chain};
use darwinlm_store::{
    Ledger, LedgerError, Store, StoreError, Validations, read_workers, sum_workers,
};
use darwinlm_task::paths::RunPaths;
use darwinlm_task::{EvaluationReport, GpuSeconds, Plan, RunIdentity};
use serde::Deserialize;

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
        source: serde_json::Error,
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
    /// Dense, uniform, searched and trained, once they were measured.
    pub evaluation: Option<EvaluationReport>,
    /// How model and data were prepared.
    pub plan: Option<Plan>,
    /// Where the device seconds went, by the workers' own accounts.
    pub seconds: GpuSeconds,
    /// Devices that trials were computed on.
    pub devices: BTreeSet<String>,
    /// How offspring fared, by what they changed of their parents.
    pub mutations: BTreeMap<Changed, Fared>,
}

/// Which modules an offspring's exchange touched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Changed {
    /// Attention modules alone.
    Attention,
    /// MLP modules alone.
    Mlp,
    /// Both.
    Both,
}

impl Changed {
    /// As the page says it.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Attention => "attention",
            Self::Mlp => "MLP",
            Self::Both => "attention and MLP",
        }
    }
}

/// How offspring fared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fared {
    /// Bred.
    pub bred: u32,
    /// Became the next parent.
    pub survived: u32,
}

/// The part of `evaluation.json` that is told.
#[derive(Deserialize)]
struct Evaluation {
    report: EvaluationReport,
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
        let born = generations.iter().map(|of| of.survivor.born_in_generation);
        let born: BTreeSet<u32> = born.chain([0]).collect();
        let validations = Validations::new(store, &paths);
        let mut validation = BTreeMap::new();
        for born in born {
            if let Some(record) = validations.get(born).await? {
                let number = |text: Option<String>| text.and_then(|text| text.parse().ok());
                if let (Some(kl), Some(perplexity)) = (number(record.kl), number(record.perplexity))
                {
                    validation.insert(born, (kl, perplexity));
                }
            }
        }
        let mut devices = BTreeSet::new();
        for generation in &generations {
            let cost = ledger.cost(generation.generation).await?;
            devices.extend(cost.devices().iter().map(|device| format!("{device:?}")));
        }
        let evaluation: Option<Evaluation> = read(store, &paths.evaluation()).await?;
        Ok(Self {
            run: name,
            store: store.url().to_string(),
            mutations: mutations(&generations),
            problem,
            generations,
            digest: digest.to_string(),
            validation,
            evaluation: evaluation.map(|evaluation| evaluation.report),
            plan: read(store, &paths.plan()).await?,
            seconds: sum_workers(&read_workers(store, &paths).await?, None),
            devices,
        })
    }

    /// The survivor as it stands: the start before the first generation.
    pub fn survivor(&self) -> &Genome {
        let last = self.generations.last();
        last.map_or(&self.problem.start, |last| &last.survivor.genome)
    }

    /// How many modules of each kind are at each level.
    pub fn levels(&self) -> PerKind<Vec<u32>> {
        PerKind::of(|kind| {
            let deepest = self.problem.ladders.deepest();
            let deepest = of_kind(&deepest, kind).index();
            let mut counts = vec![0; deepest + 1];
            for (module, level) in self.survivor().modules() {
                if module.kind == kind {
                    counts[level.index()] += 1;
                }
            }
            counts
        })
    }
}

/// The part of a kind.
pub(super) fn of_kind<T>(both: &PerKind<T>, kind: ModuleKind) -> &T {
    match kind {
        ModuleKind::Attention => &both.attention,
        ModuleKind::Mlp => &both.mlp,
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
        source,
    })
}

/// Sums over all offspring of all generations.
fn mutations(generations: &[GenerationEntry]) -> BTreeMap<Changed, Fared> {
    let mut sums: BTreeMap<Changed, Fared> = BTreeMap::new();
    for generation in generations {
        for child in &generation.offspring {
            if let Some(changed) = changed(&generation.parent, child) {
                let fared = sums.entry(changed).or_default();
                fared.bred += 1;
                fared.survived += u32::from(*child == generation.survivor.genome);
            }
        }
    }
    sums
}

/// Which kinds of modules differ.
pub(super) fn changed(parent: &Genome, child: &Genome) -> Option<Changed> {
    let differs = |kind: ModuleKind| {
        let both = parent.modules().zip(child.modules());
        both.into_iter()
            .any(|((module, was), (_, is))| module.kind == kind && was != is)
    };
    match (differs(ModuleKind::Attention), differs(ModuleKind::Mlp)) {
        (true, true) => Some(Changed::Both),
        (true, false) => Some(Changed::Attention),
        (false, true) => Some(Changed::Mlp),
        (false, false) => None,
    }
}
