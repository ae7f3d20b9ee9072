//! The ledger in the store: entry 0 is the problem, entry g closes generation g.

use std::collections::BTreeSet;
use std::future::ready;

use darwinlm_search::{
    Digest, Entry, EntryError, Problem, Replay, ReplayError, Search, SearchError, replay,
};
use darwinlm_task::paths::RunPaths;
use darwinlm_task::{DeviceClass, ExitCode};
use futures::stream::{StreamExt as _, TryStreamExt as _, iter};

use crate::{GenerationCost, History, Store, StoreError, digest_bytes};

/// Files that are read at once: a bucket takes its time for each.
const AT_ONCE: usize = 16;

/// The ledger cannot be read, trusted or written.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The file is not an entry.
    #[error(
        "failed to trust the ledger entry {key} in the store {url}: {}",
        chain(source)
    )]
    Entry {
        /// The entry's key.
        key: String,
        /// The store.
        url: String,
        /// What is wrong.
        #[source]
        source: EntryError,
    },
    /// The entry is not what the seed and the outcomes make it.
    #[error(
        "failed to replay the ledger entry {key} in the store {url}: {}",
        chain(source)
    )]
    Replay {
        /// The entry's key.
        key: String,
        /// The store.
        url: String,
        /// What differs.
        #[source]
        source: Box<ReplayError>,
    },
    /// No search can have this definition.
    #[error("failed to begin the search: {}", chain(source))]
    Problem {
        /// What is wrong with it.
        #[source]
        source: Box<SearchError>,
    },
    /// Two workers closed one generation with different entries.
    #[error(transparent)]
    Conflict(#[from] Box<EntryConflict>),
}

/// Two different entries of one generation.
#[derive(Debug, thiserror::Error)]
#[error(
    "failed to write the ledger entry {key} in the store {url}: it holds {stored}, this worker \
     computed {ours} from the same results and left it as {kept}; the workers do not run the same \
     program, or one of their machines errs"
)]
pub struct EntryConflict {
    /// The entry's key.
    pub key: String,
    /// The store.
    pub url: String,
    /// The digest of the entry that lies there.
    pub stored: Digest,
    /// The digest of this worker's.
    pub ours: Digest,
    /// The key this worker's entry was left under.
    pub kept: String,
}

impl LedgerError {
    /// A word for metric labels and event reasons.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Store(error) => error.kind(),
            Self::Entry { .. } => "LedgerEntry",
            Self::Replay { .. } => "LedgerReplay",
            Self::Problem { .. } => "Problem",
            Self::Conflict(_) => "LedgerConflict",
        }
    }

    /// How a worker that meets this error ends.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::Store(error) => error.exit_code(),
            Self::Entry { .. } | Self::Replay { .. } | Self::Conflict(_) => ExitCode::BadData,
            Self::Problem { .. } => ExitCode::BadSpec,
        }
    }
}

/// An error and its causes in one line: reports and logs show the first line alone.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(this) = cause {
        text = format!("{text}: {this}");
        cause = this.source();
    }
    text
}

/// The ledger of a run.
#[derive(Clone, Debug)]
pub struct Ledger {
    store: Store,
    paths: RunPaths,
}

impl Ledger {
    /// The ledger of a run; nothing is read yet.
    pub fn new(store: &Store, paths: &RunPaths) -> Self {
        Self {
            store: store.clone(),
            paths: paths.clone(),
        }
    }

    /// One entry, if it is there.
    ///
    /// # Errors
    /// What the store answers, or [`LedgerError::Entry`] naming the file when it was changed.
    pub async fn entry(&self, index: u32) -> Result<Option<Entry>, LedgerError> {
        let key = self.paths.ledger_entry(index);
        let bytes = self.store.get_if_exists(&key).await?;
        bytes.map(|bytes| self.parse(&key, &bytes)).transpose()
    }

    /// Every entry in order, until one is missing. Their places and contents are not compared.
    ///
    /// # Errors
    /// Like [`Ledger::entry`].
    pub async fn load(&self) -> Result<Vec<Entry>, LedgerError> {
        let ahead = iter((0..).map(|index| self.entry(index))).buffered(AT_ONCE);
        let there = ahead.try_take_while(|entry| ready(Ok(entry.is_some())));
        there
            .try_filter_map(|entry| ready(Ok(entry)))
            .try_collect()
            .await
    }

    /// The devices that so many generations were computed on.
    ///
    /// # Errors
    /// Like [`Ledger::cost`].
    pub async fn devices(&self, generations: u32) -> Result<BTreeSet<DeviceClass>, StoreError> {
        let costs = self.costs(generations).await?;
        Ok(costs.iter().flat_map(GenerationCost::devices).collect())
    }

    /// What each of so many generations cost, the first one first.
    async fn costs(&self, generations: u32) -> Result<Vec<GenerationCost>, StoreError> {
        let looked = iter((1..=generations).map(|index| self.cost(index)));
        looked.buffered(AT_ONCE).try_collect().await
    }

    /// Loads and replays the ledger: the whole of `darwinlm verify`.
    ///
    /// # Errors
    /// Like [`Ledger::entry`], or [`LedgerError::Replay`] naming the file and what differs.
    pub async fn verify(&self) -> Result<(Vec<Entry>, Replay), LedgerError> {
        let entries = self.load().await?;
        let replayed = replay(&entries).map_err(|source| self.differs(source))?;
        Ok((entries, replayed))
    }

    /// Writes entry 0 if it is missing, then loads and replays the ledger.
    ///
    /// # Errors
    /// Like [`Ledger::verify`], [`LedgerError::Problem`], or [`LedgerError::Conflict`] when entry 0
    /// is another problem.
    pub async fn open(&self, problem: &Problem) -> Result<(Vec<Entry>, Replay), LedgerError> {
        let fresh = Search::new(problem.clone()).map_err(|source| LedgerError::Problem {
            source: Box::new(source),
        })?;
        self.append(&fresh.genesis()).await?;
        self.verify().await
    }

    /// The same, with what is reported of it: all but the survivors' validation.
    ///
    /// # Errors
    /// Like [`Ledger::open`].
    pub async fn history(&self, problem: &Problem) -> Result<(Replay, History), LedgerError> {
        let (entries, replay) = self.open(problem).await?;
        let newest = entries.last().map_or(0, Entry::generation);
        let costs = self.costs(newest).await?;
        let history = History::replayed(&entries, &replay, costs);
        Ok((replay, history))
    }

    /// Writes an entry; another worker that was first must have written the same bytes.
    ///
    /// # Errors
    /// What the store answers, or [`LedgerError::Conflict`] with both digests; this worker's entry
    /// is then left beside the other for whoever looks for the cause.
    pub async fn append(&self, entry: &Entry) -> Result<(), LedgerError> {
        let key = self.paths.ledger_entry(entry.generation());
        let bytes = bytes::Bytes::from(entry.to_bytes());
        let settled = self.store.settle(&key, bytes.clone()).await?;
        if settled.ours {
            return Ok(());
        }
        let stored = self.parse(&key, &settled.stored)?;
        let mark = digest_bytes(&bytes).sha256;
        let kept = format!(
            "{}.{}.conflict.json",
            key.trim_end_matches(".json"),
            &mark[..16]
        );
        self.store.settle(&kept, bytes).await?;
        let url = self.store.url().to_owned();
        let (stored, ours) = (stored.digest(), entry.digest());
        Err(Box::new(EntryConflict {
            key,
            url,
            stored,
            ours,
            kept,
        })
        .into())
    }

    /// Keeps what a generation cost; written before its entry, so that every entry has one.
    ///
    /// # Errors
    /// What the store answers, or when the stored file cannot be read.
    pub async fn put_cost(
        &self,
        index: u32,
        cost: &GenerationCost,
    ) -> Result<GenerationCost, StoreError> {
        let key = self.paths.ledger_cost(index);
        let settled = self.store.put_json_create(&key, cost).await?;
        serde_json::from_slice(&settled.stored).map_err(|error| self.store.malformed(&key, error))
    }

    /// What a generation cost. A lost file costs nothing: it decides nothing but the budget.
    ///
    /// # Errors
    /// What the store answers, or when the file cannot be read.
    pub async fn cost(&self, index: u32) -> Result<GenerationCost, StoreError> {
        match self.store.get_json(&self.paths.ledger_cost(index)).await {
            Err(StoreError::Missing { key, .. }) => {
                tracing::warn!(
                    key,
                    "The cost of a generation is missing and counts as nothing."
                );
                Ok(GenerationCost::default())
            }
            read => read,
        }
    }

    fn parse(&self, key: &str, bytes: &[u8]) -> Result<Entry, LedgerError> {
        Entry::from_bytes(bytes).map_err(|source| LedgerError::Entry {
            key: key.to_owned(),
            url: self.store.url().to_owned(),
            source,
        })
    }

    fn differs(&self, source: ReplayError) -> LedgerError {
        let index = match &source {
            ReplayError::Empty => 0,
            ReplayError::Differs { generation, .. }
            | ReplayError::TooMany { generation }
            | ReplayError::Outcomes { generation, .. } => *generation,
        };
        LedgerError::Replay {
            key: self.paths.ledger_entry(index),
            url: self.store.url().to_owned(),
            source: Box::new(source),
        }
    }
}
