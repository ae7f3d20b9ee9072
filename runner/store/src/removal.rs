//! Removing what lies below a prefix.

use std::path::Path;

use futures::future::try_join_all;

use crate::{Listed, Store, StoreError};

/// Files that are removed at the same time.
const AT_ONCE: usize = 16;

/// What was removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    /// Files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl Store {
    /// Removes the files below a prefix that `keep` does not name, and in a folder what killed writers
    /// left half written, and the folders that are empty then. `hear` is told how many of how many are
    /// gone. Repeated after a failure it goes on.
    ///
    /// # Errors
    /// What the store answers.
    pub async fn remove_below(
        &self,
        prefix: &str,
        keep: impl Fn(&str) -> bool,
        mut hear: impl FnMut(u64, u64),
    ) -> Result<Removed, StoreError> {
        let mut files = self.list_files(prefix).await?;
        files.retain(|file| !keep(&file.key));
        let total = files.len() as u64;
        let mut removed = Removed::default();
        for some in files.chunks(AT_ONCE) {
            try_join_all(some.iter().map(|file| self.remove(&file.key))).await?;
            removed.files += some.len() as u64;
            removed.bytes += some.iter().map(|file| file.bytes).sum::<u64>();
            hear(removed.files, total);
        }
        if let Some(folder) = self.local_path(prefix) {
            sweep(&folder, prefix, &keep);
        }
        Ok(removed)
    }
}

/// Takes away what a listing does not show. What cannot be removed stays: nobody would read it.
fn sweep(folder: &Path, key: &str, keep: &impl Fn(&str) -> bool) {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return;
    };
    for entry in entries.flatten() {
        let Ok(name) = entry.file_name().into_string() else {
            continue;
        };
        let (path, key) = (entry.path(), format!("{key}/{name}"));
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            sweep(&path, &key, keep);
        } else if name.contains('#') && !keep(&key) {
            let _ = std::fs::remove_file(&path);
        }
    }
    // Refused where something is left.
    let _ = std::fs::remove_dir(folder);
}

/// The newest of some files, in seconds since 1970 by the store's clock.
pub fn newest(files: &[Listed]) -> i64 {
    let times = files.iter().map(|file| file.modified_unix_seconds);
    times.max().unwrap_or(i64::MIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_kept_stays_and_empty_folders_go() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&format!("file://{}", folder.path().display())).unwrap();
        for key in ["runs/a/x/1", "runs/a/x/2", "runs/a/y/3", "runs/ab/x/1"] {
            store.put_create(key, "four".into()).await.unwrap();
        }
        // As a writer leaves it that is killed.
        std::fs::write(folder.path().join("runs/a/x/2#7"), "half").unwrap();
        let (mut told, keep) = (Vec::new(), |key: &str| key == "runs/a/y/3");
        let hear = |done, total| told.push((done, total));
        let removed = store.remove_below("runs/a", keep, hear).await.unwrap();
        assert_eq!((removed.files, removed.bytes), (2, 8));
        assert_eq!(told, [(2, 2)]);
        assert!(!folder.path().join("runs/a/x").exists());
        assert_eq!(
            store.list("runs").await.unwrap(),
            ["runs/a/y/3", "runs/ab/x/1"]
        );
        let again = store.remove_below("runs/a", |_| false, |_, _| ()).await;
        assert_eq!(again.unwrap().files, 1);
        assert!(!folder.path().join("runs/a").exists());
        let nothing = store.remove_below("runs/a", |_| false, |_, _| ()).await;
        assert_eq!(nothing.unwrap(), Removed::default());
    }
}
