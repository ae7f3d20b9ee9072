//! Reading tokens one by one from a cache gives what reading them all at once gives.

use darwinlm_runner::model::Model;
use darwinlm_runner::no_grad::no_grad;
use darwinlm_runner::stitch::stitch;
use darwinlm_search::{AttentionUnit, Genome, Level, Module};
use tch::{Kind, Tensor};

use crate::tiny::{MODELS, UNITS, database, dense, relative, sequences};

/// Longer than the windows of the tiny models.
const TOKENS: i64 = 24;
const PROMPT: i64 = 5;

/// Final hidden states of a prompt and then of one token after another [B, T, D].
fn one_by_one(model: &Model, ids_BT: &Tensor) -> Tensor {
    let mut cache = model.cache(ids_BT.size()[0], TOKENS).unwrap();
    let mut states = vec![model.hidden_states_after(&ids_BT.narrow(1, 0, PROMPT), &mut cache)];
    for at in PROMPT..TOKENS {
        states.push(model.hidden_states_after(&ids_BT.narrow(1, at, 1), &mut cache));
    }
    Tensor::cat(&states, 1)
}

fn check(model: &Model, what: &str) {
    let ids_BT = sequences(2, TOKENS as u32, 11).batch(&[0, 1], TOKENS as u32, model.device());
    let logits = |hidden_BTD: &Tensor| model.logits(&hidden_BTD.flatten(0, 1));
    let (whole, steps) = no_grad(|| {
        (
            logits(&model.hidden_states(&ids_BT)),
            logits(&one_by_one(model, &ids_BT)),
        )
    });
    let difference = relative(&steps, &whole);
    assert!(
        difference < 1e-5,
        "{what}: logits differ by {difference} of the largest"
    );
}

#[test]
fn a_cache_gives_the_logits_of_the_whole_sequence_in_every_family() {
    for name in MODELS {
        check(&dense(name).model, name);
    }
}

#[test]
fn a_pruned_model_reads_from_its_cache_what_it_would_read_anew() {
    for name in ["tiny-gqa", "tiny-mha", "tiny-mistral", "tiny-qwen3"] {
        for unit in UNITS {
            let folder = tempfile::tempdir().unwrap();
            let dense = dense(name);
            let database = database(&dense, unit, folder.path());
            let deepest = database.manifest().ladders.deepest();
            let blocks = database.manifest().shape.blocks;
            // Dense, pruned and removed modules side by side.
            let genome = Genome::of(blocks, |module: Module| {
                let level = Level::new((module.index() % 4) as u8).unwrap();
                if module.index() % 5 == 4 {
                    deepest[module.kind]
                } else {
                    level.min(deepest[module.kind])
                }
            });
            let model = stitch(&dense, &database, &genome).unwrap();
            check(&model, &format!("{name} {unit:?} {genome}"));
        }
    }
}

#[test]
fn a_cache_holds_keys_and_values_of_the_heads_that_are_left() {
    let dense = dense("tiny-gqa");
    let shape = dense.config.shape(AttentionUnit::QueryHead);
    let cache = dense.model.cache(2, 10).unwrap();
    let width = u64::from(shape.key_value_heads) * u64::from(shape.head_dim);
    assert_eq!(
        cache.bytes(),
        u64::from(shape.blocks) * 2 * 2 * 10 * width * 4
    );
    let weights = dense.model.parameters() * Kind::Float.elt_size_in_bytes() as u64;
    assert_eq!(dense.model.bytes(), weights);
}

#[test]
#[should_panic(expected = "the cache is full")]
fn a_full_cache_takes_no_more() {
    let model = dense("tiny-gqa").model;
    let mut cache = model.cache(1, 2).unwrap();
    let ids_BT = sequences(1, 4, 1).batch(&[0], 4, model.device());
    drop(model.hidden_states_after(&ids_BT, &mut cache));
}
