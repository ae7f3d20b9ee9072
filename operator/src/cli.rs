//! The user's command: one file per subcommand.

mod cluster;
mod completion;
mod diff;
mod duration;
mod explain;
mod export;
mod frames;
mod gc;
mod get;
mod lineage;
mod picture;
mod plan;
mod report;
mod run;
mod stored;
mod verify;
mod watch;
mod which;

use std::path::{Path, PathBuf};

use clap::{Parser, Subcommand};
use cluster::{logs, rest};
use darwinlm_store::{LedgerError, StoreError};
use darwinlm_task::ExitCode;
use url::Url;

/// Prunes language models: runs a PruningRun on this machine, shows and checks what runs left.
#[derive(Debug, Parser)]
#[command(name = "darwinlm", version, max_term_width = 100, after_help = EXAMPLES)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  darwinlm run -f run.yaml --volume data=/srv/data --store ./store
  darwinlm watch --store ./store
  darwinlm explain smollm2 -n research
  darwinlm report ./store

`darwinlm COMMAND --help` has more of each. In the PATH as kubectl-darwinlm it is `kubectl darwinlm`.";

#[derive(Debug, Subcommand)]
enum Command {
    /// Carry out a PruningRun on this machine; the same command resumes it
    #[command(after_help = run::EXAMPLES)]
    Run(run::Run),
    /// Say what a run will take before it is run: trials, memory, storage, time and GPU hours
    #[command(after_help = plan::EXAMPLES)]
    Plan(plan::Plan),
    /// Say how a run stands, why it does not move, and what to do
    #[command(after_help = explain::EXAMPLES)]
    Explain(explain::Explain),
    /// Show how a run goes on, until it ends
    #[command(after_help = watch::EXAMPLES)]
    Watch(watch::Watch),
    /// Show what the workers of a run in a cluster say
    #[command(after_help = logs::EXAMPLES)]
    Logs(logs::Logs),
    /// Let a run in a cluster rest: its workers leave, what is stored stays
    #[command(after_help = rest::EXAMPLES)]
    Suspend(rest::Rest),
    /// Let a run in a cluster go on
    #[command(after_help = rest::EXAMPLES)]
    Resume(rest::Rest),
    /// Show the runs that a store holds
    #[command(after_help = get::EXAMPLES)]
    Get(get::Get),
    /// Write a page that tells of a run
    #[command(after_help = report::EXAMPLES)]
    Report(report::Report),
    /// Show how a run's survivor came to be, change by change
    #[command(after_help = lineage::EXAMPLES)]
    Lineage(lineage::Lineage),
    /// Show where two runs part, and why
    #[command(after_help = diff::EXAMPLES)]
    Diff(diff::Diff),
    /// Write a checkpoint of any generation's survivor
    #[command(after_help = export::EXAMPLES)]
    Export(export::Export),
    /// Remove what runs share and no run uses any more
    #[command(after_help = gc::EXAMPLES)]
    Gc(gc::Gc),
    /// Replay a run's search from its ledger, and check every file that it rests on
    #[command(after_help = verify::EXAMPLES)]
    Verify(verify::Verify),
    /// Print what makes a shell complete this command
    #[command(after_help = completion::EXAMPLES)]
    Completion(completion::Completion),
    /// What kubectl asks for, to complete `kubectl darwinlm`
    #[command(name = "__complete", hide = true)]
    Candidates(completion::Candidates),
}

/// Why a command ends without its result.
#[derive(Debug)]
struct Failure {
    code: u8,
    /// Empty where there is nothing to explain: a signal ended what goes on until one does.
    message: String,
}

/// Does what was asked for; the code to exit with.
pub async fn carry_out(arguments: Arguments) -> u8 {
    let done = match arguments.command {
        Command::Run(run) => run::run(run).await,
        Command::Plan(plan) => plan::plan(plan).await,
        Command::Explain(explain) => explain::explain(explain).await,
        Command::Watch(watch) => watch::watch(watch).await,
        Command::Logs(logs) => logs::logs(logs).await,
        Command::Suspend(rest) => rest::rest(rest, true).await,
        Command::Resume(rest) => rest::rest(rest, false).await,
        Command::Get(get) => get::get(get).await,
        Command::Report(report) => report::report(report).await,
        Command::Lineage(lineage) => lineage::lineage(lineage).await,
        Command::Diff(diff) => diff::diff(diff).await,
        Command::Export(export) => export::export(export).await,
        Command::Gc(gc) => gc::gc(gc).await,
        Command::Verify(verify) => verify::verify(verify).await,
        Command::Completion(completion) => completion::completion(&completion),
        Command::Candidates(candidates) => completion::candidates(&candidates),
    };
    match done {
        Ok(()) => 0,
        Err(Failure { code, message }) => {
            if !message.is_empty() {
                eprintln!("error: {message}");
            }
            code
        }
    }
}

impl Failure {
    fn new(code: ExitCode, message: impl std::fmt::Display) -> Self {
        Self {
            code: code.code(),
            message: message.to_string(),
        }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::new(error.exit_code(), chain(&error))
    }
}

impl From<LedgerError> for Failure {
    fn from(error: LedgerError) -> Self {
        Self::new(error.exit_code(), chain(&error))
    }
}

/// An error and its causes in one line, without repeating what a message already says.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(this) = cause {
        let said = this.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        cause = this.source();
    }
    text
}

/// What a file says.
fn text(path: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(path).map_err(|error| {
        let shown = path.display();
        Failure::new(
            ExitCode::InputMissing,
            format!("failed to read {shown}: {error}"),
        )
    })
}

/// The URL of a store that was named by URL or by folder.
fn store_url(named: &str) -> Result<String, Failure> {
    if named.contains("://") {
        return Ok(named.to_owned());
    }
    let path = std::path::absolute(Path::new(named)).map_err(|error| {
        Failure::new(
            ExitCode::Usage,
            format!("the store {named:?} is no folder: {error}"),
        )
    })?;
    // Escapes what means something else in a URL, as # ? and %; a store's URL is read as a URL.
    // No slash at the end, as a directory's URL would have: keys are added with one.
    let url = Url::from_file_path(&path).map_err(|()| {
        let shown = path.display();
        Failure::new(ExitCode::Usage, format!("the store {shown} has no URL"))
    })?;
    Ok(url.into())
}

/// The folder of a store on this machine.
fn store_folder(url: &str) -> Option<PathBuf> {
    let url = Url::parse(url).ok().filter(|url| url.scheme() == "file")?;
    url.to_file_path().ok()
}

#[cfg(test)]
mod tests {
    use darwinlm_store::Store;

    use super::*;

    #[test]
    fn a_folder_is_the_store_whatever_it_is_called() {
        let root = tempfile::TempDir::with_prefix("darwinlm-cli-").unwrap();
        for name in ["plain", "a b", "#1", "what?", "100%", "%41", "ä", "a/b"] {
            let folder = root.path().join(name);
            let url = store_url(folder.to_str().unwrap()).unwrap();
            assert!(url.starts_with("file:///") && !url.ends_with('/'), "{url}");
            assert_eq!(store_folder(&url), Some(folder.clone()), "{url}");
            Store::open(&url).unwrap();
            assert!(folder.is_dir(), "{name:?} was not made as {url}");
        }
        assert!(!root.path().join("A").exists(), "%41 is no A");
    }

    #[test]
    fn a_url_stays_as_it_is_written() {
        for url in ["file:///srv/a%20b", "memory:///", "s3://bucket/a"] {
            assert_eq!(store_url(url).unwrap(), url);
        }
        assert_eq!(store_folder("s3://bucket/a"), None);
        assert_eq!(store_folder("file:///srv/a b"), Some("/srv/a b".into()));
    }
}
