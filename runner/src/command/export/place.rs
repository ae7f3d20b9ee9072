//! A folder that appears whole or not at all, in place of an earlier export and of nothing else.

use std::fs::File;
use std::path::{Path, PathBuf};

use darwinlm_task::{ExitCode, RunIdentity};

use crate::failure::{Failure, OrFail};
use crate::scratch::Scratch;

/// What tells an export of ours, in any format, from every other folder.
pub(super) const RECORD: &str = "darwinlm.json";

/// A folder in the making, beside the place it is meant for: a rename moves nothing.
pub(super) struct Place {
    target: PathBuf,
    /// Gone with this, unless it was put in its place.
    partial: Scratch,
    /// What named it, for messages: a field or an argument.
    named: &'static str,
}

impl Place {
    /// Starts afresh. The name is the run's own, so that what a killed worker left is swept here.
    pub(super) fn open(
        target: PathBuf,
        run: &RunIdentity,
        named: &'static str,
    ) -> Result<Self, Failure> {
        let name = target.file_name().unwrap_or_default().to_string_lossy();
        let partial = format!(".{name}.{}.{}.part", run.namespace, run.name);
        let partial = target.with_file_name(partial);
        refuse_another(&target, named)?;
        let _ = std::fs::remove_dir_all(&partial);
        std::fs::create_dir_all(&partial).or_fail(
            ExitCode::PermissionDenied,
            format!("failed to write {}", partial.display()),
        )?;
        Ok(Self {
            target,
            partial: Scratch::of(partial),
            named,
        })
    }

    /// Where to write.
    pub(super) fn partial(&self) -> &Path {
        self.partial.path()
    }

    /// Puts what was written in its place.
    pub(super) fn finish(self) -> Result<(), Failure> {
        let Self {
            target,
            partial,
            named,
        } = self;
        let partial = partial.path();
        let doing = || format!("failed to put the export at {}", target.display());
        refuse_another(&target, named)?;
        sync(partial).or_fail(ExitCode::PermissionDenied, doing())?;
        let old = partial.with_extension("old");
        let _ = std::fs::remove_dir_all(&old);
        let replaces = target.exists();
        if replaces {
            std::fs::rename(&target, &old).or_fail(ExitCode::PermissionDenied, doing())?;
        }
        if let Err(error) = std::fs::rename(partial, &target) {
            if replaces {
                let _ = std::fs::rename(&old, &target);
            }
            return Err(error).or_fail(ExitCode::PermissionDenied, doing());
        }
        let _ = std::fs::remove_dir_all(&old);
        Ok(())
    }
}

/// Refuses a folder that is no export of ours.
pub(super) fn refuse_another(target: &Path, named: &str) -> Result<(), Failure> {
    if !target.exists() || target.join(RECORD).exists() {
        return Ok(());
    }
    Err(Failure::new(
        ExitCode::PermissionDenied,
        format!(
            "{named}: {} exists and is no export of ours, for it has no {RECORD}; \
             move it away",
            target.display()
        ),
    ))
}

/// The bytes first, then the name that makes them count.
fn sync(folder: &Path) -> std::io::Result<()> {
    for file in std::fs::read_dir(folder)? {
        File::open(file?.path())?.sync_all()?;
    }
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run() -> RunIdentity {
        RunIdentity {
            namespace: "team".to_owned(),
            name: "small".to_owned(),
            uid: "uid".to_owned(),
        }
    }

    /// Writes an export of one file beside its record.
    fn export(target: &Path, text: &str) -> Result<(), Failure> {
        let place = Place::open(target.to_owned(), &run(), "--out")?;
        std::fs::write(place.partial().join("weights"), text).unwrap();
        std::fs::write(place.partial().join(RECORD), "{}").unwrap();
        place.finish()
    }

    fn names(folder: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(folder).unwrap();
        entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect()
    }

    #[test]
    fn an_export_takes_the_place_of_an_earlier_one_and_leaves_nothing_beside() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("destination/transformers");
        for text in ["first", "second"] {
            export(&target, text).unwrap();
            assert_eq!(
                std::fs::read_to_string(target.join("weights")).unwrap(),
                text
            );
        }
        assert_eq!(names(target.parent().unwrap()), ["transformers"]);
    }

    #[test]
    fn what_a_killed_worker_left_does_not_get_into_the_next_export() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("transformers");
        let killed = Place::open(target.clone(), &run(), "--out").unwrap();
        std::fs::write(killed.partial().join("half"), "").unwrap();
        std::mem::forget(killed);
        export(&target, "whole").unwrap();
        let mut found = names(&target);
        found.sort();
        assert_eq!(found, [RECORD, "weights"]);
    }

    #[test]
    fn of_an_export_that_is_abandoned_nothing_stays() {
        let folder = tempfile::tempdir().unwrap();
        let place = Place::open(folder.path().join("transformers"), &run(), "--out").unwrap();
        std::fs::write(place.partial().join("half"), "").unwrap();
        drop(place);
        assert!(names(folder.path()).is_empty());
    }

    #[test]
    fn a_folder_that_is_no_export_is_left_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("transformers");
        std::fs::create_dir(&target).unwrap();
        std::fs::write(target.join("model.safetensors"), "precious").unwrap();
        let failure = export(&target, "new").unwrap_err();
        assert_eq!(failure.code, ExitCode::PermissionDenied);
        assert!(
            failure.to_string().contains("no darwinlm.json"),
            "{failure}"
        );
        assert_eq!(names(&target), ["model.safetensors"]);
        assert_eq!(names(folder.path()), ["transformers"]);
    }
}
