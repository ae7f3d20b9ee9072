//! KL divergence and perplexity.

use std::sync::atomic::AtomicBool;

use darwinlm_runner::fitness::{FitnessError, ScoreSettings, Scorer, Teacher, write_teacher};
use darwinlm_runner::model::{DenseModel, Model};
use darwinlm_runner::tokens::Sequences;
use darwinlm_search::{FitnessKind, Minibatch};
use tch::{Kind, Tensor};

use crate::tiny;

fn settings(kind: FitnessKind, micro_batch_sequences: u32, chunk: u32) -> ScoreSettings {
    ScoreSettings {
        kind,
        micro_batch_sequences,
        logit_chunk_tokens: chunk,
    }
}

fn teacher(dense: &DenseModel, pool: &Sequences, folder: &tempfile::TempDir) -> Teacher {
    let path = folder.path().join("teacher.safetensors");
    let go_on = AtomicBool::new(false);
    write_teacher(&dense.model, pool, 2, &path, &go_on, |_| {}).unwrap();
    Teacher::open(&path, pool, dense).unwrap()
}

fn changed(dense: &DenseModel) -> Model {
    tch::manual_seed(3);
    dense
        .model
        .map_weights(|_, weight| weight + weight.randn_like() * 0.02)
}

#[test]
fn the_dense_model_has_no_divergence_from_itself_and_another_has_some() {
    let dense = tiny::dense("tiny-gqa");
    let (pool, folder) = (tiny::sequences(4, 20, 2), tempfile::tempdir().unwrap());
    let teacher = teacher(&dense, &pool, &folder);
    let scorer = Scorer {
        pool: &pool,
        teacher: Some(&teacher),
        settings: settings(FitnessKind::KullbackLeibler, 2, 1000),
    };
    let minibatch = Minibatch {
        sequences: vec![2, 0, 3],
        tokens: 55,
    };
    let go_on = AtomicBool::new(false);
    let score = |model: &Model| {
        scorer
            .score(model, &minibatch, &go_on, &mut |_| {})
            .unwrap()
    };
    assert!(score(&dense.model).abs() < 1e-7);
    assert!(score(&changed(&dense)) > 1e-4);
}

#[test]
fn chunks_and_micro_batches_change_nothing_but_the_last_bits() {
    let dense = tiny::dense("tiny-mha");
    let (pool, folder) = (tiny::sequences(4, 20, 4), tempfile::tempdir().unwrap());
    let teacher = teacher(&dense, &pool, &folder);
    let model = changed(&dense);
    let minibatch = Minibatch {
        sequences: vec![3, 1, 0],
        tokens: 47,
    };
    let go_on = AtomicBool::new(false);
    for kind in [FitnessKind::KullbackLeibler, FitnessKind::Perplexity] {
        let score = |micro, chunk| {
            let settings = settings(kind, micro, chunk);
            let scorer = Scorer {
                pool: &pool,
                teacher: Some(&teacher),
                settings,
            };
            scorer
                .score(&model, &minibatch, &go_on, &mut |_| {})
                .unwrap()
        };
        let whole = score(3, 1000);
        for (micro, chunk) in [(1, 1000), (2, 7), (1, 1)] {
            assert!(
                (score(micro, chunk) - whole).abs() / whole < 1e-6,
                "{kind:?}"
            );
        }
    }
}

#[test]
fn scores_are_those_of_the_definitions_on_exactly_the_tokens_asked_for() {
    let dense = tiny::dense("tiny-gqa");
    let (pool, folder) = (tiny::sequences(3, 20, 5), tempfile::tempdir().unwrap());
    let teacher = teacher(&dense, &pool, &folder);
    let model = changed(&dense);
    // 20 tokens of sequence 1 and 13 of sequence 2 predict 19 + 12 tokens
    let minibatch = Minibatch {
        sequences: vec![1, 2],
        tokens: 33,
    };
    let (mut divergence, mut surprise) = (0.0, 0.0);
    for (sequence, tokens) in [(1, 20), (2, 13)] {
        let ids = pool.batch(&[sequence], tokens, tch::Device::Cpu);
        let logs = |model: &Model| {
            let logits = model
                .logits(&model.hidden_states(&ids))
                .to_kind(Kind::Double);
            logits
                .log_softmax(-1, Kind::Double)
                .get(0)
                .narrow(0, 0, i64::from(tokens) - 1)
        };
        let (p, q) = (logs(&dense.model), logs(&model));
        divergence += (p.exp() * (&p - &q)).sum(Kind::Double).double_value(&[]);
        let next: Tensor = ids.get(0).narrow(0, 1, i64::from(tokens) - 1).unsqueeze(1);
        surprise -= q
            .gather(1, &next, false)
            .sum(Kind::Double)
            .double_value(&[]);
    }
    let go_on = AtomicBool::new(false);
    let mut told = 0;
    let mut score = |kind| {
        let scorer = Scorer {
            pool: &pool,
            teacher: Some(&teacher),
            settings: settings(kind, 1, 8),
        };
        scorer
            .score(&model, &minibatch, &go_on, &mut |work| told += work.tokens)
            .unwrap()
    };
    let kl = score(FitnessKind::KullbackLeibler);
    let perplexity = score(FitnessKind::Perplexity);
    assert!((kl - divergence / 31.0).abs() < 1e-6, "{kl}");
    assert!(
        (perplexity / (surprise / 31.0).exp() - 1.0).abs() < 1e-6,
        "{perplexity}"
    );
    assert_eq!(told, 2 * 33);
}

#[test]
fn divergence_without_a_teacher_and_a_teacher_of_another_pool_are_refused() {
    let dense = tiny::dense("tiny-gqa");
    let (pool, folder) = (tiny::sequences(3, 20, 6), tempfile::tempdir().unwrap());
    teacher(&dense, &pool, &folder);
    let path = folder.path().join("teacher.safetensors");
    let other = tiny::sequences(4, 20, 6);
    let error = Teacher::open(&path, &other, &dense).unwrap_err();
    assert!(matches!(error, FitnessError::TeacherShape { .. }));
    let settings = settings(FitnessKind::KullbackLeibler, 1, 8);
    let scorer = Scorer {
        pool: &pool,
        teacher: None,
        settings,
    };
    let minibatch = Minibatch {
        sequences: vec![0],
        tokens: 20,
    };
    let go_on = AtomicBool::new(false);
    let error = scorer
        .score(&dense.model, &minibatch, &go_on, &mut |_| {})
        .unwrap_err();
    assert!(matches!(error, FitnessError::NoTeacher));
}
