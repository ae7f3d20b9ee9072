//! Folders and files of this machine: nothing is copied.

use std::path::{Path, PathBuf};

use super::pattern::Pattern;
use super::place::chosen;
use super::{Listed, SourceError};

/// `file:///path`.
#[derive(Debug)]
pub struct FolderPlace {
    path: String,
}

impl FolderPlace {
    /// Reads what follows `file://`; it is not escaped.
    pub(super) fn parse(rest: &str) -> Option<Self> {
        let path = rest.strip_prefix('/')?.trim_end_matches('/');
        Some(Self {
            path: path.to_owned(),
        })
    }

    pub(super) fn from(&self) -> String {
        format!("file:///{}", self.path)
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        Path::new("/").join(name)
    }

    /// The folder of a model.
    pub(super) fn folder(&self) -> PathBuf {
        self.path(&self.path)
    }

    /// Names are whole paths here.
    pub(super) fn list(&self) -> Result<Vec<Listed>, SourceError> {
        let pattern = Pattern::parse(&self.path)?;
        let whole = self.folder();
        if whole.exists() && !whole.is_dir() {
            return Ok(vec![listed(&self.path)]);
        }
        let root = match (&pattern, whole.is_dir()) {
            (Pattern::Literal(_), false) => return Ok(Vec::new()),
            (Pattern::Literal(_), true) => whole,
            (Pattern::Glob { .. }, _) => self.path(pattern.folder()),
        };
        let mut files = Vec::new();
        if root.is_dir() {
            walk(&root, &mut files)?;
        }
        chosen(&self.from(), &pattern, files)
    }
}

fn listed(name: &str) -> Listed {
    Listed {
        name: name.to_owned(),
        bytes: None,
        content: None,
    }
}

fn walk(folder: &Path, files: &mut Vec<Listed>) -> Result<(), SourceError> {
    let failed = |source| SourceError::Local {
        operation: "read",
        path: folder.to_owned(),
        source,
    };
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let path = entry.path();
        // A link to a folder may lead back to where it stands.
        if entry.file_type().map_err(failed)?.is_dir() {
            walk(&path, files)?;
        } else if let Some(name) = path.to_str().filter(|_| path.is_file()) {
            files.push(listed(name.trim_start_matches('/')));
        }
    }
    Ok(())
}
