//! What is allocated stays within the formulas of `memory`, which an exit 12 cites, and is told.

use std::sync::atomic::AtomicBool;

use darwinlm_runner::device::{Watch, held};
use darwinlm_runner::fitness::write_teacher;
use darwinlm_runner::memory::{Kept, Sizes};
use darwinlm_runner::prune::{CalibrationSettings, build_module, calibrate};
use darwinlm_runner::stitch::{columns_per_unit, stitch};
use darwinlm_runner::train::{Distillation, LearningRate, PostTraining, PostTrainingSettings};
use darwinlm_runner::trial::run_trial;
use darwinlm_search::{Genome, Level, Module, ModuleKind};
use darwinlm_task::NumericsPlan;
use tch::{Device, Kind, Tensor};

use crate::bench::{Bench, minibatch, trial};
use crate::tiny;

/// The most that is held at once during some work, above what was held before the bench.
fn peak(before: usize, work: impl FnOnce()) -> u64 {
    fake_cuda::reset();
    work();
    (fake_cuda::peak() - before) as u64
}

fn each_model(check: impl Fn(&str, usize, &Bench, &Sizes)) {
    for name in tiny::MODELS {
        for plan in [NumericsPlan::cpu(1), NumericsPlan::cuda(1)] {
            let before = fake_cuda::current();
            let bench = Bench::new(name, plan);
            let config = &bench.dense.config;
            let sizes = Sizes {
                shape: config.shape(tiny::UNITS[0]),
                windows: config.windows.clone(),
                numerics: plan,
                sequence_length: 20,
                batch_sequences: 2,
            };
            check(name, before, &bench, &sizes);
        }
    }
}

#[test]
fn a_trial_stays_within_its_formula_at_every_level() {
    let _figures = fake_cuda::exclusive();
    each_model(|name, before, bench, sizes| {
        for level in 0..=bench.database.manifest().ladders.deepest().attention.get() {
            for training in [vec![], vec![minibatch(4)]] {
                let mut trial = trial(training);
                trial.genome = Genome::uniform(3, Level::new(level).unwrap());
                let ladders = &bench.database.manifest().ladders;
                let kept = Kept::of(&sizes.shape, ladders, &trial.genome);
                let go_on = AtomicBool::new(false);
                let allocated = peak(before, || {
                    run_trial(&bench.context(), &trial, &go_on, &mut |_| {}).unwrap();
                });
                let formula = sizes.trial(&kept);
                assert!(
                    allocated <= formula,
                    "{name}, level {level}: {allocated} of {formula}"
                );
            }
        }
    });
}

#[test]
fn building_a_database_and_the_teachers_stays_within_its_formulas() {
    let _figures = fake_cuda::exclusive();
    each_model(|name, before, bench, sizes| {
        let model = &bench.dense.model;
        let go_on = AtomicBool::new(false);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("teacher.safetensors");
        let batch = sizes.numerics.micro_batch_sequences;
        let allocated = peak(before, || {
            write_teacher(model, &bench.fitness, batch, &path, &go_on, |_| {}).unwrap();
        });
        let formula = sizes.teacher_pass();
        assert!(allocated <= formula, "{name}: {allocated} of {formula}");
        let ladders = tiny::ladders(&bench.dense, tiny::UNITS[0]);
        let settings = CalibrationSettings { batch_sequences: 4 };
        let allocated = peak(before, || {
            let hessians = calibrate(model, &bench.training, 0..2, settings, &go_on, |_| {});
            for block in hessians.unwrap() {
                for kind in ModuleKind::ALL {
                    let owner = tiny::owner(
                        &bench.dense,
                        Module {
                            block: block.block,
                            kind,
                        },
                    );
                    let width = columns_per_unit(&sizes.shape, kind);
                    build_module(owner, &block.hessians[kind], width, &ladders[kind], 10).unwrap();
                }
            }
        });
        let formula = sizes.building(2);
        assert!(allocated <= formula, "{name}: {allocated} of {formula}");
    });
}

#[test]
fn post_training_stays_within_its_formula() {
    let _figures = fake_cuda::exclusive();
    each_model(|name, before, bench, sizes| {
        let genome = Genome::uniform(3, Level::new(1).unwrap());
        let kept = Kept::of(&sizes.shape, &bench.database.manifest().ladders, &genome);
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
        for share in [0.0, 0.5] {
            let allocated = peak(before, || {
                let survivor = stitch(&bench.dense, &bench.database, &genome).unwrap();
                let dense = &bench.dense.model;
                let teacher = (share > 0.0).then_some(Distillation { dense, share });
                let (pool, order) = (&bench.training, minibatch(8));
                let mut run = PostTraining::new(survivor, settings, pool, &order, teacher).unwrap();
                while !run.is_done() {
                    run.step(&AtomicBool::new(false)).unwrap();
                }
            });
            // the bench's dense model stays in any case
            let formula = sizes.post_training(&kept, true);
            assert!(
                allocated <= formula,
                "{name}, {share}: {allocated} of {formula}"
            );
        }
    });
}

#[test]
fn the_most_that_was_held_outlives_a_watch() {
    let _figures = fake_cuda::exclusive();
    let large = Tensor::zeros([64 << 20], (Kind::Uint8, Device::Cuda(0)));
    let with = held().expect("the device counts");
    drop(large);
    // which lets the allocator forget its own peak
    let watch = Watch::begin(Device::Cuda(0)).expect("the device counts");
    let after = held().expect("the device counts");
    assert_eq!(with.now - after.now, 64 << 20);
    assert!(after.most >= with.now, "{with:?}, {after:?}");
    assert!(watch.peak().expect("the device counts") < 64 << 20);
}
