//! `darwinlm export`: a checkpoint of any generation's survivor, written by the runner.

use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;

use clap::Args;
use darwinlm_store::Store;
use darwinlm_task::ExitCode;
use tokio::process::Command;

use super::get::runs;
use super::report::only;
use super::{Failure, store_url};
use crate::local::find_runner;

pub(super) const EXAMPLES: &str = "\
Examples:
  darwinlm export ./store --generation 12 --to ./checkpoint   the survivor of generation 12
  darwinlm export ./store --to ./newest --run local.tiny      that of the newest generation

Writes a folder that transformers loads: the survivor as the search left it, untrained; 0 is the start. Nothing in
the store is changed, and no spec is needed. A folder that is no export of ours is refused, an earlier export is
replaced. `darwinlm lineage` shows the generations. Needs the runner, which `make build` leaves beside this command.";

#[derive(Debug, Args)]
pub(super) struct Export {
    /// Folder or URL of the store
    #[arg(value_name = "DIR|URL")]
    store: String,
    /// The generation, 0 for the start; the newest one if absent
    #[arg(long, value_name = "N")]
    generation: Option<u32>,
    /// Folder to write
    #[arg(long, value_name = "DIR")]
    to: PathBuf,
    /// The run, as <namespace>.<name> or its name alone; needed where the store holds several
    #[arg(long)]
    run: Option<String>,
}

/// Finds the run and lets the runner write.
pub(super) async fn export(arguments: Export) -> Result<(), Failure> {
    let Export {
        store,
        generation,
        to,
        run,
    } = arguments;
    let url = store_url(&store)?;
    let store = Store::open_existing(&url)?;
    let run = only(&url, runs(&store, run.as_deref()).await?)?;
    let program = find_runner().map_err(|error| Failure::new(ExitCode::InputMissing, error))?;
    let mut command = Command::new(&program);
    command
        .args(["export", "--store", &url, "--run"])
        .arg(format!("{}.{}", run.namespace, run.name))
        .arg("--out")
        .arg(to)
        .kill_on_drop(true);
    if let Some(generation) = generation {
        command.args(["--generation", &generation.to_string()]);
    }
    let ended = command.status().await.map_err(|error| {
        let shown = program.display();
        Failure::new(
            ExitCode::InputMissing,
            format!("failed to start {shown}: {error}"),
        )
    })?;
    let code = ended.code().or(ended.signal().map(|signal| 128 + signal));
    match code.and_then(|code| u8::try_from(code).ok()) {
        Some(0) => Ok(()),
        // The runner has said why.
        code => Err(Failure {
            code: code.unwrap_or(ExitCode::Bug.code()),
            message: String::new(),
        }),
    }
}
