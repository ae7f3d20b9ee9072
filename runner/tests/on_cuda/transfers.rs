//! How often the host waits for the device, and feeds it: never inside a training step.

use std::sync::atomic::AtomicBool;

use darwinlm_runner::prune::{CalibrationSettings, build_module, calibrate};
use darwinlm_runner::stitch::{columns_per_unit, stitch};
use darwinlm_runner::train::{Distillation, LearningRate, PostTraining, PostTrainingSettings};
use darwinlm_runner::trial::{TrialProgress, run_trial};
use darwinlm_search::{AttentionUnit, Genome, Ladder, Level, Module, ModuleKind};
use darwinlm_task::NumericsPlan;

use crate::bench::{Bench, minibatch, trial};
use crate::tiny;

/// Copies to the device, and times that the host waited for it.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Transfers {
    uploads: u64,
    host_reads: u64,
}

fn now() -> Transfers {
    Transfers {
        uploads: fake_cuda::uploads(),
        host_reads: fake_cuda::host_reads(),
    }
}

fn counted(work: impl FnOnce()) -> Transfers {
    fake_cuda::reset();
    work();
    now()
}

#[test]
fn no_training_step_reads_from_the_device_or_uploads_to_it() {
    let _figures = fake_cuda::exclusive();
    for name in tiny::MODELS {
        for plan in [NumericsPlan::cpu(1), NumericsPlan::cuda(1)] {
            let bench = Bench::new(name, plan);
            let mut after_steps = Vec::new();
            let mut hear = |progress| {
                if let TrialProgress::Trained(_) = progress {
                    after_steps.push(now());
                }
            };
            let trial = trial(vec![minibatch(8)]);
            let go_on = AtomicBool::new(false);
            fake_cuda::reset();
            run_trial(&bench.context(), &trial, &go_on, &mut hear).unwrap();
            assert_eq!(after_steps.len(), 4);
            // nothing between two steps, and nothing read before the first has ended
            let quiet = Transfers {
                host_reads: 0,
                ..after_steps[0]
            };
            let last = fake_cuda::last_host_read();
            assert_eq!(after_steps, [quiet; 4], "{name}: {last}");
        }
    }
}

#[test]
fn a_trial_waits_once_a_minibatch_and_uploads_what_it_is_made_of() {
    let _figures = fake_cuda::exclusive();
    for name in tiny::MODELS {
        for plan in [NumericsPlan::cpu(1), NumericsPlan::cuda(1)] {
            let bench = Bench::new(name, plan);
            let go_on = AtomicBool::new(false);
            let of = |training| {
                let trial = trial(training);
                counted(|| {
                    run_trial(&bench.context(), &trial, &go_on, &mut |_| {}).unwrap();
                })
            };
            let scored_batches = 3u64.div_ceil(u64::from(plan.micro_batch_sequences));
            let scoring = of(vec![]);
            assert_eq!(scoring.host_reads, 1);
            // of a block: the kept rows and `down_proj`, the kept rows, perhaps the key-value
            // heads they read, and `o_proj`; then the tokens, and the teacher by batch
            let stitching = scoring.uploads - 1 - scored_batches;
            assert!((3 * 4..=3 * 5).contains(&stitching), "{name}: {scoring:?}");
            for (training, minibatches) in [
                (vec![minibatch(2)], 1),
                (vec![minibatch(8)], 1),
                (vec![minibatch(8), minibatch(4)], 2),
            ] {
                let expected = Transfers {
                    uploads: scoring.uploads + minibatches,
                    host_reads: 1 + minibatches,
                };
                assert_eq!(of(training), expected, "{name}");
            }
        }
    }
}

#[test]
fn a_step_of_post_training_uploads_its_tokens_and_waits_for_its_loss() {
    let _figures = fake_cuda::exclusive();
    let bench = Bench::new("tiny-gqa", NumericsPlan::cuda(1));
    let genome = Genome::uniform(3, Level::new(1).unwrap());
    let survivor = stitch(&bench.dense, &bench.database, &genome).unwrap();
    let settings = PostTrainingSettings {
        train: bench.context().settings.train,
        rate: LearningRate {
            peak: 1e-3,
            last: 0.1,
            warmup: 1,
            steps: 4,
        },
        gradient_norm: 1.0,
    };
    let (dense, order) = (&bench.dense.model, minibatch(8));
    let teacher = Some(Distillation { dense, share: 0.5 });
    let mut run = PostTraining::new(survivor, settings, &bench.training, &order, teacher).unwrap();
    let mut steps = 0;
    while !run.is_done() {
        let step = counted(|| {
            run.step(&AtomicBool::new(false)).unwrap();
        });
        let once = Transfers {
            uploads: 1,
            host_reads: 1,
        };
        assert_eq!(step, once);
        steps += 1;
    }
    assert_eq!(steps, 4);
}

/// The stated numbers: see "On CUDA" in runner/README.md.
fn of_module(kind: ModuleKind, ladder: &Ladder) -> Transfers {
    let levels = u64::from(ladder.deepest().get());
    let units = u64::from(ladder.units());
    let (uploads, host_reads) = match kind {
        ModuleKind::Attention => (0, 4 * units),
        ModuleKind::Mlp => (units.div_ceil(64), 2 * units.div_ceil(64)),
    };
    Transfers {
        uploads: uploads + levels,
        host_reads: host_reads + levels + 6,
    }
}

#[test]
fn pruning_a_module_waits_twice_in_64_columns_or_four_times_a_head() {
    let _figures = fake_cuda::exclusive();
    for name in ["tiny-gqa", "tiny-qwen3"] {
        let bench = Bench::new(name, NumericsPlan::cuda(1));
        let dense = &bench.dense;
        let shape = dense.config.shape(AttentionUnit::QueryHead);
        let ladders = tiny::ladders(dense, AttentionUnit::QueryHead);
        let calibration = tiny::sequences(24, 16, 7);
        let settings = CalibrationSettings { batch_sequences: 4 };
        let go_on = AtomicBool::new(false);
        let mut hessians = Vec::new();
        let calibrating = counted(|| {
            let blocks = 0..shape.blocks;
            hessians =
                calibrate(&dense.model, &calibration, blocks, settings, &go_on, |_| {}).unwrap();
        });
        let every_batch = Transfers {
            uploads: 24 / 4,
            host_reads: 0,
        };
        assert_eq!(calibrating, every_batch, "{name}");
        for kind in ModuleKind::ALL {
            let owner = tiny::owner(dense, Module { block: 0, kind });
            let hessian = &hessians[0].hessians[kind];
            let width = columns_per_unit(&shape, kind);
            let pruning = counted(|| {
                build_module(owner, hessian, width, &ladders[kind], 10).unwrap();
            });
            assert_eq!(pruning, of_module(kind, &ladders[kind]), "{name} {kind:?}");
        }
    }
}
