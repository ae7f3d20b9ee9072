//! `darwinlm run`: a PruningRun on this machine.

use std::collections::BTreeMap;
use std::fs;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use clap::Args;
use darwinlm_api::{ForecastStatus, PruningRun, check, check_update};
use darwinlm_search::{Entry, Genome, Problem};
use darwinlm_store::{Ledger, Store};
use darwinlm_task::paths::RunPaths;
use darwinlm_task::{ExitCode, RunIdentity};

use super::{Failure, chain, store_folder, store_url, text};
use crate::local::evaluation::table;
use crate::local::parameters;
use crate::local::screen::Screen;
use crate::local::{Finished, LocalError, LocalRun, Spec, find_runner};
use crate::run_controller::validate::{Placement, ValidatedRun, validate};

pub(super) const EXAMPLES: &str = "\
Examples:
  darwinlm run -f run.yaml --volume data=/srv/data
      pvc://data/… in run.yaml is what lies in /srv/data
  darwinlm run -f run.yaml --volume data=/srv/data --workers 2 --store ./store
      two workers share the work; everything is kept in ./store

Credentials of sources and of a store that is a bucket come from the environment: HF_TOKEN, AWS_…,
GOOGLE_…, AZURE_…; with DARWINLM_SOURCE_ before the name they are for the sources alone.

The same command resumes a run that was stopped. While it runs, search.workers, pruning.workers,
search.generationsPerJob, budget and suspend may be changed in the file; postTraining, evaluation and export,
too, until their own task has started.
Ends with 0 and the digest of the search on the last line, or with the code of what went wrong:
12 too little memory, 65 bad data, 66 input missing, 69 store unavailable, 77 permission denied,
78 the spec asks for what cannot be done, 130 or 143 stopped.";

/// How often the file is looked at while the run goes on.
const REREAD: Duration = Duration::from_secs(1);

#[derive(Debug, Args)]
pub(super) struct Run {
    /// File with the PruningRun
    #[arg(short, long, value_name = "FILE")]
    file: PathBuf,
    /// Folder or URL of the store, instead of spec.artifacts.store
    #[arg(long, value_name = "DIR|URL")]
    store: Option<String>,
    /// Workers of every task that several can share, instead of the spec's
    #[arg(long)]
    workers: Option<NonZeroU32>,
    /// The folder that stands for a claim; once for every claim
    #[arg(long = "volume", value_name = "CLAIM=DIR", value_parser = volume)]
    volumes: Vec<(String, PathBuf)>,
    /// Folder for the workers' logs and reports; by default <store>/.darwinlm/<run>
    #[arg(long, value_name = "DIR")]
    work_dir: Option<PathBuf>,
}

/// Carries the run out.
pub(super) async fn run(arguments: Run) -> Result<(), Failure> {
    let store = arguments.store.as_deref().map(store_url).transpose()?;
    let placement = Placement::Local {
        volumes: volumes(&arguments.volumes)?,
        store,
    };
    let (mut file, run) = RunFile::open(arguments.file, placement, arguments.workers)?;
    let program = find_runner().map_err(|error| Failure::new(ExitCode::InputMissing, error))?;
    let folder = match arguments.work_dir {
        Some(folder) => folder,
        None => work_folder(&run),
    };
    let (store, identity) = (run.store.clone(), run.identity.clone());
    let local = LocalRun::new(run, program, folder).map_err(local_failure)?;
    let mut screen = Screen::new();
    let finished = local
        .carry_out(&mut file, &mut screen)
        .await
        .map_err(local_failure)?;
    conclude(finished, &store, &identity).await
}

/// What the survivor is made of, as the ledger has it.
async fn survivor(store: &str, run: &RunIdentity) -> Result<Option<(Problem, Genome)>, Failure> {
    let store = Store::open_existing(store)?;
    let entries = Ledger::new(&store, &RunPaths::new(run)).load().await?;
    Ok(match (entries.first(), entries.last()) {
        (Some(Entry::Genesis(genesis)), Some(Entry::Generation(last))) => {
            Some((genesis.problem.clone(), last.survivor.genome.clone()))
        }
        _ => None,
    })
}

async fn conclude(finished: Finished, store: &str, run: &RunIdentity) -> Result<(), Failure> {
    match finished {
        Finished::Succeeded {
            digest,
            evaluation,
            exports,
            forecast,
            report,
            budget_spent,
        } => {
            if let Some(words) = budget_spent {
                eprintln!("{words}: raise spec.budget and run the same command to go on");
            }
            if let Some(evaluation) = evaluation {
                println!("{}", table(&evaluation));
            }
            if let Some((problem, genome)) = survivor(store, run).await? {
                println!("{}", parameters::table(&problem, &genome));
            }
            for export in exports {
                println!("exported to {export}");
            }
            if let Some(report) = report {
                let path = store_folder(&report);
                let place = path.map_or(report, |path| path.display().to_string());
                println!("report written to {place}");
            }
            if let Some(ForecastStatus {
                gpu_seconds,
                error_percent: Some(percent),
            }) = forecast
            {
                println!("{gpu_seconds} GPU seconds were forecast: it took {percent:+} %");
            }
            println!("{digest}");
            Ok(())
        }
        Finished::Failed {
            code,
            message,
            logs,
        } => Err(Failure {
            code,
            message: format!("{message}\nlogs of all workers: {}", logs.display()),
        }),
        Finished::Stopped(signal) => Err(Failure {
            code: 128 + signal,
            message: "stopped; the same command resumes".into(),
        }),
    }
}

fn local_failure(error: LocalError) -> Failure {
    let code = match &error {
        LocalError::Folder { source, .. }
            if source.kind() == std::io::ErrorKind::PermissionDenied =>
        {
            ExitCode::PermissionDenied
        }
        LocalError::Folder { .. } | LocalError::Busy { .. } => ExitCode::StoreUnavailable,
        LocalError::Start { .. } => ExitCode::InputMissing,
        LocalError::Signals(_) => ExitCode::Bug,
    };
    Failure::new(code, chain(&error))
}

/// Beside what the run keeps, or apart when the store is elsewhere.
fn work_folder(run: &ValidatedRun) -> PathBuf {
    let root = store_folder(&run.store).unwrap_or_else(std::env::temp_dir);
    root.join(".darwinlm").join(&run.identity.name)
}

pub(super) fn volume(text: &str) -> Result<(String, PathBuf), String> {
    let (claim, folder) = text
        .split_once('=')
        .ok_or("CLAIM=DIR is accepted, such as data=/srv/data")?;
    if claim.is_empty() || folder.is_empty() {
        return Err("CLAIM=DIR is accepted, such as data=/srv/data".to_owned());
    }
    let path = fs::canonicalize(folder).map_err(|error| format!("the folder {folder}: {error}"))?;
    if path.is_dir() {
        Ok((claim.to_owned(), path))
    } else {
        Err(format!("{folder} is no folder"))
    }
}

pub(super) fn volumes(given: &[(String, PathBuf)]) -> Result<BTreeMap<String, PathBuf>, Failure> {
    let mut volumes = BTreeMap::new();
    for (claim, folder) in given {
        if volumes.insert(claim.clone(), folder.clone()).is_some() {
            let message = format!("--volume names the claim {claim:?} twice");
            return Err(Failure::new(ExitCode::Usage, message));
        }
    }
    Ok(volumes)
}

/// The file that a run is asked for in.
struct RunFile {
    path: PathBuf,
    placement: Placement,
    workers: Option<NonZeroU32>,
    accepted: PruningRun,
    read: Option<SystemTime>,
    looked: Instant,
}

impl RunFile {
    fn open(
        path: PathBuf,
        placement: Placement,
        workers: Option<NonZeroU32>,
    ) -> Result<(Self, ValidatedRun), Failure> {
        let read = changed_at(&path);
        let accepted = parse(&path)?;
        let file = Self {
            path,
            placement,
            workers,
            accepted,
            read,
            looked: Instant::now(),
        };
        let run = file.validated(&file.accepted)?;
        Ok((file, run))
    }

    fn validated(&self, run: &PruningRun) -> Result<ValidatedRun, Failure> {
        let path = self.path.display();
        let mut run = validate(run, &self.placement)
            .map_err(|rejection| Failure::new(ExitCode::BadSpec, format!("{path}: {rejection}")))?;
        if let Some(workers) = self.workers {
            run.pruning_workers = workers.get();
            run.search_workers = workers.get();
        }
        Ok(run)
    }

    fn reread(&mut self) -> Result<ValidatedRun, Failure> {
        let new = parse(&self.path)?;
        check_update(&new, &self.accepted).map_err(|broken| refused(&self.path, &broken))?;
        let run = self.validated(&new)?;
        self.accepted = new;
        Ok(run)
    }
}

impl Spec for RunFile {
    fn changed(&mut self) -> Option<ValidatedRun> {
        if self.looked.elapsed() < REREAD {
            return None;
        }
        self.looked = Instant::now();
        let changed = changed_at(&self.path);
        if changed == self.read {
            return None;
        }
        self.read = changed;
        match self.reread() {
            Ok(run) => Some(run),
            Err(failure) => {
                eprintln!("the run goes on as before: {}", failure.message);
                None
            }
        }
    }
}

fn changed_at(path: &Path) -> Option<SystemTime> {
    fs::metadata(path)
        .and_then(|metadata| metadata.modified())
        .ok()
}

fn parse(path: &Path) -> Result<PruningRun, Failure> {
    check(&read(path)?).map_err(|violations| refused(path, &violations))
}

/// What a file holds.
pub(super) fn read(path: &Path) -> Result<serde_json::Value, Failure> {
    let shown = path.display();
    serde_saphyr::from_str(&text(path)?)
        .map_err(|error| Failure::new(ExitCode::BadSpec, format!("{shown} is no YAML: {error}")))
}

pub(super) fn refused(path: &Path, violations: &[darwinlm_api::Violation]) -> Failure {
    let all: Vec<_> = violations
        .iter()
        .map(|one| format!("{}: {one}", path.display()))
        .collect();
    Failure::new(ExitCode::BadSpec, all.join("\n"))
}
