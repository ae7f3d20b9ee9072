//! The work folder: a folder for each Job, one in it for each worker with its log and report.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};

use super::LocalError;
use crate::names::JobKey;

/// A work folder that no other command uses.
#[derive(Debug)]
pub(super) struct WorkFolder {
    path: PathBuf,
    _lock: Flock<File>,
}

impl WorkFolder {
    /// Makes the folder and locks it; the lock goes with the process, however that ends.
    pub(super) fn take(path: PathBuf) -> Result<Self, LocalError> {
        make(&path.join("cache"))?;
        let lock = path.join("lock");
        let file = File::create(&lock).map_err(failed("make", &lock))?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => Ok(Self { path, _lock: lock }),
            Err((_, _)) => Err(LocalError::Busy { path }),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Where workers keep what they fetch from a remote store.
    pub(super) fn cache(&self) -> PathBuf {
        self.path.join("cache")
    }

    /// A fresh folder for a Job: what an earlier command left under this name is not believed.
    pub(super) fn make_job(&self, key: JobKey) -> Result<(), LocalError> {
        let path = self.path.join(key.to_string());
        match fs::remove_dir_all(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(failed("empty", &path)(error));
            }
            Ok(()) | Err(_) => {}
        }
        make(&path)
    }

    /// A folder for a worker of a Job.
    pub(super) fn make_worker(&self, key: JobKey, worker: &str) -> Result<PathBuf, LocalError> {
        let path = self.path.join(key.to_string()).join(worker);
        make(&path)?;
        Ok(path)
    }
}

fn make(path: &Path) -> Result<(), LocalError> {
    fs::create_dir_all(path).map_err(failed("make", path))
}

/// Turns what the system answered into an error that names the path.
pub(super) fn failed<'a>(
    operation: &'static str,
    path: &'a Path,
) -> impl FnOnce(io::Error) -> LocalError + 'a {
    move |source| LocalError::Folder {
        operation,
        path: path.to_path_buf(),
        source,
    }
}
