//! `darwinlm report`: one page of HTML that tells of a run.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Args;
use darwinlm_report::{Facts, FactsError, page};
use darwinlm_search::GenerationEntry;
use darwinlm_store::Store;
use darwinlm_task::{ExitCode, RunIdentity};

use super::get::runs;
use super::{Failure, chain, store_url};

pub(super) const EXAMPLES: &str = "\
Examples:
  darwinlm report ./store                            of the only run there is, to report.html
  darwinlm report ./store --run local.tiny -o a.html
  darwinlm report ./store --generation 17            with the selection of that generation instead of the last

The page stands alone: no script, nothing from the network. It tells dense, uniform, searched and trained, validation by
generation, where the survivor is thin, a selection as a tree, which mutations did well, where the device time went, and how
to reproduce it. Workers leave the same page in the store, as runs/<run>/report.html.";

#[derive(Debug, Args)]
pub(super) struct Report {
    /// Folder or URL of the store
    #[arg(value_name = "DIR|URL")]
    store: String,
    /// The run, as <namespace>.<name> or its name alone; needed where the store holds several
    #[arg(long)]
    run: Option<String>,
    /// The generation whose selection is shown; the last one without this
    #[arg(long)]
    generation: Option<u32>,
    /// File to write
    #[arg(short, long, value_name = "FILE", default_value = "report.html")]
    output: PathBuf,
}

/// Writes the page.
pub(super) async fn report(arguments: Report) -> Result<(), Failure> {
    let url = store_url(&arguments.store)?;
    let store = Store::open_existing(&url)?;
    let run = only(&url, runs(&store, arguments.run.as_deref()).await?)?;
    let facts = Facts::read(&store, &run).await.map_err(failure)?;
    let selection = match arguments.generation {
        Some(number) => Some(asked(&facts, number)?),
        None => facts.generations.last(),
    };
    write(&arguments.output, &page(&facts, selection)).map_err(|error| {
        let shown = arguments.output.display();
        Failure::new(ExitCode::Usage, format!("failed to write {shown}: {error}"))
    })?;
    println!("{}", arguments.output.display());
    Ok(())
}

/// The generation that was asked for.
fn asked(facts: &Facts, number: u32) -> Result<&GenerationEntry, Failure> {
    let missing = || {
        let there = match facts.generations.len() {
            0 => "none is finished yet".to_owned(),
            last => format!("those from 1 to {last} are there"),
        };
        let message = format!("{} has no generation {number}: {there}", facts.run);
        Failure::new(ExitCode::InputMissing, message)
    };
    facts.generation(number).ok_or_else(missing)
}

/// The one run that was found; of several it has to be said which.
pub(super) fn only(url: &str, found: Vec<RunIdentity>) -> Result<RunIdentity, Failure> {
    let names: Vec<_> = found
        .iter()
        .map(|run| format!("{}.{}", run.namespace, run.name))
        .collect();
    match <[RunIdentity; 1]>::try_from(found) {
        Ok([run]) => Ok(run),
        Err(_) => Err(Failure::new(
            ExitCode::Usage,
            format!(
                "{url} holds {}: say which, as <namespace>.<name>",
                names.join(", ")
            ),
        )),
    }
}

pub(super) fn failure(error: FactsError) -> Failure {
    let code = match &error {
        FactsError::Store(error) => error.exit_code(),
        FactsError::Ledger(error) => error.exit_code(),
        FactsError::Unreadable { .. } | FactsError::Chain(_) => ExitCode::BadData,
        FactsError::NotBegun { .. } => ExitCode::InputMissing,
    };
    Failure::new(code, chain(&error))
}

/// Whole or not at all.
pub(super) fn write(path: &Path, text: &str) -> std::io::Result<()> {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let part = folder
        .unwrap_or(Path::new("."))
        .join(format!(".{name}.part"));
    let written = fs::File::create(&part)
        .and_then(|mut file| {
            file.write_all(text.as_bytes())?;
            file.sync_all()
        })
        .and_then(|()| fs::rename(&part, path));
    if written.is_err() {
        let _ = fs::remove_file(&part);
    }
    written
}
