//! The forward pass against transformers, and against itself.

use darwinlm_runner::model::{Attention, DenseModel, ModelError, RopeScaling};
use darwinlm_search::{Module, ModuleKind};
use tch::{Device, Kind, Tensor};

use crate::tiny;

#[test]
fn logits_and_hidden_states_are_those_of_transformers() {
    for name in tiny::MODELS {
        let (dense, reference) = (tiny::dense(name), tiny::reference(name));
        let ids_BT = reference.integers("input_ids").unwrap();
        let hidden_BTD = dense.model.hidden_states(&ids_BT);
        let logits_BTV = dense.model.logits(&hidden_BTD);
        for (found, expected) in [(hidden_BTD, "hidden_states"), (logits_BTV, "logits")] {
            let error = tiny::relative(&found, &reference.float(expected).unwrap());
            assert!(error < 1e-5, "{name} {expected}: {error}");
        }
    }
}

#[test]
fn what_is_special_to_a_family_shows_in_its_logits() {
    let without = |name: &str, drop: &dyn Fn(&mut DenseModel)| {
        let mut dense = tiny::dense(name);
        drop(&mut dense);
        let ids_BT = tiny::reference(name).integers("input_ids").unwrap();
        let logits_BTV = dense.model.logits(&dense.model.hidden_states(&ids_BT));
        tiny::relative(&logits_BTV, &tiny::reference(name).float("logits").unwrap())
    };
    fn attentions(dense: &mut DenseModel) -> impl Iterator<Item = &mut Attention> {
        let blocks = dense.model.blocks.iter_mut();
        blocks.map(|block| &mut block.attention.as_mut().unwrap().1)
    }
    for name in ["tiny-mistral", "tiny-qwen2"] {
        let error = without(name, &|dense| {
            attentions(dense).for_each(|a| a.window = None)
        });
        assert!(error > 1e-2, "{name}: {error}");
    }
    let biases = without("tiny-qwen2", &|dense| {
        attentions(dense).for_each(|a| a.biases = None)
    });
    assert!(biases > 1e-2, "{biases}");
    let norms = without("tiny-qwen3", &|dense| {
        attentions(dense).for_each(|a| a.norms = None)
    });
    assert!(norms > 1e-2, "{norms}");
    for name in ["tiny-llama3", "tiny-yarn", "tiny-linear"] {
        let error = without(name, &|dense| dense.model.rope.scaling = RopeScaling::None);
        assert!(error > 1e-2, "{name}: {error}");
    }
}

#[test]
fn parameters_are_those_of_the_shape() {
    for name in tiny::MODELS {
        let dense = tiny::dense(name);
        for unit in tiny::UNITS {
            let shape = dense.config.shape(unit);
            let modules = Module::all(shape.blocks);
            let units = |kind: ModuleKind| shape.parameters_at(kind, shape.units(kind));
            let expected = shape.fixed_parameters() + modules.map(|m| units(m.kind)).sum::<u64>();
            assert_eq!(dense.model.parameters(), expected, "{name} {unit:?}");
        }
    }
}

#[test]
fn a_batch_gives_what_its_sequences_give_one_by_one() {
    for name in tiny::MODELS {
        let (dense, reference) = (tiny::dense(name), tiny::reference(name));
        let ids_BT = reference.integers("input_ids").unwrap();
        let together = dense.model.hidden_states(&ids_BT);
        for row in 0..2 {
            let alone = dense.model.hidden_states(&ids_BT.narrow(0, row, 1));
            let error = tiny::relative(&together.narrow(0, row, 1), &alone);
            assert!(error < 1e-6, "{name}: {error}");
        }
    }
}

#[test]
fn a_token_changes_nothing_before_it() {
    for name in tiny::MODELS {
        let dense = tiny::dense(name);
        let ids_BT = tiny::reference(name).integers("input_ids").unwrap();
        let before = dense.model.hidden_states(&ids_BT);
        let changed = ids_BT.copy();
        let _ = changed.select(1, 15).fill_(5);
        let after = dense.model.hidden_states(&changed);
        assert!(before.narrow(1, 0, 15).equal(&after.narrow(1, 0, 15)));
        assert!(!before.narrow(1, 15, 1).equal(&after.narrow(1, 15, 1)));
    }
}

#[test]
fn three_blocks_with_windows_of_seven_see_eighteen_tokens_back() {
    let dense = tiny::dense("tiny-mistral");
    let ids_BT = tiny::reference("tiny-mistral")
        .integers("input_ids")
        .unwrap();
    let before = dense.model.hidden_states(&ids_BT);
    let changed = ids_BT.copy();
    let _ = changed.select(1, 0).fill_(5);
    let after = dense.model.hidden_states(&changed);
    let same = |at| before.narrow(1, at, 1).equal(&after.narrow(1, at, 1));
    assert!(!same(18) && same(19));
}

#[test]
fn bfloat16_agrees_with_float32_to_its_own_precision() {
    for name in tiny::MODELS {
        let folder = tiny::folder(name);
        let coarse = DenseModel::open(&folder, Kind::BFloat16, Device::Cpu).unwrap();
        let fine = tiny::dense(name);
        let ids_BT = tiny::reference(name).integers("input_ids").unwrap();
        let coarse = coarse.model.hidden_states(&ids_BT).to_kind(Kind::Float);
        let error = tiny::relative(&coarse, &fine.model.hidden_states(&ids_BT));
        assert!(error > 1e-5 && error < 0.1, "{name}: {error}");
    }
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

/// The message about a copy of `name` whose only file was changed.
fn refused_with(name: &str, change: &dyn Fn(&mut Tensors)) -> String {
    let folder = copy(name);
    rewrite(folder.path(), change);
    refused(folder.path())
}

type Tensors = Vec<(String, Tensor)>;

fn rewrite(folder: &std::path::Path, change: &dyn Fn(&mut Tensors)) {
    let path = folder.join("model.safetensors");
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
}

#[test]
fn a_tensor_that_the_model_does_not_have_is_refused_by_name() {
    for (model, name) in [
        ("tiny-gqa", "model.layers.0.self_attn.o_proj.bias"),
        ("tiny-mistral", "model.layers.1.self_attn.q_proj.bias"),
        ("tiny-qwen2", "model.layers.2.self_attn.q_norm.weight"),
        ("tiny-qwen3", "model.layers.3.input_layernorm.weight"),
    ] {
        let message = refused_with(model, &|tensors| {
            tensors.push((
                name.to_owned(),
                Tensor::zeros([24], (Kind::Float, Device::Cpu)),
            ));
        });
        let expected = format!("tensor \"{name}\" in ");
        assert!(
            message.contains(&expected) && message.contains("accepted: no such tensor"),
            "{message}"
        );
    }
}

#[test]
fn a_bias_or_norm_of_the_family_that_is_missing_is_refused_by_name() {
    for (model, name) in [
        ("tiny-qwen2", "model.layers.1.self_attn.v_proj.bias"),
        ("tiny-qwen3", "model.layers.1.self_attn.k_norm.weight"),
    ] {
        let message = refused_with(model, &|tensors| tensors.retain(|(n, _)| n != name));
        assert!(
            message.contains("has no tensor") && message.contains(name),
            "{message}"
        );
    }
}

#[test]
fn a_tied_output_matrix_may_be_written_if_it_is_the_embeddings() {
    let with_head = |tensors: &mut Tensors, added: f64| {
        let embeddings = tensors
            .iter()
            .find(|(n, _)| n == "model.embed_tokens.weight");
        let head = &embeddings.unwrap().1 + added;
        tensors.push(("lm_head.weight".to_owned(), head));
    };
    let folder = copy("tiny-gqa");
    rewrite(folder.path(), &|tensors| {
        with_head(tensors, 0.0);
        let frequencies = Tensor::ones([4], (Kind::Float, Device::Cpu));
        tensors.push((
            "model.layers.0.self_attn.rotary_emb.inv_freq".to_owned(),
            frequencies,
        ));
    });
    let dense = DenseModel::open(folder.path(), Kind::Float, Device::Cpu).unwrap();
    assert!(dense.model.lm_head_VD.is_none());
    let message = refused_with("tiny-gqa", &|tensors| with_head(tensors, 0.5));
    assert!(
        message.contains("lm_head.weight") && message.contains("tie_word_embeddings is true"),
        "{message}"
    );
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
    let whole = |change: &dyn Fn(&mut Tensors)| refused_with("tiny-gqa", change);
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
