//! One worker: a child process that never outlives this one.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use darwinlm_task::{
    ENV_CACHE, ENV_LISTEN, ENV_REPORT, ENV_TASK, ENV_WORKER, SOURCE_PREFIX, TaskKind, TaskReport,
    TaskSpec,
};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::{Child, Command};

use super::folder::{WorkFolder, failed};
use super::{GRACE, LocalError};
use crate::names::JobKey;

/// On one machine a dead worker is missed sooner than in a cluster: beats are short.
const CLAIMS: [(&str, &str); 2] = [
    ("DARWINLM_CLAIM_BEAT_SECONDS", "1"),
    ("DARWINLM_CLAIM_STALE_SECONDS", "6"),
];

/// A worker's process.
#[derive(Debug)]
pub(super) struct Worker {
    pub(super) name: String,
    folder: PathBuf,
    child: Child,
    told_to_leave: Option<Instant>,
}

/// How a worker ended.
#[derive(Clone, Debug)]
pub(super) struct Exit {
    /// The exit code, unless a signal ended it.
    pub(super) code: Option<i32>,
    /// The signal that ended it.
    pub(super) signal: Option<i32>,
    /// Its last words, if they can be read.
    pub(super) report: Option<TaskReport>,
}

impl Worker {
    /// Starts a worker of a Job, in a folder of its own.
    pub(super) fn start(
        program: &Path,
        folder: &WorkFolder,
        key: JobKey,
        name: String,
        task: &TaskSpec,
    ) -> Result<Self, LocalError> {
        let own = folder.make_worker(key, &name)?;
        let path = own.join("log");
        let log = File::create(&path).map_err(failed("make", &path))?;
        let errors = log.try_clone().map_err(failed("write", &path))?;
        let mut command = Command::new(program);
        command
            .arg("work")
            .env(ENV_TASK, task.to_json())
            .env(ENV_REPORT, own.join("report.json"))
            .env(ENV_LISTEN, "127.0.0.1:0")
            .env(ENV_WORKER, &name)
            .env(ENV_CACHE, folder.cache())
            .envs(CLAIMS)
            .stdin(std::process::Stdio::null())
            .stdout(log)
            .stderr(errors)
            // Ctrl-C reaches this command alone, which then tells its workers.
            .process_group(0)
            .kill_on_drop(true);
        if key.task != TaskKind::Prepare {
            for (name, _) in std::env::vars_os().filter(|(name, _)| is_for_sources(name)) {
                command.env_remove(name);
            }
        }
        dies_with_its_parent(&mut command);
        let child = command.spawn().map_err(|source| LocalError::Start {
            program: program.to_path_buf(),
            source,
        })?;
        Ok(Self {
            name,
            folder: own,
            child,
            told_to_leave: None,
        })
    }

    /// How it ended, if it has; a worker that was told to leave and stays is killed in time.
    pub(super) fn ended(&mut self) -> Option<Exit> {
        if self
            .told_to_leave
            .is_some_and(|told| told.elapsed() > GRACE)
        {
            self.kill();
        }
        // A child that cannot be asked for cannot be waited for either: it counts as gone.
        let status = match self.child.try_wait() {
            Ok(None) => return None,
            Ok(Some(status)) => status,
            Err(_) => ExitStatus::from_raw(0x7f00),
        };
        let report = fs::read_to_string(self.folder.join("report.json")).ok();
        let report = report.and_then(|text| serde_json::from_str(&text).ok());
        Some(Exit {
            code: status.code(),
            signal: status.signal(),
            report,
        })
    }

    /// Tells it to leave (SIGTERM).
    pub(super) fn leave(&mut self) {
        if self.told_to_leave.is_none() {
            self.told_to_leave = Some(Instant::now());
            if let Some(id) = self.child.id().and_then(|id| i32::try_from(id).ok()) {
                // It may be gone already: then there is nobody to tell.
                let _ = kill(Pid::from_raw(id), Signal::SIGTERM);
            }
        }
    }

    /// Ends it at once.
    pub(super) fn kill(&mut self) {
        // It may be gone already: then there is nothing to end.
        let _ = self.child.start_kill();
    }

    pub(super) const fn is_leaving(&self) -> bool {
        self.told_to_leave.is_some()
    }

    /// Where it serves its progress, once it does.
    pub(super) fn address(&self) -> Option<String> {
        let text = fs::read_to_string(self.folder.join("address")).ok()?;
        let address = text.trim();
        (!address.is_empty()).then(|| address.to_owned())
    }
}

impl Exit {
    /// Whether this was done to the worker from outside: it asked to be tried again, or was killed.
    pub(super) fn is_disruption(&self) -> bool {
        self.code == Some(75) || matches!(self.signal, Some(9 | 15))
    }
}

/// Whether a variable is for sources and nothing else: `prepare` alone is told of it. Those of a
/// bucket (`AWS_…`) may be the store's, too.
fn is_for_sources(name: &OsStr) -> bool {
    let name = name.to_string_lossy();
    name == "HF_TOKEN" || name.starts_with(SOURCE_PREFIX)
}

/// Lets the kernel send a worker SIGTERM when this process is gone, even by SIGKILL.
fn dies_with_its_parent(command: &mut Command) {
    let parent = nix::unistd::getpid();
    // SAFETY: between fork and exec the closure calls only prctl and getppid, which are
    // async-signal-safe, and touches no memory but its own copy of `parent`.
    unsafe {
        command.pre_exec(move || {
            nix::sys::prctl::set_pdeathsig(Signal::SIGTERM)?;
            // The parent may have gone before the call above took effect.
            if nix::unistd::getppid() == parent {
                Ok(())
            } else {
                Err(io::Error::from(io::ErrorKind::Interrupted))
            }
        });
    }
}

/// A pause that doubles with every failure, as a Job controller's does, at a machine's pace.
pub(super) fn pause(failures: u32) -> Duration {
    Duration::from_millis(250 << failures.min(5))
}
