//! Exported folders, loaded by transformers itself; needs `make venv` (.cache/venv).
// clippy's own exception for tests stops at the functions they call
#![allow(non_snake_case, clippy::unwrap_used)]

#[allow(dead_code, reason = "the other suite uses the rest")]
#[path = "core/tiny.rs"]
mod tiny;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::AtomicBool;

use darwinlm_runner::database::Database;
use darwinlm_runner::export::{ExportSettings, export_masked_dense, export_transformers, mask};
use darwinlm_runner::model::{DenseModel, Model};
use darwinlm_runner::stitch::stitch;
use darwinlm_runner::train::{
    AdamWSettings, Distillation, LearningRate, PostTraining, PostTrainingSettings, TrainSettings,
};
use darwinlm_runner::weights::{MappedTensors, write_tensors};
use darwinlm_search::{AttentionUnit, Genome, Level, Minibatch, Module, ModuleKind};
use darwinlm_task::QueryHeadLayout;
use serde_json::Value;
use tch::{Device, Kind, Tensor};

/// Tokens that are generated: past every window of the tiny models.
const NEW_TOKENS: usize = 16;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .to_owned()
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

/// An export to look at.
#[derive(Clone, Copy, Debug)]
enum Case {
    Dense,
    Uneven(AttentionUnit, QueryHeadLayout),
    Masked(AttentionUnit),
}

/// What a family is looked at with.
const CASES: [Case; 6] = [
    Case::Dense,
    Case::Uneven(AttentionUnit::QueryHead, QueryHeadLayout::Gather),
    Case::Uneven(AttentionUnit::QueryHead, QueryHeadLayout::Expand),
    Case::Uneven(AttentionUnit::KeyValueGroup, QueryHeadLayout::Gather),
    Case::Masked(AttentionUnit::QueryHead),
    Case::Masked(AttentionUnit::KeyValueGroup),
];

/// A tiny model cut unevenly, with what it was cut with.
fn cut(dense: &DenseModel, unit: AttentionUnit) -> (Model, Database, Genome) {
    let folder = tempfile::tempdir().unwrap();
    let database = tiny::database(dense, unit, folder.path());
    let genome = uneven(database.manifest().ladders.deepest());
    let model = stitch(dense, &database, &genome).unwrap();
    // every file is open from here on, and so stays readable when its folder goes
    for module in Module::all(dense.config.blocks as u32) {
        database.kept(module, level(1)).unwrap();
    }
    (model, database, genome)
}

/// What greedy decoding makes of a sequence [1, T], everything computed anew for each token.
fn continued(model: &Model, start_1T: &Tensor) -> Tensor {
    let mut ids_1T = start_1T.shallow_clone();
    for _ in 0..NEW_TOKENS {
        let last_1D = model.hidden_states(&ids_1T).select(1, -1);
        let next_1 = model.logits(&last_1D).argmax(-1, false);
        ids_1T = Tensor::cat(&[&ids_1T, &next_1.unsqueeze(1).to_kind(ids_1T.kind())], 1);
    }
    ids_1T
}

/// Exports a tiny model, with what the runner computes of it beside it: of a masked one, what the
/// shrunk one computes.
fn export(name: &str, case: Case) -> tempfile::TempDir {
    let dense = tiny::dense(name);
    let folder = tempfile::tempdir().unwrap();
    let (config, source, target) = (&dense.config, tiny::folder(name), folder.path());
    let transformers = |model: &Model, layout| {
        let settings = ExportSettings { layout };
        export_transformers(model, config, &source, target, &settings).unwrap();
    };
    let shrunk = match case {
        Case::Dense => {
            transformers(&dense.model, QueryHeadLayout::Gather);
            None
        }
        Case::Uneven(unit, layout) => {
            let (model, ..) = cut(&dense, unit);
            transformers(&model, layout);
            Some(model)
        }
        Case::Masked(unit) => {
            let (model, database, genome) = cut(&dense, unit);
            let masked = mask(&model, &dense, &database, &genome).unwrap();
            export_masked_dense(&masked, config, &source, target).unwrap();
            Some(model)
        }
    };
    let model = shrunk.as_ref().unwrap_or(&dense.model);
    let ids_BT = tiny::sequences(2, 20, 50).batch(&[0, 1], 20, Device::Cpu);
    let logits_BTV = model.logits(&model.hidden_states(&ids_BT));
    let continued_1T = continued(model, &ids_BT.narrow(0, 0, 1));
    let expected = [
        ("input_ids".to_owned(), ids_BT),
        ("logits".to_owned(), logits_BTV),
        ("continued".to_owned(), continued_1T),
    ];
    write_tensors(&folder.path().join("expected.safetensors"), &expected, None).unwrap();
    folder
}

/// What transformers makes of exported folders.
fn loaded_by_transformers(folders: &[tempfile::TempDir]) -> Vec<Value> {
    let folders: Vec<&Path> = folders.iter().map(tempfile::TempDir::path).collect();
    let lines = reference("check_export.py", &folders);
    let reports = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap());
    reports.collect()
}

/// A program of `tests/models` in the reference's environment.
fn reference(script: &str, arguments: &[&Path]) -> String {
    let python = root().join(".cache/venv/bin/python");
    assert!(
        python.exists(),
        "{} is missing: run `make venv`",
        python.display()
    );
    let home = tempfile::tempdir().unwrap();
    let output = Command::new(python)
        .arg(root().join("tests/models").join(script))
        .args(arguments)
        .env("HF_HOME", home.path())
        .env("HF_HUB_OFFLINE", "1")
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    String::from_utf8(output.stdout).unwrap()
}

/// One process for all: what one export registers must not get into another's way.
fn assert_load(exports: &[(&str, Case)]) {
    let folders: Vec<_> = exports
        .iter()
        .map(|(name, case)| export(name, *case))
        .collect();
    let reports = loaded_by_transformers(&folders);
    assert_eq!(reports.len(), exports.len());
    for ((name, case), report) in exports.iter().zip(reports) {
        for way in [
            "sdpa",
            "eager",
            "token_by_token",
            "left_padded",
            "saved_again",
        ] {
            let difference = report[way].as_f64().unwrap();
            assert!(difference < 1e-5, "{name} {case:?} {way}: {report}");
        }
        for way in ["recomputed", "dynamic_cache", "static_cache"] {
            assert_eq!(report[way], true, "{name} {case:?} {way}: {report}");
        }
        let stock = matches!(case, Case::Masked(_));
        assert_eq!(report["stock_classes"], stock, "{name} {case:?}: {report}");
    }
}

#[test]
fn llamas_load_and_agree() {
    let own = ("tiny-mha", CASES[1]);
    assert_load(&[CASES.map(|case| ("tiny-gqa", case)).as_slice(), &[own]].concat());
}

#[test]
fn mistrals_with_windows_load_and_agree() {
    assert_load(&CASES.map(|case| ("tiny-mistral", case)));
}

#[test]
fn qwen2s_with_biases_and_some_windows_load_and_agree() {
    assert_load(&CASES.map(|case| ("tiny-qwen2", case)));
}

#[test]
fn qwen3s_with_norms_of_queries_and_keys_load_and_agree() {
    assert_load(&CASES.map(|case| ("tiny-qwen3", case)));
}

#[test]
fn scaled_positions_and_all_families_load_and_agree_in_one_process() {
    let names = [
        "tiny-llama3",
        "tiny-yarn",
        "tiny-linear",
        "tiny-qwen2",
        "tiny-mistral",
    ];
    assert_load(&names.map(|name| (name, CASES[1])));
}

#[test]
fn a_masked_model_computes_what_the_shrunk_one_does() {
    let ids_BT = tiny::sequences(2, 20, 50).batch(&[0, 1], 20, Device::Cpu);
    for name in tiny::MODELS {
        let dense = tiny::dense(name);
        for unit in tiny::UNITS {
            let (shrunk, database, genome) = cut(&dense, unit);
            let masked = mask(&shrunk, &dense, &database, &genome).unwrap();
            let logits = |model: &Model| model.logits(&model.hidden_states(&ids_BT));
            let difference = tiny::relative(&logits(&masked), &logits(&shrunk));
            // float32 sums over more terms, the added ones zero
            assert!(difference < 1e-5, "{name} {unit:?}: {difference}");
        }
    }
}

#[test]
fn a_masked_model_has_the_dense_shapes_and_zeros_where_units_were_removed() {
    let dense = tiny::dense("tiny-qwen2");
    let (shrunk, database, genome) = cut(&dense, AttentionUnit::KeyValueGroup);
    let masked = mask(&shrunk, &dense, &database, &genome).unwrap();
    let shapes = |model: &Model| {
        let weights = model.weights().into_iter();
        weights
            .map(|(name, weight)| (name, weight.size()))
            .collect::<Vec<_>>()
    };
    assert_eq!(shapes(&masked), shapes(&dense.model));
    for (name, weight) in masked.weights() {
        let (owner, at) = match name.split('.').collect::<Vec<_>>()[..] {
            [_, _, block, "self_attn", matrix, _] => ((block, ModuleKind::Attention), matrix),
            [_, _, block, "mlp", matrix, _] => ((block, ModuleKind::Mlp), matrix),
            _ => continue,
        };
        let (block, kind) = (owner.0.parse().unwrap(), owner.1);
        let module = Module { block, kind };
        let kept = database.kept(module, genome.level(module)).unwrap();
        let units = dense.config.shape(AttentionUnit::KeyValueGroup).units(kind);
        let along = i64::from(matches!(at, "o_proj" | "down_proj"));
        for unit in 0..units {
            let width = weight.size()[along as usize] / i64::from(units);
            let part = weight.narrow(along, i64::from(unit) * width, width);
            let largest = part.abs().max().double_value(&[]);
            assert_eq!(largest > 0.0, kept.contains(&unit), "{name}, unit {unit}");
        }
    }
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

/// Seven steps of a small learning rate's worth: long enough for moments, decay and schedule to tell.
fn trained_as_by_pytorch(name: &str, share: f64) {
    let dense = tiny::dense(name);
    let (survivor, ..) = cut(&dense, AttentionUnit::QueryHead);
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let settings = ExportSettings {
        layout: QueryHeadLayout::Gather,
    };
    for (model, folder) in [&survivor, &dense.model].into_iter().zip(&folders) {
        let source = tiny::folder(name);
        export_transformers(model, &dense.config, &source, folder.path(), &settings).unwrap();
    }
    let pool = tiny::sequences(24, 20, 60);
    let rate = LearningRate {
        peak: 3e-3,
        last: 0.1,
        warmup: 2,
        steps: 7,
    };
    let settings = PostTrainingSettings {
        train: TrainSettings {
            adamw: AdamWSettings::new(rate.peak, 0.1),
            batch_sequences: 4,
            micro_batch_sequences: 2,
            logit_chunk_tokens: 16,
        },
        rate,
        gradient_norm: 0.5,
    };
    let order = Minibatch {
        // the first batch once more at the end
        sequences: (0..24).rev().chain((20..24).rev()).collect(),
        tokens: 28 * 20 - 7,
    };
    let batches: Vec<Vec<Vec<i32>>> = order
        .pieces(20)
        .chunks(4)
        .map(|batch| {
            let row = |piece: &darwinlm_search::Piece| {
                pool.sequence(piece.sequence)[..piece.tokens as usize].to_vec()
            };
            batch.iter().map(row).collect()
        })
        .collect();
    let told = serde_json::json!({
        "dense": folders[1].path(), "batches": batches, "share": share, "weight_decay": 0.1,
        "gradient_norm": 0.5, "rates": (0..7).map(|step| rate.at(step)).collect::<Vec<_>>(),
    });
    std::fs::write(folders[0].path().join("training.json"), told.to_string()).unwrap();
    let teacher = Distillation {
        dense: &dense.model,
        share,
    };
    let teacher = (share > 0.0).then_some(teacher);
    let mut run = PostTraining::new(survivor, settings, &pool, &order, teacher).unwrap();
    while !run.is_done() {
        run.step(&AtomicBool::new(false)).unwrap();
    }
    let said = reference("train_reference.py", &[folders[0].path()]);
    let said: Value = serde_json::from_str(&said).unwrap();
    let expected: Vec<f64> = serde_json::from_value(said["losses"].clone()).unwrap();
    assert_eq!(expected.len(), 7);
    for (found, expected) in run.losses().iter().zip(&expected) {
        // float32 on both sides; seven steps let rounding grow
        let difference = (found - expected).abs() / expected;
        assert!(difference < 1e-4, "{name}: {:?} {said}", run.losses());
    }
    let norms: std::collections::BTreeMap<String, f64> =
        serde_json::from_value(said["norms"].clone()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("trained.safetensors");
    run.write_weights(&path).unwrap();
    let trained = MappedTensors::open(&path).unwrap();
    let mut compared = 0;
    for weight in trained.names() {
        // transformers has a head of zeros where an attention was removed, and no norm of it
        let norm = norms[&weight];
        let found = trained.float(&weight).unwrap().norm().double_value(&[]);
        assert!(
            (found - norm).abs() < 1e-4 * norm,
            "{weight}: {found} {norm}"
        );
        compared += 1;
    }
    assert!(compared > 10, "{compared}");
    let learnt = run.losses()[0] - run.losses()[6];
    assert!(learnt > 0.01, "{name}: {:?}", run.losses());
}

#[test]
fn a_survivor_is_trained_as_pytorch_would() {
    trained_as_by_pytorch("tiny-gqa", 0.0);
    trained_as_by_pytorch("tiny-qwen3", 0.4);
}
