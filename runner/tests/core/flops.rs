//! Operations of passes, held against shapes that are counted otherwise.

use darwinlm_runner::flops::Flops;
use darwinlm_runner::model::{Model, ModelConfig};
use darwinlm_runner::stitch::stitch;
use darwinlm_search::{Genome, Level};

use crate::tiny;

/// Positions that the queries of a sequence see, counted one by one.
fn seen(tokens: i64, window: Option<i64>) -> i64 {
    let of = |query: i64| (query + 1).min(window.unwrap_or(i64::MAX));
    (0..tokens).map(of).sum()
}

/// Weights of a model that a token is multiplied with, without the output matrix: all but lookups
/// and vectors.
fn matrices(model: &Model) -> u64 {
    let named = model.weights().into_iter();
    let inside = named.filter(|(name, weight)| {
        weight.size().len() == 2 && !name.contains("embed_tokens") && !name.contains("lm_head")
    });
    inside.map(|(_, weight)| weight.numel() as u64).sum()
}

#[test]
fn a_dense_model_takes_what_its_configuration_says() {
    for name in tiny::MODELS {
        let dense = tiny::dense(name);
        let ModelConfig {
            vocabulary,
            hidden_size,
            intermediate_size,
            blocks,
            query_heads,
            key_value_heads,
            head_dim,
            windows,
            ..
        } = &dense.config;
        let (queries, keys) = (query_heads * head_dim, key_value_heads * head_dim);
        let block = hidden_size * (2 * queries + 2 * keys + 3 * intermediate_size);
        let attention = |tokens| {
            let of = |window: &Option<i64>| 4 * queries * seen(tokens, *window);
            windows.iter().map(of).sum::<i64>()
        };
        let flops = Flops::of(&dense.model);
        for (sequences, tokens) in [(1, 1), (3, 20), (2, 64)] {
            let each = 2 * block * *blocks as i64 * tokens + attention(tokens);
            let states = flops.states(sequences as u64, tokens as u64);
            assert_eq!(states as i64, sequences * each, "{name}");
        }
        assert_eq!(flops.logits(7) as i64, 2 * vocabulary * hidden_size * 7);
    }
}

#[test]
fn a_candidate_takes_what_it_keeps() {
    for name in tiny::MODELS {
        let dense = tiny::dense(name);
        let folder = tempfile::tempdir().unwrap();
        let database = tiny::database(&dense, tiny::UNITS[0], folder.path());
        let mut before = u64::MAX;
        for level in 0..5 {
            let genome = Genome::uniform(3, Level::new(level).unwrap());
            let candidate = stitch(&dense, &database, &genome).unwrap();
            let flops = Flops::of(&candidate);
            // one token sees itself alone: 4·H·E in each block that has attention
            let attention = candidate.blocks.iter().filter_map(|block| {
                let (_, attention) = block.attention.as_ref()?;
                Some(4 * attention.q_QD.size()[0] as u64)
            });
            let expected = 2 * matrices(&candidate) + attention.sum::<u64>();
            assert_eq!(flops.states(1, 1), expected, "{name}, level {level}");
            assert!(expected < before, "{name}, level {level}");
            before = expected;
        }
        let deepest = database.manifest().ladders.deepest();
        let bare = Genome::of(3, |module| deepest[module.kind]);
        let bare = Flops::of(&stitch(&dense, &database, &bare).unwrap());
        assert_eq!(bare.states(3, 20), 0, "{name}: every module is gone");
    }
}

#[test]
fn the_first_blocks_take_their_part() {
    let dense = tiny::dense("tiny-gqa");
    let of = |blocks| Flops::of_blocks(&dense.model, blocks).states(2, 9);
    assert_eq!(of(0), 0);
    assert_eq!(3 * of(1), of(3));
    assert_eq!(of(3), Flops::of(&dense.model).states(2, 9));
}
