//! `darwinlm verify`: nothing that a run says of itself is taken at its word.

mod latency;

use clap::Args;
use darwinlm_search::{Digest, Entry, Genome, Level, Problem};
use darwinlm_store::{Folder, FolderWriter, Ledger, Results, Store, digest_bytes, open_folder};
use darwinlm_task::paths::{self, MANIFEST, RunPaths};
use darwinlm_task::{ExitCode, Plan, RunIdentity, TOKENS_VERSION, TokenSlice};
use serde_json::json;

use super::get::runs;
use super::{Failure, store_url};

pub(super) const EXAMPLES: &str = "\
Examples:
  darwinlm verify ./store
  darwinlm verify file:///srv/store --run team.llama2-2-7b

Replays every mutation, selection and digest of the search from its ledger, without the model, and
checks the sha256 of every file of level database, tokens and model that the run rests on.
Prints one line per check, then the digest of the search. Ends with 65 at the first lie, naming it.";

#[derive(Debug, Args)]
pub(super) struct Verify {
    /// Folder or URL of the store
    #[arg(value_name = "DIR|URL")]
    store: String,
    /// One run, as <namespace>.<name>; without it, every run of the store
    #[arg(long)]
    run: Option<String>,
}

/// Checks every run that was asked for.
pub(super) async fn verify(arguments: Verify) -> Result<(), Failure> {
    let url = store_url(&arguments.store)?;
    let store = Store::open_existing(&url)?;
    let runs = runs(&store, arguments.run.as_deref()).await?;
    for run in &runs {
        if runs.len() > 1 {
            println!("{}.{}", run.namespace, run.name);
        }
        let digest = one(&store, run).await?;
        println!("{digest}");
    }
    Ok(())
}

/// Checks one run; the digest of its search.
async fn one(store: &Store, run: &RunIdentity) -> Result<Digest, Failure> {
    let paths = RunPaths::new(run);
    let (entries, replay) = Ledger::new(store, &paths).verify().await?;
    let generations = entries.len().saturating_sub(1);
    passed(
        "ledger",
        &format!("{generations} generations replayed, every digest is right"),
    );
    let results = check_results(store, &paths, &entries).await?;
    passed(
        "trials",
        &format!("{results} results are those of the ledger"),
    );
    let problem = replay.search.problem();
    let plan: Plan = store.get_json(&paths.plan()).await?;
    check_plan(store, &paths, &plan, problem)?;
    passed("plan", "the ledger was searched on this plan");
    if let Some(device) = latency::check(store, &paths, problem).await? {
        passed("latency", &format!("the search rests on times of {device}"));
    }
    let database = database(store, problem).await?;
    let bytes = check_folder(store, &database).await?;
    passed(
        "level database",
        &format!("{} files, {bytes} bytes", database.manifest().files.len()),
    );
    let by_plan = |failure: Failure| Failure {
        message: format!("{} (named by {})", failure.message, paths.plan()),
        ..failure
    };
    let tokens = check_tokens(store, &plan).await.map_err(by_plan)?;
    passed("tokens", &format!("{tokens} bytes"));
    let model = check_model(store, &plan).await.map_err(by_plan)?;
    passed("model", &format!("{model} bytes"));
    Ok(replay.search.digest())
}

fn passed(what: &str, how: &str) {
    println!("ok  {what}: {how}");
}

fn lie(store: &Store, key: &str, found: impl std::fmt::Display) -> Failure {
    let url = store.url();
    Failure::new(
        ExitCode::BadData,
        format!("{key} in the store {url} cannot be trusted: {found}"),
    )
}

/// Every result that is still there led to the outcome in the ledger.
async fn check_results(store: &Store, paths: &RunPaths, entries: &[Entry]) -> Result<u64, Failure> {
    let results = Results::new(store, paths);
    let mut checked = 0;
    for entry in entries {
        let Entry::Generation(closed) = entry else {
            continue;
        };
        for (trial, _, outcome) in closed.trials() {
            let Some(result) = results.get(trial, closed.previous).await? else {
                continue;
            };
            if result.outcome != outcome {
                let found = format!("it says {}, the ledger {outcome}", result.outcome);
                return Err(lie(store, &paths.trial(&trial), found));
            }
            checked += 1;
        }
    }
    Ok(checked)
}

/// The ledger pins the plan's tokens and numerics.
fn check_plan(
    store: &Store,
    paths: &RunPaths,
    plan: &Plan,
    problem: &Problem,
) -> Result<(), Failure> {
    let numerics = serde_json::to_vec(&plan.numerics).expect("a numerics plan is plain data");
    let pins = [
        (
            "training tokens",
            pin(&plan.training.sha256),
            problem.pins.training_tokens,
        ),
        (
            "fitness tokens",
            pin(&plan.fitness.sha256),
            problem.pins.fitness_tokens,
        ),
        (
            "numerics",
            Some(Digest::of(&numerics)),
            problem.pins.numerics_plan,
        ),
    ];
    for (what, found, pinned) in pins {
        if found != Some(pinned) {
            let found = found.map_or_else(|| "no digest".to_owned(), |digest| digest.to_string());
            let found = format!("its {what} are {found}, the ledger names {pinned}");
            return Err(lie(store, &paths.plan(), found));
        }
    }
    let dense = Genome::uniform(problem.shape.blocks, Level::DENSE);
    let dense = problem.parameters(&dense);
    let length = plan.calibration.sequence_length;
    let lengths = TokenSlice::ALL.map(|slice| plan.slice(slice).sequence_length);
    if plan.version != 1 || plan.dense_parameters != dense || lengths != [length; 4] {
        let found = format!(
            "it says version {}, {} dense parameters and sequences of {lengths:?} tokens; the \
             ledger was searched with version 1, {dense} parameters and equal lengths",
            plan.version, plan.dense_parameters
        );
        return Err(lie(store, &paths.plan(), found));
    }
    Ok(())
}

fn pin(hex: &str) -> Option<Digest> {
    format!("sha256:{hex}").parse().ok()
}

/// The level database whose manifest the ledger names.
async fn database(store: &Store, problem: &Problem) -> Result<Folder, Failure> {
    let pinned = problem.pins.level_database;
    let mut others = Vec::new();
    for key in store.list("databases").await? {
        let Some(folder) = key.strip_suffix(&format!("/{MANIFEST}")) else {
            continue;
        };
        match open_folder(store, folder).await {
            Ok(Some(found)) if pin(found.sha256()) == Some(pinned) => return Ok(found),
            Ok(Some(found)) => others.push(format!("{key} has sha256:{}", found.sha256())),
            Ok(None) => {}
            Err(error) => others.push(error.to_string()),
        }
    }
    let others = if others.is_empty() {
        "there is none".to_owned()
    } else {
        others.join("; ")
    };
    Err(lie(
        store,
        "databases",
        format!("the ledger names a level database whose {MANIFEST} has {pinned}; {others}"),
    ))
}

/// Opens a folder that the plan names.
async fn named(store: &Store, key: &str) -> Result<Folder, Failure> {
    match open_folder(store, key).await? {
        Some(folder) => Ok(folder),
        None => Err(lie(store, &format!("{key}/{MANIFEST}"), "it is missing")),
    }
}

/// Every file of a folder is what its manifest says; their bytes.
async fn check_folder(store: &Store, folder: &Folder) -> Result<u64, Failure> {
    let manifest = format!("{}/{MANIFEST}", folder.key());
    for (name, file) in &folder.manifest().files {
        // Files are stored under a name that holds the start of their sha256.
        let mark = file.sha256.get(..16).unwrap_or(&file.sha256);
        let extension = name.rsplit_once('.').map_or("", |(_, extension)| extension);
        if !file.stored.contains(mark) || !file.stored.ends_with(extension) {
            let found = format!("it says that {name} is stored as {}", file.stored);
            return Err(lie(store, &manifest, found));
        }
        let found = store.size(&folder.file_key(name)?).await?;
        if found != Some(file.bytes) {
            let found = found.map_or_else(|| "none".to_owned(), |bytes| format!("{bytes} bytes"));
            let stored = &file.stored;
            let found = format!(
                "it says {} bytes of {stored}, there are {found}",
                file.bytes
            );
            return Err(lie(store, &manifest, found));
        }
    }
    folder.verify().await?;
    check_parts(store, folder).await?;
    Ok(folder.bytes())
}

/// The parts that several workers filled a folder with say the same as its manifest.
async fn check_parts(store: &Store, folder: &Folder) -> Result<(), Failure> {
    let writer = FolderWriter::new(store, folder.key());
    let prefix = format!("{}/parts", folder.key());
    for key in store.list(&prefix).await? {
        let name = key.rsplit('/').next().unwrap_or(&key);
        let Some(part) = name.strip_suffix(".json") else {
            continue;
        };
        let Some(files) = writer.part(part).await? else {
            continue;
        };
        for (name, file) in files {
            if folder.manifest().files.get(&name) != Some(&file) {
                let found = format!("it says {file:?} of {name}, the {MANIFEST} does not");
                return Err(lie(store, &key, found));
            }
        }
    }
    Ok(())
}

/// The tokens are those of the plan, and the manifest says nothing else.
async fn check_tokens(store: &Store, plan: &Plan) -> Result<u64, Failure> {
    let key = paths::tokens(&plan.tokens);
    let folder = named(store, &key).await?;
    let manifest = format!("{key}/{MANIFEST}");
    let sequences: serde_json::Map<_, _> = TokenSlice::ALL
        .into_iter()
        .map(|slice| (slice.name().to_owned(), json!(plan.slice(slice).sequences)))
        .collect();
    let length = plan.calibration.sequence_length;
    let about = &folder.manifest().about;
    // Tokens of an earlier recipe are as good; which one it was is part of their digest.
    let version = about["version"].as_u64().unwrap_or_default();
    let version = version.clamp(1, u64::from(TOKENS_VERSION));
    let expected = json!({ "version": version, "sequenceLength": length, "sequences": sequences });
    if *about != expected {
        return Err(lie(
            store,
            &manifest,
            format!("it says {about}, the plan {expected}"),
        ));
    }
    for slice in TokenSlice::ALL {
        let name = format!("{}.safetensors", slice.name());
        let found = &folder.file(&name)?.sha256;
        let planned = &plan.slice(slice).sha256;
        if found != planned {
            let found = format!("it says {name} has {found}, the plan says {planned}");
            return Err(lie(store, &manifest, found));
        }
    }
    check_folder(store, &folder).await
}

/// The model's digest is that of its files.
async fn check_model(store: &Store, plan: &Plan) -> Result<u64, Failure> {
    let key = paths::model(&plan.model);
    let folder = named(store, &key).await?;
    let files: serde_json::Map<_, _> = folder
        .manifest()
        .files
        .iter()
        .map(|(name, file)| (name.clone(), json!(file.sha256)))
        .collect();
    let digest = digest_bytes(json!({ "files": files }).to_string().as_bytes()).sha256;
    let about = &folder.manifest().about;
    if digest != plan.model || *about != json!({ "digest": plan.model }) {
        let found = format!("it says {about} of files with the digest {digest}");
        return Err(lie(store, &format!("{key}/{MANIFEST}"), found));
    }
    check_folder(store, &folder).await
}
