//! Folders of this process that go with it, also when it is told to stop while it computes.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};
use std::time::{SystemTime, UNIX_EPOCH};

use darwinlm_task::ExitCode;

use crate::failure::{Failure, OrFail};

static HELD: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

/// A folder that goes with this.
#[derive(Debug)]
pub struct Scratch(PathBuf);

impl Scratch {
    /// Makes one where the system keeps what is temporary.
    ///
    /// # Errors
    /// When it cannot be made, with its path. One that is there is somebody else's.
    pub fn make(what: &str) -> Result<Self, Failure> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.map_or(0, |now| now.as_nanos());
        let name = format!("darwinlm-{what}-{}-{now}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).or_fail(
            ExitCode::PermissionDenied,
            format!("failed to make {}", path.display()),
        )?;
        Ok(Self::of(path))
    }

    /// Takes over a folder.
    pub fn of(path: PathBuf) -> Self {
        held().insert(path.clone());
        Self(path)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let mut held = held();
        // It may have been moved: then there is nothing to remove.
        let _ = std::fs::remove_dir_all(&self.0);
        held.remove(&self.0);
    }
}

/// Removes all of them, for a process that ends here: as long as the answer is held, nobody makes
/// another or is done with one.
pub fn sweep() -> MutexGuard<'static, BTreeSet<PathBuf>> {
    let held = held();
    for path in held.iter() {
        // Another thread may still write: what it wrote in the meantime goes at the second try.
        let _ = std::fs::remove_dir_all(path).or_else(|_| std::fs::remove_dir_all(path));
    }
    held
}

fn held() -> MutexGuard<'static, BTreeSet<PathBuf>> {
    HELD.lock().expect("no holder of this lock panics")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_of_one_name_are_two_folders_and_each_goes_with_its_own() {
        let one = Scratch::make("test").unwrap();
        let other = Scratch::make("test").unwrap();
        let (first, second) = (one.path().to_owned(), other.path().to_owned());
        assert!(first.is_dir() && second.is_dir() && first != second);
        std::fs::write(first.join("file"), "x").unwrap();
        drop(one);
        assert!(!first.exists() && second.is_dir());
        drop(other);
        assert!(!second.exists());
    }
}
