//! What the trials of a tiny model need, on the device.

use std::sync::atomic::AtomicBool;

use darwinlm_runner::database::Database;
use darwinlm_runner::device::kind;
use darwinlm_runner::fitness::{Teacher, write_teacher};
use darwinlm_runner::model::DenseModel;
use darwinlm_runner::tokens::Sequences;
use darwinlm_runner::trial::{TrialContext, TrialSettings};
use darwinlm_search::{FitnessKind, Genome, Level, Minibatch, Optimizer, Trial, TrialId};
use darwinlm_task::NumericsPlan;
use tch::Device;

use crate::tiny;

/// Everything a trial needs. The dense model lies on the device, weights in the plan's type.
pub(crate) struct Bench {
    pub(crate) dense: DenseModel,
    pub(crate) database: Database,
    pub(crate) training: Sequences,
    pub(crate) fitness: Sequences,
    pub(crate) teacher: Teacher,
    pub(crate) plan: NumericsPlan,
    _folder: tempfile::TempDir,
}

impl Bench {
    pub(crate) fn new(name: &str, plan: NumericsPlan) -> Self {
        darwinlm_runner::device::set_threads(1);
        let (dtype, device) = (kind(plan.dtype), Device::Cuda(0));
        let dense = DenseModel::open(&tiny::folder(name), dtype, device).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let database = tiny::database(&dense, tiny::UNITS[0], folder.path());
        let (training, fitness) = (tiny::sequences(12, 20, 30), tiny::sequences(6, 20, 31));
        let path = folder.path().join("teacher.safetensors");
        let go_on = AtomicBool::new(false);
        write_teacher(&dense.model, &fitness, 2, &path, &go_on, |_| {}).unwrap();
        let teacher = Teacher::open(&path, &fitness, &dense).unwrap();
        Self {
            dense,
            database,
            training,
            fitness,
            teacher,
            plan,
            _folder: folder,
        }
    }

    pub(crate) fn context(&self) -> TrialContext<'_> {
        let optimizer = Optimizer {
            learning_rate: "1e-3".to_owned(),
            weight_decay: "0.01".to_owned(),
            batch_sequences: 2,
        };
        let fitness = FitnessKind::KullbackLeibler;
        TrialContext {
            dense: &self.dense,
            database: &self.database,
            training: &self.training,
            fitness: &self.fitness,
            teacher: Some(&self.teacher),
            settings: TrialSettings::new(&self.plan, &optimizer, fitness).unwrap(),
        }
    }
}

/// A trial of the uniform genome of level 2, scored on three sequences of twenty tokens.
pub(crate) fn trial(training: Vec<Minibatch>) -> Trial {
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
            tokens: 60,
        },
    }
}

/// Sequences of the training pool, whole: two make a step.
pub(crate) fn minibatch(sequences: u32) -> Minibatch {
    Minibatch {
        sequences: (0..sequences).collect(),
        tokens: u64::from(sequences) * 20,
    }
}
