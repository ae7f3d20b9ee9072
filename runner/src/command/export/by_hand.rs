//! `darwinlm-runner export`: a checkpoint of any generation's survivor, out of what the store holds.
//!
//! No spec is needed: the ledger's entry 0 holds the search, and pins the level database.

use darwinlm_search::{CostUnit, Entry, Problem, Survivor, Target};
use darwinlm_store::{Folder, Ledger, LedgerError, Store, open_folder};
use darwinlm_task::paths::{self, MANIFEST, RunPaths};
use darwinlm_task::{ExitCode, ExportFormat, Plan, QueryHeadLayout, TargetSpec};
use tch::Device;
use tokio::task::block_in_place;

use super::super::compute::{model_folder, open_database};
use super::super::context::store_failure;
use super::super::measure::Latency;
use super::place::{Place, refuse_another};
use super::record::Identity;
use super::subject::{Subject, Told};
use crate::args;
use crate::device;
use crate::export::Provenance;
use crate::failure::{Failure, OrFail};
use crate::model::DenseModel;
use crate::scratch::Scratch;

/// The argument that says where to.
const OUT: &str = "--out";

/// Writes the checkpoint, its card and its record.
pub(crate) async fn by_hand(arguments: args::Export) -> Result<(), Failure> {
    let args::Export {
        store,
        run,
        generation,
        out,
    } = arguments;
    let store = Store::open_existing(&store).map_err(store_failure)?;
    let out = std::path::absolute(&out).or_fail(ExitCode::Usage, OUT)?;
    refuse_another(&out, OUT)?;
    let name = format!("{}.{}", run.namespace, run.name);
    let paths = RunPaths::new(&run);
    let ledger = Ledger::new(&store, &paths);
    let (entries, replay) = ledger.verify().await.map_err(untrusted)?;
    let problem = replay.search.problem();
    let (entry, survivor) = chosen(&entries, &replay.survivors, generation)
        .map_err(|found| Failure::new(ExitCode::InputMissing, format!("{name} {found}")))?;
    let plan: Plan = store.get_json(&paths.plan()).await.map_err(store_failure)?;
    let stored = pinned(&store, problem).await?;
    let scratch = Scratch::make("export")?;
    let database = open_database(&stored, scratch.path()).await?;
    let source = model_folder(&store, &plan.model, scratch.path(), "by-hand").await?;
    let kind = device::kind(plan.numerics.dtype);
    let dense = block_in_place(|| DenseModel::open(&source, kind, Device::Cpu))
        .or_fail(ExitCode::BadData, "failed to load the dense model")?;
    let devices = ledger.devices(entry.generation()).await;
    let devices = devices.map_err(store_failure)?;
    let (layout, ledger_digest) = (QueryHeadLayout::default(), entry.digest());
    let provenance = Provenance {
        run: name.clone(),
        ledger: ledger_digest,
        generations: entry.generation(),
        seed: problem.seed,
        target: target(&store, &paths, problem).await?,
        training: None,
        database: stored
            .key()
            .rsplit('/')
            .next()
            .unwrap_or_default()
            .to_owned(),
        database_manifest: problem.pins.level_database,
        plan,
        devices,
        runner: env!("CARGO_PKG_VERSION"),
    };
    let format = ExportFormat::Transformers;
    let genome = survivor.genome.clone();
    let of = Identity::new(format, layout, ledger_digest, genome, None, None);
    let told = Told {
        survivor: survivor.clone(),
        training: None,
        layout,
        evaluation: None,
        provenance,
    };
    let subject = Subject::assemble(source, dense, database, told)?;
    let place = Place::open(out.clone(), &run, OUT)?;
    subject.export(of, place).await?;
    println!(
        "generation {} of {name}, {} parameters, {ledger_digest}\n{}",
        entry.generation(),
        survivor.parameters,
        out.display()
    );
    Ok(())
}

fn untrusted(error: LedgerError) -> Failure {
    Failure::new(error.exit_code(), error)
}

/// The ledger's entry of a generation with its survivor, or what there is.
fn chosen<'a>(
    entries: &'a [Entry],
    survivors: &'a [Survivor],
    generation: Option<u32>,
) -> Result<(&'a Entry, &'a Survivor), String> {
    let newest = entries.len().saturating_sub(1);
    let index = generation.map_or(newest, |generation| generation as usize);
    let both = entries.get(index).zip(survivors.get(index));
    both.ok_or_else(|| {
        format!("has no generation {index}: its ledger holds 0, the start, to {newest}")
    })
}

/// The level database whose manifest the ledger names.
async fn pinned(store: &Store, problem: &Problem) -> Result<Folder, Failure> {
    let pinned = problem.pins.level_database;
    for key in store.list("databases").await.map_err(store_failure)? {
        let Some(folder) = key.strip_suffix(&format!("/{MANIFEST}")) else {
            continue;
        };
        // One that cannot be read is not it, or is damaged: either way it is not there.
        if let Ok(Some(found)) = open_folder(store, folder).await
            && format!("sha256:{}", found.sha256()) == pinned.to_string()
        {
            return Ok(found);
        }
    }
    Err(Failure::new(
        ExitCode::InputMissing,
        format!(
            "{} in {} holds no level database whose {MANIFEST} has {pinned}, which the ledger names",
            paths::database(""),
            store.url()
        ),
    ))
}

/// What was asked for, in the words of a spec, as the ledger counts it.
async fn target(store: &Store, of: &RunPaths, problem: &Problem) -> Result<TargetSpec, Failure> {
    Ok(match (problem.target, problem.costs.unit()) {
        (Target::Level(level), _) => TargetSpec::Level(level.get().into()),
        (Target::Cost(limit), CostUnit::Parameters) => TargetSpec::Parameters(limit),
        (Target::Cost(limit), CostUnit::Nanoseconds) => {
            let dense = Latency::read(store, of).await?.stored.table;
            let dense = u128::from(dense.dense(problem.shape.blocks));
            let percent = dense * 100 / u128::from(limit).max(1);
            TargetSpec::SpeedupPercent(u32::try_from(percent).unwrap_or(u32::MAX))
        }
    })
}
