//! Exported folders, loaded by transformers itself; needs `make venv` (.cache/venv).
// clippy's own exception for tests stops at the functions they call
#![allow(non_snake_case, clippy::unwrap_used)]

#[allow(dead_code, reason = "the other suite uses the rest")]
#[path = "core/tiny.rs"]
mod tiny;

use std::path::{Path, PathBuf};
use std::process::Command;

use darwinlm_runner::export::{ExportSettings, export_transformers};
use darwinlm_runner::model::Model;
use darwinlm_runner::stitch::stitch;
use darwinlm_runner::weights::write_tensors;
use darwinlm_search::{AttentionUnit, Genome, Level, ModuleKind};
use darwinlm_task::QueryHeadLayout;
use serde_json::Value;
use tch::{Device, Kind};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .to_owned()
}

/// What transformers makes of an exported folder.
fn loaded_by_transformers(model: &Model, folder: &Path) -> Value {
    let python = root().join(".cache/venv/bin/python");
    assert!(
        python.exists(),
        "{} is missing: run `make venv`",
        python.display()
    );
    let ids_BT = tiny::sequences(2, 20, 50).batch(&[0, 1], 20, Device::Cpu);
    let logits_BTV = model.logits(&model.hidden_states(&ids_BT));
    let work = tempfile::tempdir().unwrap();
    let expected = work.path().join("expected.safetensors");
    let tensors = [
        ("input_ids".to_owned(), ids_BT),
        ("logits".to_owned(), logits_BTV),
    ];
    write_tensors(&expected, &tensors, None).unwrap();
    let output = Command::new(python)
        .arg(root().join("tests/models/check_export.py"))
        .args([folder, &expected])
        .env("HF_HOME", work.path())
        .env("HF_HUB_OFFLINE", "1")
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn level(number: u8) -> Level {
    Level::new(number).unwrap()
}

/// Attention removed in block 0, the mlp in block 1, the others pruned unevenly.
fn uneven(deepest: darwinlm_search::PerKind<Level>) -> Genome {
    Genome::of(3, |module| match (module.block, module.kind) {
        (0, ModuleKind::Attention) => deepest.attention,
        (1, ModuleKind::Mlp) => deepest.mlp,
        (2, ModuleKind::Attention) => level(deepest.attention.get() - 1),
        (_, ModuleKind::Attention) => level(1),
        (block, ModuleKind::Mlp) => level(1 + block as u8),
    })
}

fn assert_loads(name: &str, unit: AttentionUnit, layout: QueryHeadLayout) {
    let dense = tiny::dense(name);
    let [database_folder, folder] = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let database = tiny::database(&dense, unit, database_folder.path());
    let genome = uneven(database.manifest().ladders.deepest());
    let model = stitch(&dense, &database, &genome).unwrap();
    let settings = ExportSettings { layout };
    export_transformers(
        &model,
        &dense.config,
        &tiny::folder(name),
        folder.path(),
        &settings,
    )
    .unwrap();
    let report = loaded_by_transformers(&model, folder.path());
    for way in [
        "sdpa",
        "eager",
        "token_by_token",
        "left_padded",
        "saved_again",
    ] {
        let difference = report[way].as_f64().unwrap();
        assert!(
            difference < 1e-4,
            "{name} {unit:?} {layout:?} {way}: {report}"
        );
    }
    for way in ["dynamic_cache", "static_cache"] {
        assert_eq!(report[way], true, "{name} {unit:?} {layout:?}: {report}");
    }
}

#[test]
fn query_heads_that_gather_their_keys_load_and_agree() {
    assert_loads(
        "tiny-gqa",
        AttentionUnit::QueryHead,
        QueryHeadLayout::Gather,
    );
}

#[test]
fn query_heads_with_copied_keys_load_and_agree() {
    assert_loads(
        "tiny-gqa",
        AttentionUnit::QueryHead,
        QueryHeadLayout::Expand,
    );
}

#[test]
fn key_value_groups_load_and_agree() {
    assert_loads(
        "tiny-gqa",
        AttentionUnit::KeyValueGroup,
        QueryHeadLayout::Gather,
    );
}

#[test]
fn multi_head_attention_with_a_head_of_its_own_loads_and_agrees() {
    assert_loads(
        "tiny-mha",
        AttentionUnit::QueryHead,
        QueryHeadLayout::Gather,
    );
}

#[test]
fn exporting_twice_gives_the_same_bytes() {
    let dense = tiny::dense("tiny-gqa");
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let settings = ExportSettings {
        layout: QueryHeadLayout::Gather,
    };
    for folder in &folders {
        let source = tiny::folder("tiny-gqa");
        export_transformers(
            &dense.model,
            &dense.config,
            &source,
            folder.path(),
            &settings,
        )
        .unwrap();
    }
    for name in ["config.json", "model.safetensors", "modeling_darwinlm.py"] {
        let read = |folder: &tempfile::TempDir| std::fs::read(folder.path().join(name)).unwrap();
        assert_eq!(read(&folders[0]), read(&folders[1]), "{name}");
    }
    assert_eq!(dense.model.embeddings_VD.kind(), Kind::Float);
}
