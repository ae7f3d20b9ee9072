//! The training of the survivor: its steps, its loss, and going on from a checkpoint.

use std::path::Path;
use std::sync::atomic::AtomicBool;

use darwinlm_runner::flops::{Flops, Work};
use darwinlm_runner::model::Model;
use darwinlm_runner::stitch::stitch;
use darwinlm_runner::tokens::Sequences;
use darwinlm_runner::train::{
    AdamW, AdamWSettings, CHECKPOINT_FILES, Distillation, LearningRate, PostTraining,
    PostTrainingSettings, TrainError, TrainSettings, head_gradients,
};
use darwinlm_search::{Genome, Level, Minibatch, Purpose, Stream};
use tch::{Device, Kind, Tensor};

use crate::tiny;

static GO_ON: AtomicBool = AtomicBool::new(false);

fn settings(peak: f64, steps: u64) -> PostTrainingSettings {
    PostTrainingSettings {
        train: TrainSettings {
            adamw: AdamWSettings::new(peak, 0.01),
            batch_sequences: 4,
            micro_batch_sequences: 2,
            logit_chunk_tokens: 7,
        },
        rate: LearningRate {
            peak,
            last: 0.1,
            warmup: 2,
            steps,
        },
        gradient_norm: 1.0,
    }
}

/// Ten steps of up to four sequences: the pool is read more than twice.
fn order(pool: &Sequences) -> Minibatch {
    let mut stream = Stream::new(7, 0, 0, Purpose::PostTraining);
    pool.pool().draw(20 * 38 - 3, &mut stream)
}

fn survivor(name: &str) -> (Model, Model) {
    let dense = tiny::dense(name);
    let folder = tempfile::tempdir().unwrap();
    let database = tiny::database(&dense, tiny::UNITS[0], folder.path());
    let genome = Genome::uniform(3, Level::new(2).unwrap());
    (stitch(&dense, &database, &genome).unwrap(), dense.model)
}

/// The same weights once more: a training takes its survivor.
fn shared(model: &Model) -> Model {
    model.map_weights(|_, weight| weight.shallow_clone())
}

fn files(folder: &Path) -> [std::path::PathBuf; 4] {
    CHECKPOINT_FILES.map(|name| folder.join(name))
}

#[test]
fn going_on_from_a_checkpoint_gives_the_bits_of_an_undisturbed_training() {
    for (name, share) in [("tiny-gqa", 0.0), ("tiny-qwen2", 0.5)] {
        let (survivor, dense) = survivor(name);
        let pool = tiny::sequences(16, 20, 30);
        let order = order(&pool);
        let teacher = (share > 0.0).then_some(Distillation {
            dense: &dense,
            share,
        });
        let start = || {
            PostTraining::new(
                shared(&survivor),
                settings(1e-2, 10),
                &pool,
                &order,
                teacher,
            )
            .unwrap()
        };
        let folder = tempfile::tempdir().unwrap();
        let mut undisturbed = start();
        assert_eq!(undisturbed.steps(), 10);
        let own = Flops::of(&survivor).training(4, 19);
        let taught = Flops::of(&dense);
        let taught = taught.states(4, 19) + taught.logits(4 * 19);
        let expected = Work {
            tokens: 80,
            flops: own + if share > 0.0 { taught } else { 0 },
        };
        while !undisturbed.is_done() {
            let work = undisturbed.step(&GO_ON).unwrap();
            // the last step has fewer tokens
            assert!(work == expected || undisturbed.is_done(), "{work:?}");
            if undisturbed.losses().len() == 4 {
                undisturbed.write_checkpoint(folder.path()).unwrap();
            }
        }
        // another process, so to speak: nothing is shared but the files
        let mut resumed = start();
        let files = files(folder.path());
        resumed
            .resume(files.each_ref().map(std::path::PathBuf::as_path))
            .unwrap();
        assert_eq!((resumed.losses().len(), resumed.tokens()), (4, 320));
        while !resumed.is_done() {
            resumed.step(&GO_ON).unwrap();
        }
        assert_eq!(resumed.losses(), undisturbed.losses(), "{name}");
        let none = Work::default();
        assert_eq!(resumed.step(&GO_ON).unwrap(), none, "no step is left");
        let written = [&undisturbed, &resumed].map(|run| {
            let path = folder.path().join("trained.safetensors");
            run.write_weights(&path).unwrap();
            std::fs::read(path).unwrap()
        });
        assert!(written[0] == written[1], "{name}");
        let (first, last) = (undisturbed.losses()[0], undisturbed.losses()[9]);
        assert!(last < first, "{:?}", undisturbed.losses());
        assert_eq!(undisturbed.tokens(), order.tokens);
    }
}

#[test]
fn the_distilled_loss_and_its_gradients_are_autograds() {
    let (_, dense) = survivor("tiny-gqa");
    let (hidden_size, vocabulary) = (dense.embeddings_VD.size()[1], dense.embeddings_VD.size()[0]);
    tch::manual_seed(41);
    let options = (Kind::Float, Device::Cpu);
    let hidden = Tensor::randn([2 * 9, hidden_size], options).set_requires_grad(true);
    let output = (Tensor::randn([vocabulary, hidden_size], options) * 0.1).set_requires_grad(true);
    let ids_BT = tiny::sequences(2, 9, 42).batch(&[0, 1], 9, Device::Cpu);
    let target = Tensor::randint(vocabulary, [18], (Kind::Int64, Device::Cpu));
    // the same in float64 over whole logits
    let double = |tensor: &Tensor| {
        tensor
            .detach()
            .to_kind(Kind::Double)
            .set_requires_grad(true)
    };
    let (hidden_64, output_64) = (double(&hidden), double(&output));
    let log_q = hidden_64
        .matmul(&output_64.tr())
        .log_softmax(-1, Kind::Double);
    let states = dense.hidden_states(&ids_BT).flatten(0, 1);
    let log_p = dense
        .logits(&states)
        .to_kind(Kind::Double)
        .log_softmax(-1, Kind::Double)
        .detach();
    let entropy = -log_q
        .gather(1, &target.unsqueeze(1), false)
        .sum(Kind::Double);
    let divergence = (log_p.exp() * (&log_p - &log_q)).sum(Kind::Double);
    let share = 0.3;
    let loss = entropy * (1.0 - share) + divergence * share;
    (&loss / 18.0).backward();
    let teacher = Distillation {
        dense: &dense,
        share,
    };
    let soft = teacher.over(&ids_BT).unwrap();
    for chunk in [1, 5, 18] {
        let mut output_gradient = output.detach().zeros_like();
        let (sum, gradient) = head_gradients(
            &hidden,
            &output,
            &target,
            Some(&soft),
            1.0 / 18.0,
            chunk,
            &mut output_gradient,
        )
        .unwrap();
        let expected = loss.double_value(&[]);
        let sum = sum.double_value(&[]);
        assert!((sum - expected).abs() < 1e-4 * expected, "{sum} {expected}");
        let close = |found: &Tensor, expected: &Tensor| {
            tiny::relative(&found.to_kind(Kind::Double), expected) < 1e-5
        };
        assert!(close(&gradient, &hidden_64.grad()));
        assert!(close(&output_gradient, &output_64.grad()));
    }
}

#[test]
fn gradients_are_shortened_together_and_only_when_they_are_too_long() {
    let options = (Kind::Float, Device::Cpu);
    let leaf = |size: i64| Tensor::ones([size], options).set_requires_grad(true);
    let weights = [leaf(3), leaf(5), leaf(2)];
    // the last has no gradient
    let loss = (&weights[0] * 3.0).sum(Kind::Float) + (&weights[1] * 4.0).sum(Kind::Float);
    loss.backward();
    let norm = || {
        let sum: f64 = weights[..2]
            .iter()
            .map(|weight| weight.grad().square().sum(Kind::Double).double_value(&[]))
            .sum();
        sum.sqrt()
    };
    let shared = weights.iter().map(Tensor::shallow_clone).collect();
    let optimizer = AdamW::new(shared, AdamWSettings::new(1e-3, 0.0)).unwrap();
    let long = (3.0f64 * 9.0 + 5.0 * 16.0).sqrt();
    optimizer.clip(2.0 * long).unwrap();
    assert!((norm() - long).abs() < 1e-5, "{}", norm());
    optimizer.clip(2.0).unwrap();
    assert!((norm() - 2.0).abs() < 1e-5, "{}", norm());
    let ratio = weights[0].grad().double_value(&[0]) / weights[1].grad().double_value(&[0]);
    assert!((ratio - 0.75).abs() < 1e-6, "the direction stays");
}

#[test]
fn a_training_that_diverges_names_the_step() {
    let (survivor, _) = survivor("tiny-gqa");
    let pool = tiny::sequences(16, 20, 30);
    let order = order(&pool);
    let mut run =
        PostTraining::new(shared(&survivor), settings(1e30, 10), &pool, &order, None).unwrap();
    let error = loop {
        match run.step(&GO_ON) {
            Ok(work) => assert!(work.tokens > 0, "the training ended well"),
            Err(error) => break error,
        }
    };
    assert!(
        matches!(error, TrainError::NonFinite { steps: 1.., .. }),
        "{error}"
    );
    let folder = tempfile::tempdir().unwrap();
    let written = run.write_weights(&folder.path().join("model.safetensors"));
    assert!(matches!(written, Err(TrainError::NonFinite { .. })));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn a_checkpoint_of_another_survivor_is_refused_by_tensor_and_shape() {
    let (survivor, dense) = survivor("tiny-gqa");
    let pool = tiny::sequences(16, 20, 30);
    let order = order(&pool);
    let folder = tempfile::tempdir().unwrap();
    PostTraining::new(dense, settings(1e-3, 10), &pool, &order, None)
        .unwrap()
        .write_checkpoint(folder.path())
        .unwrap();
    let mut run =
        PostTraining::new(shared(&survivor), settings(1e-3, 10), &pool, &order, None).unwrap();
    let files = files(folder.path());
    let error = run
        .resume(files.each_ref().map(std::path::PathBuf::as_path))
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("model.layers.0.self_attn.q_proj.weight") && error.contains("shape"),
        "{error}"
    );
}

#[test]
fn shorter_sequences_are_pieces_of_the_longer_ones() {
    let whole = tiny::sequences(3, 20, 30);
    let cut = whole.shortened(6);
    assert_eq!((cut.count(), cut.length()), (9, 6));
    assert_eq!(cut.sequence(4), &whole.sequence(1)[6..12]);
    assert_eq!(whole.shortened(20), whole);
}
