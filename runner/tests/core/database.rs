//! The level database on disk.

use darwinlm_runner::database::{Database, DatabaseError};
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
    assert_eq!(names.len(), 7);
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
fn the_manifest_reads_back_as_it_was_written() {
    let dense = tiny::dense("tiny-mha");
    let folder = tempfile::tempdir().unwrap();
    let database = tiny::database(&dense, tiny::UNITS[1], folder.path());
    let path = folder.path().join("manifest.json");
    let before = std::fs::read(&path).unwrap();
    database.manifest().write(folder.path()).unwrap();
    assert_eq!(before, std::fs::read(&path).unwrap());
}

#[test]
fn one_changed_byte_is_noticed_when_the_file_is_first_read_and_the_file_named() {
    let dense = tiny::dense("tiny-gqa");
    let folder = tempfile::tempdir().unwrap();
    tiny::database(&dense, tiny::UNITS[0], folder.path());
    let module = Module {
        block: 1,
        kind: ModuleKind::Mlp,
    };
    let path = folder.path().join(format!("{module}.safetensors"));
    let mut bytes = std::fs::read(&path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let database = Database::open(folder.path()).unwrap();
    let level = Level::new(1).unwrap();
    assert!(
        database
            .level(
                Module {
                    block: 0,
                    kind: ModuleKind::Mlp
                },
                level
            )
            .is_ok()
    );
    let error = database.level(module, level).unwrap_err();
    assert!(matches!(error, DatabaseError::Digest { .. }));
    assert!(error.to_string().contains("blocks.1.mlp.safetensors"));
}

#[test]
fn another_format_is_refused_by_its_version() {
    let dense = tiny::dense("tiny-gqa");
    let folder = tempfile::tempdir().unwrap();
    tiny::database(&dense, tiny::UNITS[0], folder.path());
    let path = folder.path().join("manifest.json");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(
        &path,
        text.replace("\"formatVersion\": 1", "\"formatVersion\": 2"),
    )
    .unwrap();
    let message = Database::open(folder.path()).unwrap_err().to_string();
    assert!(
        message.contains("formatVersion is 2; accepted: 1"),
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
