//! `darwinlm verify` and `darwinlm get` on a store that needed no model.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "fixtures/finished.rs"]
mod finished;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

fn darwinlm(arguments: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_darwinlm"))
        .args(arguments)
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    (
        output.status.code(),
        String::from_utf8_lossy(&text).into_owned(),
    )
}

/// A store with a finished run, its folder's name and the digest of its search.
fn finished_run() -> (TempDir, String, String) {
    let folder = TempDir::with_prefix("darwinlm-verify-").unwrap();
    let name = folder.path().to_str().unwrap().to_owned();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let digest = runtime.block_on(finished::write(&format!("file://{name}")));
    (folder, name, digest)
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path))
        } else {
            found.push(path)
        }
    }
    found
}

#[test]
fn a_finished_run_is_verified_and_its_digest_is_the_last_line() {
    let (_folder, store, digest) = finished_run();
    let (code, said) = darwinlm(&["verify", &store]);
    assert_eq!(code, Some(0), "{said}");
    assert!(
        said.contains("ok  ledger: 3 generations replayed"),
        "{said}"
    );
    for check in [
        "trials",
        "plan",
        "latency",
        "level database",
        "tokens",
        "model",
    ] {
        assert!(said.contains(&format!("ok  {check}: ")), "{said}");
    }
    assert_eq!(said.lines().last(), Some(&*digest));
    let (code, said) = darwinlm(&["verify", &store, "--run", "team.small"]);
    assert_eq!(code, Some(0), "{said}");
}

#[test]
fn any_flipped_byte_is_found_and_its_file_named() {
    let (folder, store, _) = finished_run();
    let all = files(folder.path());
    assert!(all.len() > 15, "{all:?}");
    for file in all {
        let name = file.file_name().unwrap().to_str().unwrap();
        let whole = fs::read(&file).unwrap();
        for position in [0, whole.len() / 3, whole.len() - 1] {
            let mut flipped = whole.clone();
            flipped[position] ^= 1;
            fs::write(&file, flipped).unwrap();
            let (code, said) = darwinlm(&["verify", &store]);
            assert_ne!(
                code,
                Some(0),
                "byte {position} of {}: {said}",
                file.display()
            );
            assert!(
                said.contains(name),
                "byte {position} of {}: {said}",
                file.display()
            );
        }
        fs::write(&file, whole).unwrap();
    }
    assert_eq!(
        darwinlm(&["verify", &store]).0,
        Some(0),
        "every flip was undone"
    );
}

#[test]
fn a_result_that_the_ledger_does_not_know_is_a_lie() {
    let (folder, store, _) = finished_run();
    let trials = folder.path().join("runs/team.small/trials");
    let mut all = files(&trials);
    all.sort();
    // Two whole and sound records, in each other's place.
    let (one, other) = (fs::read(&all[0]).unwrap(), fs::read(&all[1]).unwrap());
    fs::write(&all[0], other).unwrap();
    fs::write(&all[1], one).unwrap();
    let (code, said) = darwinlm(&["verify", &store]);
    assert_eq!(code, Some(65), "{said}");
}

#[test]
fn the_runs_of_a_store_are_a_table() {
    let (_folder, store, digest) = finished_run();
    let (code, said) = darwinlm(&["get", "--store", &store]);
    assert_eq!(code, Some(0), "{said}");
    let lines: Vec<Vec<&str>> = said
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(
        lines[0],
        [
            "RUN",
            "STAGE",
            "GENERATIONS",
            "FITNESS",
            "PARAMETERS",
            "DIGEST"
        ]
    );
    assert_eq!(lines[1][..3], ["team.small", "Searched", "3/3"]);
    assert_eq!(lines[1][5], digest);
    assert_eq!(darwinlm(&["get", "--store", &store, "small"]).0, Some(0));
    let (code, said) = darwinlm(&["get", "--store", &store, "other"]);
    assert_eq!(code, Some(66));
    assert!(
        said.contains("holds no run \"other\"; it holds team.small"),
        "{said}"
    );
}

#[test]
fn a_store_that_is_not_there_is_said_so() {
    for arguments in [
        ["verify", "/nowhere/at/all"],
        ["verify", "https://example.org/a"],
    ] {
        let (code, said) = darwinlm(&arguments);
        assert!(matches!(code, Some(66 | 78)), "{code:?}: {said}");
        assert!(said.starts_with("error: "), "{said}");
    }
}
