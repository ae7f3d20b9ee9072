//! The forward pass against transformers, and against itself.

use darwinlm_runner::model::{DenseModel, ModelError};
use tch::{Device, Kind, Tensor};

use crate::tiny;

#[test]
fn logits_and_hidden_states_are_those_of_transformers() {
    for name in tiny::MODELS {
        let (dense, reference) = (tiny::dense(name), tiny::reference(name));
        let ids_BT = reference.integers("input_ids").unwrap();
        let hidden_BTD = dense.model.hidden_states(&ids_BT);
        let logits_BTV = dense.model.logits(&hidden_BTD);
        let expected = reference.float("hidden_states").unwrap();
        assert!(tiny::relative(&hidden_BTD, &expected) < 1e-5, "{name}");
        assert!(
            tiny::relative(&logits_BTV, &reference.float("logits").unwrap()) < 1e-5,
            "{name}"
        );
    }
}

#[test]
fn a_batch_gives_what_its_sequences_give_one_by_one() {
    let (dense, reference) = (tiny::dense("tiny-gqa"), tiny::reference("tiny-gqa"));
    let ids_BT = reference.integers("input_ids").unwrap();
    let together = dense.model.hidden_states(&ids_BT);
    for row in 0..2 {
        let alone = dense.model.hidden_states(&ids_BT.narrow(0, row, 1));
        assert!(tiny::relative(&together.narrow(0, row, 1), &alone) < 1e-6);
    }
}

#[test]
fn a_token_changes_nothing_before_it() {
    let dense = tiny::dense("tiny-gqa");
    let ids_BT = tiny::reference("tiny-gqa").integers("input_ids").unwrap();
    let before = dense.model.hidden_states(&ids_BT);
    let changed = ids_BT.copy();
    let _ = changed.select(1, 15).fill_(5);
    let after = dense.model.hidden_states(&changed);
    assert!(before.narrow(1, 0, 15).equal(&after.narrow(1, 0, 15)));
    assert!(!before.narrow(1, 15, 1).equal(&after.narrow(1, 15, 1)));
}

#[test]
fn bfloat16_agrees_with_float32_to_its_own_precision() {
    let folder = tiny::folder("tiny-gqa");
    let coarse = DenseModel::open(&folder, Kind::BFloat16, Device::Cpu).unwrap();
    let fine = tiny::dense("tiny-gqa");
    let ids_BT = tiny::reference("tiny-gqa").integers("input_ids").unwrap();
    let coarse = coarse.model.hidden_states(&ids_BT).to_kind(Kind::Float);
    let error = tiny::relative(&coarse, &fine.model.hidden_states(&ids_BT));
    assert!(error > 1e-5 && error < 0.1, "{error}");
}

/// A copy of a fixture that may be damaged.
fn copy(name: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for file in std::fs::read_dir(tiny::folder(name)).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), folder.path().join(file.file_name())).unwrap();
    }
    folder
}

fn refused(folder: &std::path::Path) -> String {
    let error = DenseModel::open(folder, Kind::Float, Device::Cpu).unwrap_err();
    assert!(matches!(error, ModelError::Weights(_)));
    error.to_string()
}

#[test]
fn a_truncated_shard_is_refused_by_name() {
    let folder = copy("tiny-mha");
    let shard = folder.path().join("model-00003-of-00005.safetensors");
    let bytes = std::fs::read(&shard).unwrap();
    std::fs::write(&shard, &bytes[..bytes.len() - 100]).unwrap();
    assert!(refused(folder.path()).contains("model-00003-of-00005.safetensors"));
}

#[test]
fn a_missing_misshapen_or_infinite_tensor_is_refused_by_name() {
    let name = "model.layers.1.mlp.up_proj.weight";
    type Tensors = Vec<(String, Tensor)>;
    let whole = |change: &dyn Fn(&mut Tensors)| {
        let folder = copy("tiny-gqa");
        let path = folder.path().join("model.safetensors");
        let file = darwinlm_runner::weights::MappedTensors::open(&path).unwrap();
        let mut tensors: Tensors = file
            .names()
            .into_iter()
            .map(|n| (n.clone(), file.float(&n).unwrap()))
            .collect();
        drop(file);
        change(&mut tensors);
        std::fs::remove_file(&path).unwrap();
        darwinlm_runner::weights::write_tensors(&path, &tensors, None).unwrap();
        refused(folder.path())
    };
    let place = |tensors: &[(String, Tensor)]| tensors.iter().position(|(n, _)| n == name).unwrap();
    let missing = whole(&|tensors| drop(tensors.remove(place(tensors))));
    assert!(
        missing.contains("has no tensor") && missing.contains(name),
        "{missing}"
    );
    let misshapen = whole(&|tensors| {
        let at = place(tensors);
        tensors[at].1 = tensors[at].1.narrow(0, 0, 39);
    });
    assert!(
        misshapen.contains("[39, 24]") && misshapen.contains("[40, 24]"),
        "{misshapen}"
    );
    let infinite = whole(&|tensors| {
        let at = place(tensors);
        let _ = tensors[at].1.get(3).get(4).fill_(f64::NAN);
    });
    assert!(
        infinite.contains("NaN") && infinite.contains(name),
        "{infinite}"
    );
}
