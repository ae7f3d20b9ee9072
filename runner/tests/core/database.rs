//! The level database on disk.

use darwinlm_runner::database::{Database, DatabaseError, FORMAT_VERSION};
use darwinlm_runner::weights::MappedTensors;
use darwinlm_search::{Level, Module, ModuleKind};

use crate::tiny;

#[test]
fn building_twice_gives_the_same_bytes() {
    let dense = tiny::dense("tiny-gqa");
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    for folder in &folders {
        tiny::database(&dense, tiny::UNITS[0], folder.path());
    }
    let mut names: Vec<_> = std::fs::read_dir(folders[0].path())
        .unwrap()
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names.len(), 6);
    for name in names {
        let read = |folder: &tempfile::TempDir| std::fs::read(folder.path().join(&name)).unwrap();
        assert_eq!(read(&folders[0]), read(&folders[1]), "{name}");
    }
}

#[test]
fn a_level_stores_exactly_the_columns_its_ladder_keeps() {
    let dense = tiny::dense("tiny-gqa");
    let folder = tempfile::tempdir().unwrap();
    let database = tiny::database(&dense, tiny::UNITS[0], folder.path());
    for module in Module::all(3) {
        let ladder = database.manifest().ladder(module).as_slice();
        let width = match module.kind {
            ModuleKind::Attention => 8,
            ModuleKind::Mlp => 1,
        };
        for (number, &units) in ladder.iter().enumerate().skip(1).take(ladder.len() - 2) {
            let level = Level::new(number as u8).unwrap();
            let stored = database.level(module, level).unwrap();
            assert_eq!(stored.kept.len(), units as usize);
            assert!(stored.kept.is_sorted());
            assert_eq!(stored.weight_RS.size(), [24, i64::from(units) * width]);
        }
        let last = Level::new(ladder.len() as u8 - 1).unwrap();
        for level in [Level::DENSE, last] {
            let error = database.level(module, level).unwrap_err();
            assert!(matches!(error, DatabaseError::NoLevel { .. }));
        }
    }
}

#[test]
fn another_format_is_refused_by_its_version() {
    let dense = tiny::dense("tiny-gqa");
    let folder = tempfile::tempdir().unwrap();
    let database = tiny::database(&dense, tiny::UNITS[0], folder.path());
    let mut manifest = database.manifest().clone();
    manifest.format_version = FORMAT_VERSION + 1;
    let message = Database::over(manifest, Vec::new())
        .unwrap_err()
        .to_string();
    assert!(
        message.contains("formatVersion is 3; accepted: 2"),
        "{message}"
    );
}

#[test]
fn the_stored_order_lists_every_unit_once() {
    let dense = tiny::dense("tiny-gqa");
    let folder = tempfile::tempdir().unwrap();
    tiny::database(&dense, tiny::UNITS[0], folder.path());
    let file = MappedTensors::open(&folder.path().join("blocks.0.mlp.safetensors")).unwrap();
    let mut order: Vec<i64> = Vec::try_from(file.integers("removal_order").unwrap()).unwrap();
    order.sort_unstable();
    assert_eq!(order, (0..40).collect::<Vec<i64>>());
}
