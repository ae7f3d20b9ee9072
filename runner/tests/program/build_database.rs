//! `build-database`, as Jobs run it: for two runs at once, and taken up in the middle.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde_json::{Value, json};

use crate::stops::{command_of, finish, prepare, pruning, report};
use crate::world::World;

fn build() -> Value {
    json!({"kind": "build-database", "pruning": pruning(), "workers": 1})
}

/// The only folder below a prefix of the store.
fn only(world: &World, prefix: &str) -> PathBuf {
    let mut found: Vec<_> = std::fs::read_dir(world.path("store").join(prefix))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    assert_eq!(found.len(), 1, "{found:?}");
    found.remove(0)
}

/// Every file right below a folder, with the time it was written.
fn written(folder: &Path) -> BTreeMap<PathBuf, SystemTime> {
    std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_file())
        .map(|path| (path.clone(), path.metadata().unwrap().modified().unwrap()))
        .collect()
}

#[test]
fn two_runs_that_want_one_database_at_once_build_it_once() {
    let world = World::new();
    let tokens = world.tokens("tokens.safetensors", 200, 16);
    let runs = ["one", "other"];
    for run in runs {
        let mut prepared = command_of(run, &world, prepare(&tokens));
        assert!(prepared.status().unwrap().success());
    }
    // Reports and addresses of their own: both work at the same time.
    let workers = runs.map(|run| {
        let mut worker = command_of(run, &world, build());
        let folder = world.path(run);
        std::fs::create_dir_all(&folder).unwrap();
        worker.env(darwinlm_task::ENV_REPORT, folder.join("report"));
        worker.env(darwinlm_task::ENV_CACHE, &folder);
        worker.spawn().unwrap()
    });
    for mut worker in workers {
        assert!(worker.wait().unwrap().success());
    }
    for prefix in ["databases", "teachers"] {
        for subject in std::fs::read_dir(only(&world, prefix).join("claims")).unwrap() {
            let subject = subject.unwrap().path();
            assert!(subject.join("1").exists(), "{}", subject.display());
            assert!(!subject.join("2").exists(), "{} twice", subject.display());
        }
    }
}

#[test]
fn only_the_modules_that_are_missing_are_built_again() {
    let world = World::new();
    finish(
        &world,
        prepare(&world.tokens("tokens.safetensors", 200, 16)),
    );
    finish(&world, build());
    let folder = only(&world, "databases");
    let manifest = folder.join("manifest.json");
    let (before, text) = (written(&folder), std::fs::read(&manifest).unwrap());
    // As after a kill: neither the manifest nor the last words on one module were written.
    std::fs::remove_file(&manifest).unwrap();
    let parts: Vec<_> = std::fs::read_dir(folder.join("parts"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    let lost = parts
        .iter()
        .find(|path| path.to_string_lossy().contains("mlp"));
    std::fs::remove_file(lost.unwrap()).unwrap();
    let mut again = command_of("tiny", &world, build());
    again.env("DARWINLM_CLAIM_STALE_SECONDS", "1");
    assert!(again.status().unwrap().success());
    assert_eq!(std::fs::read(&manifest).unwrap(), text);
    let mut after = written(&folder);
    after.insert(manifest.clone(), before[&manifest]);
    assert_eq!(after, before, "a file was written again");
    let progress = report(&world).progress.unwrap();
    assert_eq!((progress.unit.as_str(), progress.total), ("modules", 2));
}
