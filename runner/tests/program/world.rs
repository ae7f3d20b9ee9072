//! A folder with tokens for a tiny model, and the program to run in it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use darwinlm_runner::tokens::Sequences;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use serde_json::Value;
use tempfile::TempDir;

/// A folder of a test's own.
pub(crate) struct World {
    folder: TempDir,
}

impl World {
    pub(crate) fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes random tokens of the tiny vocabulary.
    pub(crate) fn tokens(&self, name: &str, sequences: usize, length: u32) -> PathBuf {
        let mut random = ChaCha8Rng::seed_from_u64(5);
        let count = sequences * length as usize;
        let stream: Vec<i32> = (0..count)
            .map(|_| (random.next_u32() % 96) as i32)
            .collect();
        let path = self.path(name);
        Sequences::pack(&stream, length).write(&path).unwrap();
        path
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, text).unwrap();
        path
    }
}

/// The committed tiny model with grouped-query attention: 3 blocks, 6 heads, 40 columns.
pub(crate) fn model() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/tiny-gqa")
}

pub(crate) fn program() -> Command {
    Command::new(env!("CARGO_BIN_EXE_darwinlm-runner"))
}

/// What the program printed, as JSON.
pub(crate) fn json(output: &Output) -> Value {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {errors}", output.status);
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The exit code and what was said on standard error.
pub(crate) fn refused(output: &Output) -> (Option<i32>, String) {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code(), said)
}
