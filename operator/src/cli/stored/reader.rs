//! Reads a run out of its store, again and again: what cannot change is read once.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use darwinlm_search::{Entry, GenerationEntry, Search, Told};
use darwinlm_store::{
    Ledger, Listed, Results, Store, StoreError, Validations, newest, read_workers,
};
use darwinlm_task::paths::{MANIFEST, RunPaths};
use darwinlm_task::{ExitCode, RunIdentity};
use futures::future::try_join_all;

use super::super::get::runs;
use super::super::report::only;
use super::super::{Failure, chain, store_folder, store_url};
use super::here;
use super::stand::{OpenStep, Searched, Seen, Stand, Training};

/// A run, and what is known of it.
pub(super) struct Reader {
    store: Store,
    named: String,
    run: RunIdentity,
    paths: RunPaths,
    /// The search after the newest entry of the ledger, replayed.
    search: Option<Search>,
    generations: Vec<GenerationEntry>,
    repeated: u64,
    validation: BTreeMap<u32, f64>,
    work_folder: Option<PathBuf>,
    client: reqwest::Client,
}

impl Reader {
    /// Finds the run; of several it has to be said which.
    pub(super) async fn open(run: Option<&str>, named: &str) -> Result<Self, Failure> {
        let url = store_url(named)?;
        let store = Store::open_existing(&url)?;
        let run = only(&url, runs(&store, run).await?)?;
        let folder = store_folder(&url).filter(|_| run.namespace == "local");
        Ok(Self {
            paths: RunPaths::new(&run),
            store,
            named: named.to_owned(),
            search: None,
            generations: Vec::new(),
            repeated: 0,
            validation: BTreeMap::new(),
            work_folder: folder.map(|folder| folder.join(".darwinlm").join(&run.name)),
            client: crate::progress_client::progress_client(),
            run,
        })
    }

    pub(super) fn name(&self) -> String {
        format!("{}.{}", self.run.namespace, self.run.name)
    }

    /// Looks once.
    pub(super) async fn look(&mut self) -> Result<Stand<'_>, Failure> {
        self.follow_ledger().await?;
        self.read_validation().await?;
        let prefix = self.paths.prefix();
        let ledger = self.store.list_files(&format!("{prefix}/ledger")).await?;
        let accounts = self.store.list_files(&format!("{prefix}/workers")).await?;
        let trainings = self
            .store
            .list_files(&format!("{prefix}/checkpoints"))
            .await?;
        let plan = self.store.file(&self.paths.plan()).await?;
        let own = self.store.file(&self.paths.run()).await?;
        let now = now();
        let all = [&ledger, &accounts, &trainings].into_iter().flatten();
        let last_write = all.chain(&plan).chain(&own).cloned().collect::<Vec<_>>();
        let here = match &self.work_folder {
            Some(folder) => here::look(&self.client, folder).await,
            None => None,
        };
        Ok(Stand {
            run: &self.run,
            store: &self.named,
            now,
            is_prepared: plan.is_some(),
            is_measured: self.store.exists(&self.paths.latency()).await?,
            is_database_ready: self.search.is_some() || self.is_database_ready().await?,
            training: training(&trainings),
            is_evaluated: self.is_evaluated().await?,
            workers: self.workers(&accounts, now).await?,
            here,
            last_write: (!last_write.is_empty()).then(|| newest(&last_write)),
            search: self.searched(&ledger).await?,
        })
    }

    async fn searched(&self, ledger: &[Listed]) -> Result<Option<Searched<'_>>, Failure> {
        let Some(search) = &self.search else {
            return Ok(None);
        };
        let times: BTreeMap<_, _> = ledger
            .iter()
            .map(|file| (file.key.as_str(), file.modified_unix_seconds))
            .collect();
        let closed = (0..=search.generation()).filter_map(|index| {
            let key = self.paths.ledger_entry(index);
            times.get(key.as_str()).copied()
        });
        Ok(Some(Searched {
            problem: search.problem(),
            digest: search.digest().to_string(),
            generations: &self.generations,
            closed: closed.collect(),
            open: self.open_steps(search).await?,
            repeated: self.repeated,
            validation: &self.validation,
        }))
    }

    /// Replays the ledger once, and then entry by entry as it grows.
    async fn follow_ledger(&mut self) -> Result<(), Failure> {
        let ledger = Ledger::new(&self.store, &self.paths);
        let mut found = Vec::new();
        match &mut self.search {
            None => {
                if ledger.entry(0).await?.is_none() {
                    return Ok(());
                }
                let (entries, replay) = ledger.verify().await?;
                self.search = Some(replay.search);
                found = entries;
            }
            Some(search) => {
                while let Some(entry) = ledger.entry(search.generation() + 1).await? {
                    let key = self.paths.ledger_entry(search.generation() + 1);
                    follow(search, &key, &entry)?;
                    found.push(entry);
                }
            }
        }
        for entry in found {
            if let Entry::Generation(closed) = entry {
                self.repeated += ledger.cost(closed.generation).await?.repeated();
                self.generations.push(*closed);
            }
        }
        Ok(())
    }

    /// What the survivors measure on held-out text, as far as it is there.
    async fn read_validation(&mut self) -> Result<(), Failure> {
        let validations = Validations::new(&self.store, &self.paths);
        let born = self.generations.iter();
        let born = born.map(|closed| closed.survivor.born_in_generation);
        let born: BTreeSet<u32> = born.chain([0]).collect();
        for born in born {
            if self.validation.contains_key(&born) {
                continue;
            }
            let record = validations.get(born).await?;
            let kl = record.and_then(|record| record.kl?.parse().ok());
            if let Some(kl) = kl {
                self.validation.insert(born, kl);
            }
        }
        Ok(())
    }

    /// The open generation, as its results tell it.
    async fn open_steps(&self, search: &Search) -> Result<Vec<OpenStep>, Failure> {
        let results = Results::new(&self.store, &self.paths);
        let (mut search, follows) = (search.clone(), search.digest());
        let mut steps = Vec::new();
        loop {
            let trials = search.ask();
            let reads = trials.iter().map(|trial| results.get(trial.id, follows));
            let known = try_join_all(reads).await?;
            let known: Vec<_> = known.into_iter().flatten().collect();
            if trials.is_empty() {
                return Ok(steps);
            }
            steps.push(OpenStep {
                all: trials.len(),
                outcomes: known.iter().map(|result| result.outcome).collect(),
            });
            let mut is_over = true;
            for result in known {
                match search.tell(result.trial, result.outcome) {
                    Ok(Told::StepComplete) => is_over = false,
                    Ok(Told::Recorded | Told::AlreadyKnown | Told::GenerationComplete(_)) => {}
                    // Too many trials failed: the worker that found it says so.
                    Err(_) => return Ok(steps),
                }
            }
            if is_over {
                return Ok(steps);
            }
        }
    }

    /// Whether a database that the run marked is whole; which one is its own, only the spec says.
    async fn is_database_ready(&self) -> Result<bool, StoreError> {
        let uses = self.paths.uses("databases");
        for key in self.store.list(&uses).await? {
            let digest = key.rsplit('/').next().unwrap_or_default();
            let manifest = format!("databases/{digest}/{MANIFEST}");
            if self.store.exists(&manifest).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether an evaluation is there, of the ledger as it stands.
    async fn is_evaluated(&self) -> Result<bool, Failure> {
        let bytes = self.store.get_if_exists(&self.paths.evaluation()).await?;
        let Some(search) = &self.search else {
            return Ok(false);
        };
        let of = bytes.and_then(|bytes| {
            let file: serde_json::Value = serde_json::from_slice(&bytes).ok()?;
            Some(file["of"]["ledger"].as_str()?.to_owned())
        });
        Ok(of.is_some_and(|of| of == search.digest().to_string()))
    }

    async fn workers(&self, accounts: &[Listed], now: i64) -> Result<Vec<Seen>, Failure> {
        let files = read_workers(&self.store, &self.paths).await?;
        let seen = files.into_iter().map(|file| {
            let key = self.paths.worker(&file.worker);
            let account = accounts.iter().find(|account| account.key == key);
            let written = account.map_or(now, |account| account.modified_unix_seconds);
            Seen {
                file,
                age_seconds: (now - written).max(0),
            }
        });
        Ok(seen.collect())
    }
}

/// Replays the entry of the next generation, which lies at the key.
fn follow(search: &mut Search, key: &str, entry: &Entry) -> Result<(), Failure> {
    let differs = |why: String| {
        Failure::new(
            ExitCode::BadData,
            format!("failed to replay the ledger entry {key}: {why}"),
        )
    };
    match entry {
        Entry::Generation(closed) => {
            let followed = search.follow(closed);
            followed.map_err(|error| differs(chain(&error)))?;
            Ok(())
        }
        Entry::Genesis(_) => Err(differs(
            "it is the start of a search, an entry that closes a generation is accepted".to_owned(),
        )),
    }
}

/// Post-training, once it has left anything.
fn training(files: &[Listed]) -> Option<Training> {
    let is_manifest = |file: &Listed| file.key.ends_with(&format!("/trained/{MANIFEST}"));
    (!files.is_empty()).then(|| Training {
        is_done: files.iter().any(is_manifest),
    })
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
    })
}

#[cfg(test)]
#[path = "../../../tests/fixtures/finished.rs"]
mod finished;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_second_start_in_a_ledger_is_refused_by_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("file://{}", folder.path().display());
        finished::write(&url).await;
        let mut reader = Reader::open(None, &url).await.unwrap();
        let stand = reader.look().await.unwrap();
        let last = stand.search.unwrap().generations.last().unwrap().generation;
        let start = reader.paths.ledger_entry(0);
        let start = reader.store.get_if_exists(&start).await.unwrap().unwrap();
        let next = reader.paths.ledger_entry(last + 1);
        reader.store.put_create(&next, start).await.unwrap();
        let refused = reader.look().await.err().unwrap();
        assert_eq!(refused.code, ExitCode::BadData.code());
        assert!(refused.message.contains(&next), "{}", refused.message);
        assert!(refused.message.contains("the start of a search"));
    }
}
