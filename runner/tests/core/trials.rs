//! Training, and whole trials.

use std::sync::atomic::AtomicBool;

use darwinlm_runner::database::Database;
use darwinlm_runner::fitness::{Scorer, Teacher, write_teacher};
use darwinlm_runner::flops::{Flops, Work};
use darwinlm_runner::model::DenseModel;
use darwinlm_runner::stitch::stitch;
use darwinlm_runner::tokens::Sequences;
use darwinlm_runner::train::{Trained, Trainer, head_gradients};
use darwinlm_runner::trial::{TrialContext, TrialError, TrialProgress, TrialSettings, run_trial};
use darwinlm_search::{
    FailureKind, FitnessKind, Genome, Level, Minibatch, Optimizer, Outcome, Trial, TrialId,
};
use darwinlm_task::{NumericsPlan, OptimizerPrecision};
use tch::{Device, Kind, Tensor};

use crate::tiny;

/// Everything a trial of a tiny model needs.
struct Bench {
    dense: DenseModel,
    database: Database,
    training: Sequences,
    fitness: Sequences,
    teacher: Teacher,
    _folder: tempfile::TempDir,
}

impl Bench {
    fn new(name: &str) -> Self {
        let dense = tiny::dense(name);
        let folder = tempfile::tempdir().unwrap();
        let database = tiny::database(&dense, tiny::UNITS[0], folder.path());
        let (training, fitness) = (tiny::sequences(12, 20, 30), tiny::sequences(6, 20, 31));
        let path = folder.path().join("teacher.safetensors");
        write_teacher(
            &dense.model,
            &fitness,
            2,
            &path,
            &AtomicBool::new(false),
            |_| {},
        )
        .unwrap();
        let teacher = Teacher::open(&path, &fitness, &dense).unwrap();
        Self {
            dense,
            database,
            training,
            fitness,
            teacher,
            _folder: folder,
        }
    }

    fn context(&self, learning_rate: &str) -> TrialContext<'_> {
        TrialContext {
            dense: &self.dense,
            database: &self.database,
            training: &self.training,
            fitness: &self.fitness,
            teacher: Some(&self.teacher),
            settings: settings(learning_rate),
        }
    }
}

fn settings(learning_rate: &str) -> TrialSettings {
    let optimizer = Optimizer {
        learning_rate: learning_rate.to_owned(),
        weight_decay: "0.01".to_owned(),
        batch_sequences: 2,
    };
    let plan = NumericsPlan::cpu(1);
    TrialSettings::new(&plan, &optimizer, FitnessKind::KullbackLeibler).unwrap()
}

fn trial(training: Vec<Minibatch>) -> Trial {
    Trial {
        id: TrialId {
            generation: 1,
            step: 0,
            slot: 0,
        },
        genome: Genome::uniform(3, Level::new(2).unwrap()),
        training,
        fitness: Minibatch {
            sequences: vec![4, 1, 2],
            tokens: 50,
        },
    }
}

fn minibatch() -> Minibatch {
    Minibatch {
        sequences: vec![5, 9, 0, 7, 3],
        tokens: 93,
    }
}

fn run(context: &TrialContext<'_>, trial: &Trial) -> Outcome {
    run_trial(context, trial, &AtomicBool::new(false), &mut |_| {}).unwrap()
}

#[test]
fn a_trial_gives_the_same_bits_again_whatever_ran_before_it() {
    for name in tiny::MODELS {
        let bench = Bench::new(name);
        let context = bench.context("1e-3");
        let (trained, one_shot) = (trial(vec![minibatch()]), trial(vec![]));
        let (first, before) = (run(&context, &trained), run(&context, &one_shot));
        assert_ne!(first, before);
        assert_eq!(
            (run(&context, &trained), run(&context, &one_shot)),
            (first, before)
        );
        // in another process, so to speak: nothing is shared but the files
        let again = Bench::new(name);
        assert_eq!(run(&again.context("1e-3"), &trained), first);
    }
}

#[test]
fn no_training_leaves_the_one_shot_fitness() {
    let bench = Bench::new("tiny-gqa");
    let context = bench.context("1e-3");
    let nothing = Minibatch {
        sequences: vec![],
        tokens: 0,
    };
    assert_eq!(
        run(&context, &trial(vec![nothing])),
        run(&context, &trial(vec![]))
    );
    let candidate = stitch(context.dense, context.database, &trial(vec![]).genome).unwrap();
    let scorer = Scorer {
        pool: &bench.fitness,
        teacher: Some(&bench.teacher),
        settings: context.settings.score,
    };
    let go_on = AtomicBool::new(false);
    let value = scorer
        .score(&candidate, &trial(vec![]).fitness, &go_on, &mut |_| {})
        .unwrap();
    assert_eq!(run(&context, &trial(vec![])), Outcome::of(value));
}

#[test]
fn training_takes_the_loss_down_and_leaves_dense_weights_and_shapes_alone() {
    for name in tiny::MODELS {
        let bench = Bench::new(name);
        let context = bench.context("1e-2");
        let candidate = stitch(context.dense, context.database, &trial(vec![]).genome).unwrap();
        let before: Vec<Tensor> = bench
            .dense
            .model
            .weights()
            .iter()
            .map(|(_, weight)| weight.copy())
            .collect();
        let mut trainer = Trainer::new(&candidate, context.settings.train);
        let go_on = AtomicBool::new(false);
        let mut losses = Vec::new();
        for _ in 0..8 {
            let trained = trainer
                .train(&bench.training, &minibatch(), &go_on, &mut |_| {})
                .unwrap();
            let Trained::Finished {
                last_loss: Some(loss),
            } = trained
            else {
                panic!("{trained:?}")
            };
            losses.push(loss);
        }
        assert!(losses[7] < 0.8 * losses[0], "{losses:?}");
        for ((_, weight), before) in bench.dense.model.weights().iter().zip(&before) {
            assert!(weight.equal(before));
        }
        let shapes = |model: &darwinlm_runner::model::Model| -> Vec<_> {
            model
                .weights()
                .into_iter()
                .map(|(name, weight)| (name, weight.size()))
                .collect()
        };
        assert_eq!(shapes(trainer.model()), shapes(&candidate));
    }
}

#[test]
fn one_step_is_adamw_on_the_mean_cross_entropy() {
    for name in tiny::MODELS {
        let bench = Bench::new(name);
        let settings = settings("1e-2");
        let go_on = AtomicBool::new(false);
        let step = Minibatch {
            sequences: vec![6, 2],
            tokens: 33,
        };
        let mut trainer = Trainer::new(&bench.dense.model, settings.train);
        trainer
            .train(&bench.training, &step, &go_on, &mut |_| {})
            .unwrap();
        // the same by autograd over whole logits, and AdamW's first step written out
        let leaf = |weight: &Tensor| weight.copy().set_requires_grad(true);
        let own = bench.dense.model.map_weights(|_, weight| leaf(weight));
        let mut loss = Tensor::zeros([], (Kind::Float, Device::Cpu));
        for (sequence, tokens) in [(6, 20), (2, 13)] {
            let ids = bench.training.batch(&[sequence], tokens, Device::Cpu);
            let logits = own.logits(&own.hidden_states(&ids)).get(0);
            let logs = logits
                .narrow(0, 0, i64::from(tokens) - 1)
                .log_softmax(-1, Kind::Float);
            let next = ids.get(0).narrow(0, 1, i64::from(tokens) - 1).unsqueeze(1);
            loss = logs.gather(1, &next, false).sum(Kind::Float) / -31.0 + loss;
        }
        loss.backward();
        for ((name, weight), (_, trained)) in own.weights().iter().zip(trainer.model().weights()) {
            let gradient = weight.grad();
            let direction = &gradient / (gradient.abs() + 1e-8);
            let expected = weight.detach() * (1.0 - 1e-2 * 0.01) - direction * 1e-2;
            // where the gradient is tiny its sign is noise
            let clear = gradient.abs().gt(1e-5).to_kind(Kind::Float);
            let error = ((trained.detach() - expected) * clear)
                .abs()
                .max()
                .double_value(&[]);
            assert!(error < 1e-4, "{name}: {error}");
        }
    }
}

#[test]
fn the_chunked_loss_and_its_gradients_are_autograds() {
    tch::manual_seed(40);
    let options = (Kind::Float, Device::Cpu);
    let hidden = Tensor::randn([11, 6], options).set_requires_grad(true);
    let output = Tensor::randn([9, 6], options).set_requires_grad(true);
    let target = Tensor::randint(9, [11], (Kind::Int64, Device::Cpu));
    let loss = hidden
        .matmul(&output.tr())
        .cross_entropy_for_logits(&target);
    loss.backward();
    for chunk in [1, 4, 11] {
        let mut output_gradient = output.detach().zeros_like();
        let (sum, gradient) = head_gradients(
            &hidden,
            &output,
            &target,
            None,
            1.0 / 11.0,
            chunk,
            &mut output_gradient,
        )
        .unwrap();
        let mean = sum.double_value(&[]) / 11.0;
        assert!((mean - loss.double_value(&[])).abs() < 1e-5);
        assert!(tiny::relative(&gradient, &hidden.grad()) < 1e-5);
        assert!(tiny::relative(&output_gradient, &output.grad()) < 1e-5);
    }
}

#[test]
fn training_that_diverges_is_an_outcome() {
    let bench = Bench::new("tiny-gqa");
    let outcome = run(&bench.context("1e30"), &trial(vec![minibatch()]));
    assert_eq!(outcome, Outcome::Failed(FailureKind::NonFinite));
}

#[test]
fn a_cancelled_trial_has_no_outcome() {
    let bench = Bench::new("tiny-gqa");
    for training in [vec![], vec![minibatch()]] {
        let cancelled = AtomicBool::new(true);
        let outcome = run_trial(
            &bench.context("1e-3"),
            &trial(training),
            &cancelled,
            &mut |_| {},
        );
        assert!(matches!(outcome, Err(TrialError::Cancelled)));
    }
}

#[test]
fn progress_adds_up_to_the_work_of_the_trial() {
    let bench = Bench::new("tiny-gqa");
    let (mut trained, mut scored) = (Work::default(), Work::default());
    let add = |sum: &mut Work, work: Work| {
        sum.tokens += work.tokens;
        sum.flops += work.flops;
    };
    let mut progress = |step| match step {
        TrialProgress::Trained(work) => add(&mut trained, work),
        TrialProgress::Scored(work) => add(&mut scored, work),
    };
    let trial = trial(vec![minibatch()]);
    run_trial(
        &bench.context("1e-3"),
        &trial,
        &AtomicBool::new(false),
        &mut progress,
    )
    .unwrap();
    let candidate = stitch(&bench.dense, &bench.database, &trial.genome).unwrap();
    let flops = Flops::of(&candidate);
    // four whole sequences and 13 tokens of a fifth; of each, the last token is not read
    let training = flops.training(4, 19) + flops.training(1, 12);
    let expected = Work {
        tokens: 93,
        flops: training,
    };
    assert_eq!(trained, expected);
    // two whole sequences and 10 tokens; the teacher's logits are computed beside the candidate's
    let states = flops.states(2, 20) + flops.states(1, 10);
    let expected = Work {
        tokens: 50,
        flops: states + 2 * flops.logits(2 * 19 + 9),
    };
    assert_eq!(scored, expected);
}

#[test]
fn an_impossible_allocation_is_out_of_memory_and_not_a_crash() {
    let bench = Bench::new("tiny-gqa");
    let mut progress = |_| {
        // what tch does where libtorch cannot allocate
        let _ = Tensor::zeros([1 << 50], (Kind::Float, Device::Cpu));
    };
    let trial = trial(vec![minibatch()]);
    let outcome = run_trial(
        &bench.context("1e-3"),
        &trial,
        &AtomicBool::new(false),
        &mut progress,
    );
    assert!(
        matches!(outcome, Err(TrialError::OutOfMemory { .. })),
        "{outcome:?}"
    );
}

#[test]
fn stochastic_rounding_is_refused_by_name() {
    let mut plan = NumericsPlan::cpu(1);
    plan.optimizer_precision = OptimizerPrecision::StochasticRounding;
    let optimizer = Optimizer {
        learning_rate: "1e-5".to_owned(),
        weight_decay: "0".to_owned(),
        batch_sequences: 1,
    };
    let error = TrialSettings::new(&plan, &optimizer, FitnessKind::Perplexity).unwrap_err();
    assert!(error.to_string().contains("accepted: Float32Masters"));
}
