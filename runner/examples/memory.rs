//! Holds the formulas of `memory` against what libtorch allocates, on the stand-in CUDA device.
//!
//! `memory MODEL TOKENS`: the work of a search over sequences of so many tokens, in both types.
//! Ends with 1 where a formula is off by more than 15 %. What the CPU's kernels take for themselves
//! is not seen, nor what a GPU's would.
#![allow(non_snake_case)]

use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::AtomicBool;

use anyhow::{Context as _, anyhow};
use darwinlm_report::bytes;
use darwinlm_runner::database::{Database, FORMAT_VERSION, Manifest, file_name, write_module};
use darwinlm_runner::device::{kind, set_threads};
use darwinlm_runner::fitness::{Teacher, write_teacher};
use darwinlm_runner::memory::{Kept, Sizes};
use darwinlm_runner::model::DenseModel;
use darwinlm_runner::prune::{
    CalibrationSettings, Damping, LevelWeights, ModuleLevels, build_module, calibrate, kept_units,
    unit_columns,
};
use darwinlm_runner::stitch::columns_per_unit;
use darwinlm_runner::tokens::Sequences;
use darwinlm_runner::trial::{TrialContext, TrialSettings, run_trial};
use darwinlm_search::{
    AttentionUnit, Costs, FitnessKind, Genome, Ladder, Ladders, Level, Minibatch, Module,
    ModuleKind, Optimizer, PerKind, Trial, TrialId,
};
use darwinlm_task::NumericsPlan;
use tch::{Device, Tensor};

/// Hundredths that a formula may be off.
const TOLERANCE: f64 = 15.0;

const UNIT: AttentionUnit = AttentionUnit::QueryHead;

fn main() -> anyhow::Result<ExitCode> {
    fake_cuda::install().map_err(|reason| anyhow!(reason))?;
    set_threads(2);
    let mut arguments = std::env::args().skip(1);
    let usage = "usage: memory MODEL TOKENS";
    let model = arguments.next().context(usage)?;
    let length: u32 = arguments.next().context(usage)?.parse().context(usage)?;
    println!("{:<34} {:>12} {:>12}", "", "formula", "allocated");
    let mut is_close = true;
    // bfloat16 is emulated here: a few tokens are enough
    let halves = NumericsPlan::cuda(2);
    for (plan, length) in [(NumericsPlan::cpu(2), length), (halves, length.min(32))] {
        let bench = Bench::open(Path::new(&model), plan, length)?;
        for (name, formula, allocated) in bench.measure()? {
            let off = 100.0 * (formula as f64 / allocated as f64 - 1.0);
            is_close &= off.abs() <= TOLERANCE;
            let name = format!("{name}, {:?}, {length} tokens", plan.dtype);
            let (formula, allocated) = (bytes(formula), bytes(allocated));
            println!("{name:<34} {formula:>12} {allocated:>12} {off:+6.1} %");
        }
    }
    Ok(ExitCode::from(u8::from(!is_close)))
}

/// A dense model on the device, and what its work needs.
struct Bench {
    /// Bytes held before it was loaded.
    before: usize,
    dense: DenseModel,
    sizes: Sizes,
    pool: Sequences,
    scratch: tempfile::TempDir,
}

impl Bench {
    fn open(model: &Path, plan: NumericsPlan, length: u32) -> anyhow::Result<Self> {
        let before = fake_cuda::current();
        let dense = DenseModel::open(model, kind(plan.dtype), Device::Cuda(0))?;
        let sizes = Sizes {
            shape: dense.config.shape(UNIT),
            windows: dense.config.windows.clone(),
            numerics: plan,
            sequence_length: length,
            batch_sequences: 2,
        };
        let vocabulary = dense.config.vocabulary as i32;
        let stream = (0..4 * length as i32).map(|at| at * 7919 % vocabulary);
        Ok(Self {
            before,
            dense,
            sizes,
            pool: Sequences::pack(&stream.collect::<Vec<_>>(), length),
            scratch: tempfile::tempdir()?,
        })
    }

    /// Every kind of work with its formula and what it took.
    fn measure(&self) -> anyhow::Result<Vec<(&'static str, u64, u64)>> {
        let teachers = self.scratch.path().join("teacher.safetensors");
        let go_on = AtomicBool::new(false);
        let (dense, pool) = (&self.dense, &self.pool);
        let batch = self.sizes.numerics.micro_batch_sequences;
        let pass = self.peak(|| {
            Ok(write_teacher(
                &dense.model,
                pool,
                batch,
                &teachers,
                &go_on,
                |_| {},
            )?)
        })?;
        let building = self.peak(|| self.build())?;
        let database = self.database()?;
        // a search holds one for each of two pools
        let teacher = Teacher::open(&teachers, pool, dense)?;
        let _other = Teacher::open(&teachers, pool, dense)?;
        let genome = Genome::uniform(self.sizes.shape.blocks, Level::new(3)?);
        let kept = Kept::of(&self.sizes.shape, &database.manifest().ladders, &genome);
        let trial = self.peak(|| self.trial(&database, &teacher, genome))?;
        Ok(vec![
            ("teacher", self.sizes.teacher_pass(), pass),
            ("database", self.sizes.building(1), building),
            ("trial", self.sizes.trial(&kept), trial),
        ])
    }

    fn peak(&self, work: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<u64> {
        fake_cuda::reset();
        work()?;
        Ok((fake_cuda::peak() - self.before) as u64)
    }

    /// The modules of the first block.
    fn build(&self) -> anyhow::Result<()> {
        let settings = CalibrationSettings {
            batch_sequences: self.sizes.numerics.hessian_batch_sequences,
        };
        let (model, go_on) = (&self.dense.model, AtomicBool::new(false));
        let hessians = calibrate(model, &self.pool, 0..1, settings, &go_on, |_| {})?;
        for kind in ModuleKind::ALL {
            let owner = self.owner(Module { block: 0, kind });
            let hessian = &hessians[0].hessians[kind];
            let width = columns_per_unit(&self.sizes.shape, kind);
            build_module(owner, hessian, width, &self.ladders()?[kind], 10)?;
        }
        Ok(())
    }

    /// Two optimizer steps, and a score.
    fn trial(&self, database: &Database, teacher: &Teacher, genome: Genome) -> anyhow::Result<()> {
        let optimizer = Optimizer {
            learning_rate: "1e-5".to_owned(),
            weight_decay: "0.01".to_owned(),
            batch_sequences: self.sizes.batch_sequences,
        };
        let fitness = FitnessKind::KullbackLeibler;
        let context = TrialContext {
            dense: &self.dense,
            database,
            training: &self.pool,
            fitness: &self.pool,
            teacher: Some(teacher),
            settings: TrialSettings::new(&self.sizes.numerics, &optimizer, fitness)?,
        };
        let minibatch = Minibatch {
            sequences: vec![0, 1, 2, 3],
            tokens: 4 * u64::from(self.sizes.sequence_length),
        };
        let trial = Trial {
            id: TrialId {
                generation: 1,
                step: 0,
                slot: 0,
            },
            genome,
            training: vec![minibatch.clone()],
            fitness: minibatch,
        };
        run_trial(&context, &trial, &AtomicBool::new(false), &mut |_| {})?;
        Ok(())
    }

    fn ladders(&self) -> anyhow::Result<Ladders> {
        let ladder = |kind| Ladder::spaced(self.sizes.shape.units(kind), 9, 1);
        Ok(PerKind {
            attention: ladder(ModuleKind::Attention)?,
            mlp: ladder(ModuleKind::Mlp)?,
        })
    }

    fn owner(&self, module: Module) -> &Tensor {
        let block = &self.dense.model.blocks[module.block as usize];
        let whole = "a dense block has both modules";
        match module.kind {
            ModuleKind::Attention => &block.attention.as_ref().expect(whole).1.o_DQ,
            ModuleKind::Mlp => &block.mlp.as_ref().expect(whole).1.down_DC,
        }
    }

    /// A level database of the right sizes: the first units go first, and nothing is solved for.
    fn database(&self) -> anyhow::Result<Database> {
        let (shape, ladders) = (self.sizes.shape.clone(), self.ladders()?);
        let mut modules = Vec::new();
        for module in Module::all(shape.blocks) {
            let (owner, ladder) = (self.owner(module), &ladders[module.kind]);
            let order: Vec<u32> = (0..ladder.units()).collect();
            let width = columns_per_unit(&shape, module.kind);
            let between = ladder.as_slice()[1..].iter().filter(|&&units| units > 0);
            let level = |&units: &u32| {
                let kept = kept_units(&order, units as usize);
                let columns = Tensor::from_slice(&unit_columns(&kept, width));
                let weight_RS = owner.to_device(Device::Cpu).index_select(1, &columns);
                LevelWeights { kept, weight_RS }
            };
            let levels = ModuleLevels {
                levels: between.map(level).collect(),
                order,
                errors: vec![0.0; ladder.as_slice().len()],
                damping: Damping {
                    permille: 10,
                    doublings: 0,
                    dead_columns: 0,
                },
            };
            modules.push(write_module(self.scratch.path(), module, &levels)?);
        }
        let files =
            Module::all(shape.blocks).map(|module| self.scratch.path().join(file_name(module)));
        let files = files.collect();
        let manifest = Manifest {
            format_version: FORMAT_VERSION,
            model: "measured".to_owned(),
            calibration: "none".to_owned(),
            costs: Costs::parameters(&shape, &ladders)?,
            shape,
            ladders,
            latency_table: None,
            damping_permille: 10,
            modules,
        };
        Ok(Database::over(manifest, files)?)
    }
}
