//! `darwinlm get`: the runs of a store, as a table.

use clap::Args;
use darwinlm_report::grouped;
use darwinlm_search::{Entry, Survivor, verify_chain};
use darwinlm_store::{Ledger, Store};
use darwinlm_task::paths::RunPaths;
use darwinlm_task::{ExitCode, RunIdentity};

use super::{Failure, store_url};

pub(super) const EXAMPLES: &str = "\
Examples:
  darwinlm get --store ./store             all runs
  darwinlm get --store ./store local.tiny  one of them";

#[derive(Debug, Args)]
pub(super) struct Get {
    /// Folder or URL of the store
    #[arg(long, env = "DARWINLM_STORE", value_name = "DIR|URL")]
    store: String,
    /// One run, as <namespace>.<name>; a name alone is looked for in every namespace
    run: Option<String>,
}

/// One line of the table.
struct Row {
    run: String,
    stage: &'static str,
    generations: String,
    fitness: String,
    parameters: String,
    digest: String,
}

/// Prints the table.
pub(super) async fn get(arguments: Get) -> Result<(), Failure> {
    let url = store_url(&arguments.store)?;
    let store = Store::open_existing(&url)?;
    let mut rows = Vec::new();
    for run in runs(&store, arguments.run.as_deref()).await? {
        rows.push(row(&store, &run).await?);
    }
    println!(
        "{:<32}{:<12}{:>12}{:>12}{:>16}  DIGEST",
        "RUN", "STAGE", "GENERATIONS", "FITNESS", "PARAMETERS"
    );
    for Row {
        run,
        stage,
        generations,
        fitness,
        parameters,
        digest,
    } in rows
    {
        println!("{run:<32}{stage:<12}{generations:>12}{fitness:>12}{parameters:>16}  {digest}");
    }
    Ok(())
}

/// The runs of a store, sorted; at least one.
pub(super) async fn runs(store: &Store, wanted: Option<&str>) -> Result<Vec<RunIdentity>, Failure> {
    let mut names: Vec<String> = store
        .list("runs")
        .await?
        .iter()
        .filter_map(|key| key.split('/').nth(1).map(str::to_owned))
        .collect();
    names.dedup();
    let all = names.join(", ");
    names.retain(|name| {
        wanted.is_none_or(|wanted| {
            name == wanted || name.split_once('.').is_some_and(|(_, own)| own == wanted)
        })
    });
    if names.is_empty() {
        let message = match wanted {
            Some(wanted) if !all.is_empty() => {
                format!("{} holds no run {wanted:?}; it holds {all}", store.url())
            }
            _ => format!("{} holds no runs", store.url()),
        };
        return Err(Failure::new(ExitCode::InputMissing, message));
    }
    Ok(names
        .into_iter()
        .filter_map(|run| {
            let (namespace, name) = run.split_once('.')?;
            Some(RunIdentity {
                namespace: namespace.to_owned(),
                name: name.to_owned(),
                uid: String::new(),
            })
        })
        .collect())
}

/// Reads a run as far as it is there. The hash chain is checked, the search is not replayed.
async fn row(store: &Store, run: &RunIdentity) -> Result<Row, Failure> {
    let paths = RunPaths::new(run);
    let entries = Ledger::new(store, &paths).load().await?;
    let (generation, generations, survivor) = newest(&entries);
    let digest = match verify_chain(&entries) {
        Ok(digest) => digest.to_string(),
        Err(_) if entries.is_empty() => String::new(),
        Err(error) => {
            let key = paths.ledger_entry(generation);
            return Err(Failure::new(
                ExitCode::BadData,
                format!("failed to trust the ledger up to {key}: {error}"),
            ));
        }
    };
    let stage = if store.exists(&paths.evaluation()).await? {
        "Evaluated"
    } else if !entries.is_empty() && generation >= generations {
        "Searched"
    } else if !entries.is_empty() {
        "Searching"
    } else if store.exists(&paths.plan()).await? {
        "Prepared"
    } else {
        "Pending"
    };
    let of = |number: Option<String>| number.unwrap_or_else(|| "-".to_owned());
    Ok(Row {
        run: format!("{}.{}", run.namespace, run.name),
        stage,
        generations: if entries.is_empty() {
            "-".to_owned()
        } else {
            format!("{generation}/{generations}")
        },
        fitness: of(survivor.and_then(|one| one.fitness).map(|fitness| {
            let text = fitness.to_string();
            text.parse::<f64>()
                .map_or(text, |number| format!("{number:.4}"))
        })),
        parameters: of(survivor.map(|one| grouped(one.parameters))),
        digest: if digest.is_empty() {
            "-".to_owned()
        } else {
            digest
        },
    })
}

/// Generations there are, generations asked for, and the newest survivor.
fn newest(entries: &[Entry]) -> (u32, u32, Option<&Survivor>) {
    let generations = match entries.first() {
        Some(Entry::Genesis(genesis)) => genesis.problem.generations,
        Some(Entry::Generation(_)) | None => 0,
    };
    match entries.last() {
        Some(Entry::Generation(last)) => (last.generation, generations, Some(&last.survivor)),
        Some(Entry::Genesis(_)) | None => (0, generations, None),
    }
}
