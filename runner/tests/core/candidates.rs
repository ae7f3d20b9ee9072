//! Stitched candidates: shapes, and logits against the dense and the masked model.

use darwinlm_runner::model::{KeyValueMap, Model};
use darwinlm_runner::prune::unit_columns;
use darwinlm_runner::stitch::{StitchError, columns_per_unit, stitch};
use darwinlm_search::{Genome, Level, Module, ModuleKind};
use tch::{Device, Kind, Tensor};

use crate::tiny;

fn level(number: u8) -> Level {
    Level::new(number).unwrap()
}

fn tokens() -> Tensor {
    let pool = tiny::sequences(3, 18, 20);
    pool.batch(&[0, 1, 2], 18, Device::Cpu)
}

fn logits(model: &Model) -> Tensor {
    model.logits(&model.hidden_states(&tokens()))
}

#[test]
fn the_dense_genome_reproduces_the_dense_logits_bit_for_bit() {
    for (name, unit) in tiny::MODELS
        .into_iter()
        .zip(tiny::UNITS.into_iter().cycle())
    {
        let dense = tiny::dense(name);
        let folder = tempfile::tempdir().unwrap();
        let database = tiny::database(&dense, unit, folder.path());
        let candidate = stitch(&dense, &database, &Genome::uniform(3, Level::DENSE)).unwrap();
        assert!(logits(&candidate).equal(&logits(&dense.model)));
    }
}

#[test]
fn the_deepest_genome_is_embeddings_norm_and_head() {
    let dense = tiny::dense("tiny-mha");
    let folder = tempfile::tempdir().unwrap();
    let database = tiny::database(&dense, tiny::UNITS[0], folder.path());
    let deepest = database.manifest().ladders.deepest();
    let genome = Genome::of(3, |module| deepest[module.kind]);
    let candidate = stitch(&dense, &database, &genome).unwrap();
    let model = &dense.model;
    let hidden = model.norm.forward(&model.embed(&tokens()), Kind::Float);
    assert!(logits(&candidate).equal(&model.logits(&hidden)));
    assert_eq!(candidate.parameters(), 2 * 96 * 24 + 24);
}

/// Every block at another level, removed modules among them.
fn mixed(deepest: darwinlm_search::PerKind<Level>) -> Genome {
    Genome::of(3, |module| match (module.block, module.kind) {
        (0, ModuleKind::Attention) | (2, ModuleKind::Mlp) => level(1),
        (1, ModuleKind::Mlp) => deepest[ModuleKind::Mlp],
        (0, ModuleKind::Mlp) => level(3),
        (_, ModuleKind::Attention) => level(deepest.attention.get() - 1),
        (_, ModuleKind::Mlp) => level(2),
    })
}

#[test]
fn shrunk_logits_are_those_of_the_masked_dense_model() {
    for name in tiny::MODELS {
        for unit in tiny::UNITS {
            let dense = tiny::dense(name);
            let folder = tempfile::tempdir().unwrap();
            let database = tiny::database(&dense, unit, folder.path());
            let genome = mixed(database.manifest().ladders.deepest());
            let candidate = stitch(&dense, &database, &genome).unwrap();
            let masked = mask(&dense, &database, &genome);
            let error = tiny::relative(&logits(&candidate), &logits(&masked));
            assert!(error < 1e-5, "{name} {unit:?}: {error}");
            assert!(tiny::relative(&logits(&candidate), &logits(&dense.model)) > 1e-2);
        }
    }
}

/// The dense shapes, with removed columns of the owner matrices zero and kept ones refitted.
fn mask(
    dense: &darwinlm_runner::model::DenseModel,
    database: &darwinlm_runner::database::Database,
    genome: &Genome,
) -> Model {
    let shape = &database.manifest().shape;
    dense.model.map_weights(|name, weight| {
        let kind = match name {
            _ if name.contains("o_proj") => ModuleKind::Attention,
            _ if name.contains("down_proj") => ModuleKind::Mlp,
            _ => return weight.shallow_clone(),
        };
        let block = name.split('.').nth(2).unwrap().parse().unwrap();
        let module = Module { block, kind };
        let level = genome.level(module);
        let deepest = database.manifest().ladder(module).deepest();
        if level == Level::DENSE {
            return weight.shallow_clone();
        }
        if level == deepest {
            return weight.zeros_like();
        }
        let stored = database.level(module, level).unwrap();
        let columns = unit_columns(&stored.kept, columns_per_unit(shape, kind));
        weight
            .zeros_like()
            .index_copy(1, &Tensor::from_slice(&columns), &stored.weight_RS)
    })
}

#[test]
fn pruned_query_heads_keep_reading_their_own_key_value_head() {
    let dense = tiny::dense("tiny-gqa");
    let folder = tempfile::tempdir().unwrap();
    let database = tiny::database(&dense, tiny::UNITS[0], folder.path());
    for block in 0..3 {
        let module = Module {
            block,
            kind: ModuleKind::Attention,
        };
        let kept = database.level(module, level(1)).unwrap().kept;
        let candidate = stitch(&dense, &database, &Genome::uniform(3, level(1))).unwrap();
        let (_, attention) = candidate.blocks[block as usize].attention.as_ref().unwrap();
        assert_eq!(attention.query_heads(), kept.len() as i64);
        assert_eq!(attention.key_value_heads(), 2);
        let read: Vec<i64> = kept.iter().map(|&head| i64::from(head / 3)).collect();
        assert_eq!(
            attention.key_value_map,
            KeyValueMap::of(read, 2, Device::Cpu)
        );
    }
}

#[test]
fn parameters_are_those_the_costs_promise_but_for_the_norms_of_removed_modules() {
    for name in tiny::MODELS {
        for unit in tiny::UNITS {
            let dense = tiny::dense(name);
            let folder = tempfile::tempdir().unwrap();
            let database = tiny::database(&dense, unit, folder.path());
            let manifest = database.manifest();
            let genome = mixed(manifest.ladders.deepest());
            let candidate = stitch(&dense, &database, &genome).unwrap();
            let deepest = manifest.ladders.deepest();
            let removed = genome
                .modules()
                .filter(|(m, level)| *level == deepest[m.kind])
                .count();
            let counted = candidate.parameters() + removed as u64 * 24;
            assert_eq!(
                counted,
                manifest.costs.of_genome(&genome),
                "{name} {unit:?}"
            );
        }
    }
}

#[test]
fn biases_are_cut_with_their_heads_and_norms_stay() {
    for (name, unit) in [
        ("tiny-qwen2", tiny::UNITS[0]),
        ("tiny-qwen2", tiny::UNITS[1]),
        ("tiny-qwen3", tiny::UNITS[0]),
        ("tiny-qwen3", tiny::UNITS[1]),
    ] {
        let dense = tiny::dense(name);
        let folder = tempfile::tempdir().unwrap();
        let database = tiny::database(&dense, unit, folder.path());
        let candidate = stitch(&dense, &database, &Genome::uniform(3, level(1))).unwrap();
        for (whole, cut) in dense.model.blocks.iter().zip(&candidate.blocks) {
            let (_, whole) = whole.attention.as_ref().unwrap();
            let (_, cut) = cut.attention.as_ref().unwrap();
            assert!(cut.query_heads() < whole.query_heads());
            if let (Some(whole), Some(biases)) = (&whole.biases, &cut.biases) {
                assert_eq!(biases.q_Q.size()[0], cut.q_QD.size()[0]);
                assert_eq!(biases.k_K.size()[0], cut.k_KD.size()[0]);
                assert_eq!(biases.v_K.size()[0], cut.v_KD.size()[0]);
                let keys_are_whole = unit == tiny::UNITS[0];
                assert_eq!(biases.k_K.size() == whole.k_K.size(), keys_are_whole);
            }
            if let (Some(whole), Some(norms)) = (&whole.norms, &cut.norms) {
                assert!(norms.query.weight_D.equal(&whole.query.weight_D));
                assert!(norms.key.weight_D.equal(&whole.key.weight_D));
            }
            assert_eq!(whole.biases.is_some(), cut.biases.is_some());
            assert_eq!(whole.norms.is_some(), cut.norms.is_some());
        }
    }
}

#[test]
fn a_database_of_another_model_is_refused() {
    let (one, other) = (tiny::dense("tiny-gqa"), tiny::dense("tiny-mha"));
    let folder = tempfile::tempdir().unwrap();
    let database = tiny::database(&one, tiny::UNITS[0], folder.path());
    let error = stitch(&other, &database, &Genome::uniform(3, Level::DENSE)).unwrap_err();
    assert!(matches!(error, StitchError::Shape { .. }));
}
