//! The table of rates, measured with the code that a run computes with: a few blocks of random
//! weights, each figure the median of three after one that only warms up.

use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use darwinlm_search::{AttentionUnit, FitnessKind, Ladder, LadderError, Minibatch, ModuleKind};
use darwinlm_task::{NumericsPlan, RATES_VERSION, Rates};
use tch::{Device, Tensor};

use super::{forward, hessians, output, pruning};
use crate::device;
use crate::fitness::{FitnessError, ScoreSettings, Scorer, Teacher, write_teacher};
use crate::memory::{Kept, Sizes};
use crate::model::{DenseModel, Model, ModelConfig};
use crate::no_grad::no_grad;
use crate::prune::{CalibrationSettings, PruneError, build_module, calibrate};
use crate::stitch::columns_per_unit;
use crate::tokens::Sequences;
use crate::train::{AdamWSettings, TrainError, TrainSettings, Trainer};

/// Why there are no rates.
#[derive(Debug, thiserror::Error)]
pub enum RatesError {
    /// A file could not be written or read.
    #[error("failed to work in the scratch folder")]
    Io(#[from] std::io::Error),
    /// Scoring failed.
    #[error(transparent)]
    Fitness(#[from] FitnessError),
    /// Training failed.
    #[error(transparent)]
    Train(#[from] TrainError),
    /// Pruning failed.
    #[error(transparent)]
    Prune(#[from] PruneError),
    /// The module has no such ladder.
    #[error(transparent)]
    Ladder(#[from] LadderError),
}

/// Blocks that are measured at most.
const MOST_BLOCKS: usize = 4;
/// Inputs of a module that is pruned: the time grows with their cube, so that more say little more.
const MOST_COLUMNS: u32 = 2048;
/// Bytes that are read and checked.
const READ_BYTES: usize = 64 << 20;
/// Times that each figure is the median of.
const ROUNDS: usize = 3;

/// What rates are measured on.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The model, of which no weights are needed.
    pub config: &'a ModelConfig,
    /// Types, batches and threads.
    pub numerics: &'a NumericsPlan,
    /// Tokens of a sequence.
    pub sequence_length: u32,
    /// Levels above dense.
    pub levels: u8,
    /// The device.
    pub device: Device,
    /// What it took this process to open it.
    pub start_seconds: f64,
    /// A folder for files that go again.
    pub scratch: &'a Path,
}

/// Measures a model's shape on a device; `hear` is told what is measured.
///
/// # Errors
/// When libtorch refuses, for want of memory for instance.
pub fn measure(subject: Subject<'_>, mut hear: impl FnMut(&str)) -> Result<Rates, RatesError> {
    let Subject {
        config,
        numerics,
        sequence_length,
        levels,
        device,
        start_seconds,
        scratch,
    } = subject;
    device::set_threads(numerics.threads);
    let blocks = few(config);
    let dense = DenseModel::random(
        config.with_blocks(blocks),
        device::kind(numerics.dtype),
        device,
    );
    let mut bare = dense.model.map_weights(|_, weight| weight.shallow_clone());
    bare.blocks.clear();
    let shape = dense.config.shape(AttentionUnit::QueryHead);
    let sizes = Sizes {
        windows: dense.config.windows.clone(),
        shape: shape.clone(),
        numerics: *numerics,
        sequence_length,
        batch_sequences: numerics.micro_batch_sequences,
    };
    let sequences = numerics
        .micro_batch_sequences
        .max(numerics.hessian_batch_sequences);
    let bench = Bench {
        kept: sizes.dense_blocks(),
        pool: random_tokens(config.vocabulary, sequences, sequence_length),
        numerics,
        device,
        scratch,
        cancel: AtomicBool::new(false),
    };
    let (tokens, length) = (
        f64::from(sequences) * f64::from(sequence_length),
        f64::from(sequence_length),
    );
    let pass = forward(&shape, &bench.kept, tokens, length);

    hear("forward passes");
    let [whole, rest] = [&dense.model, &bare].map(|model| bench.read(model));
    let reading = difference(whole?, rest?);
    hear("scoring");
    let teacher = Teacher::open(&bench.states(), &bench.pool, &dense)?;
    let scoring = bench.score(&bare, &teacher)?;
    hear("training");
    let [whole, rest] = [&dense.model, &bare].map(|model| bench.train(model));
    let (whole, rest) = (whole?, rest?);
    let trained = f64::from(bench.batch()) * length;
    let parameters = dense.model.parameters() as f64;
    hear("pruning");
    let ([attention, mlp], calibrating) = bench.prune(&dense, levels)?;
    hear("reading");
    let read = bench.check_file()?;
    Ok(Rates {
        version: RATES_VERSION,
        device: device::name(device),
        device_class: numerics.device_class,
        dtype: numerics.dtype,
        threads: numerics.threads,
        memory: device::capacity(device),
        measured_on: format!(
            "{blocks} blocks, hidden size {}, {} query heads, MLP of {}, vocabulary {}, sequences of {sequence_length}",
            shape.hidden, shape.query_heads, shape.intermediate, shape.vocabulary
        ),
        forward: pass / reading,
        score: 2.0 * output(&shape, tokens) / scoring,
        train: 3.0 * forward(&shape, &bench.kept, trained, length)
            / difference(whole.computing(), rest.computing()),
        train_output: 3.0 * output(&shape, trained) / rest.computing(),
        optimizer: parameters / whole.step,
        hessian: (pass + hessians(&bench.kept, tokens)) / calibrating,
        prune_attention: attention,
        prune_mlp: mlp,
        copy: 4.0 * parameters / whole.copying,
        read,
        start_seconds,
    })
}

/// As many blocks as weigh about as much as the output matrix, so that neither hides the other.
fn few(config: &ModelConfig) -> usize {
    let shape = config.shape(AttentionUnit::QueryHead);
    let of_kind = |kind| shape.parameters_at(kind, shape.units(kind));
    let block: u64 = ModuleKind::ALL.into_iter().map(of_kind).sum();
    let matrix = u64::from(shape.vocabulary) * u64::from(shape.hidden);
    let blocks = usize::try_from(matrix / block.max(1)).unwrap_or(MOST_BLOCKS);
    blocks.clamp(1, MOST_BLOCKS).min(config.blocks)
}

/// Tokens that are all different from their neighbours; what they say does not matter.
fn random_tokens(vocabulary: i64, sequences: u32, length: u32) -> Sequences {
    let ids = (0..i64::from(sequences) * i64::from(length))
        .map(|place| i32::try_from(place * 7919 % vocabulary).unwrap_or_default());
    Sequences::pack(&ids.collect::<Vec<_>>(), length)
}

/// What the blocks take: with them less without. Noise makes it nothing at worst, never negative.
fn difference(whole: f64, rest: f64) -> f64 {
    (whole - rest).max(whole * 0.01)
}

struct Bench<'a> {
    kept: Vec<Kept>,
    pool: Sequences,
    numerics: &'a NumericsPlan,
    device: Device,
    scratch: &'a Path,
    cancel: AtomicBool,
}

/// Seconds of training.
struct Training {
    /// Copying the weights.
    copying: f64,
    /// A step on next to no tokens: the optimizer.
    step: f64,
    /// A step.
    whole: f64,
}

impl Training {
    fn computing(&self) -> f64 {
        difference(self.whole, self.step)
    }
}

impl Bench<'_> {
    fn states(&self) -> std::path::PathBuf {
        self.scratch.join("states.safetensors")
    }

    /// Sequences of a step.
    fn batch(&self) -> u32 {
        self.numerics.micro_batch_sequences
    }

    /// The median of some rounds after one that warms up.
    fn seconds<T, E>(&self, mut work: impl FnMut() -> Result<T, E>) -> Result<f64, E> {
        work()?;
        let mut rounds = Vec::with_capacity(ROUNDS);
        for _ in 0..ROUNDS {
            device::finish(self.device);
            let started = Instant::now();
            work()?;
            device::finish(self.device);
            rounds.push(started.elapsed().as_secs_f64().max(1e-9));
        }
        rounds.sort_by(f64::total_cmp);
        Ok(rounds[ROUNDS / 2])
    }

    fn read(&self, model: &Model) -> Result<f64, FitnessError> {
        let micro = self.numerics.micro_batch_sequences;
        self.seconds(|| {
            write_teacher(
                model,
                &self.pool,
                micro,
                &self.states(),
                &self.cancel,
                |_| {},
            )
        })
    }

    fn score(&self, model: &Model, teacher: &Teacher) -> Result<f64, FitnessError> {
        let scorer = Scorer {
            pool: &self.pool,
            teacher: Some(teacher),
            settings: ScoreSettings {
                kind: FitnessKind::KullbackLeibler,
                micro_batch_sequences: self.numerics.micro_batch_sequences,
                logit_chunk_tokens: self.numerics.logit_chunk_tokens,
            },
        };
        let whole = minibatch(self.pool.count(), self.pool.length());
        self.seconds(|| scorer.score(model, &whole, &self.cancel, &mut |_| {}))
    }

    fn train(&self, model: &Model) -> Result<Training, TrainError> {
        let settings = TrainSettings {
            adamw: AdamWSettings::new(1e-5, 0.0),
            batch_sequences: self.batch(),
            micro_batch_sequences: self.numerics.micro_batch_sequences,
            logit_chunk_tokens: self.numerics.logit_chunk_tokens,
        };
        let copying = self.seconds(|| Ok::<_, TrainError>(Trainer::new(model, settings)))?;
        let mut trainer = Trainer::new(model, settings);
        let mut step = |batch: &Minibatch| {
            self.seconds(|| trainer.train(&self.pool, batch, &self.cancel, &mut |_| {}))
        };
        let short = Minibatch {
            sequences: vec![0],
            tokens: 2,
        };
        Ok(Training {
            copying,
            step: step(&short)?,
            whole: step(&minibatch(self.batch(), self.pool.length()))?,
        })
    }

    /// Operations a second of pruning attention and MLP, and seconds of calibrating all blocks.
    fn prune(&self, dense: &DenseModel, levels: u8) -> Result<([f64; 2], f64), RatesError> {
        let settings = CalibrationSettings {
            batch_sequences: self.numerics.hessian_batch_sequences,
        };
        let shape = dense.config.shape(AttentionUnit::QueryHead);
        let all = || {
            let blocks = 0..shape.blocks;
            let (model, pool) = (&dense.model, &self.pool);
            calibrate(model, pool, blocks, settings, &self.cancel, |_| {})
        };
        let calibrating = self.seconds(all)?;
        let first = all()?.into_iter().next().expect("there is a block");
        let block = &dense.model.blocks[0];
        let (_, attention) = block.attention.as_ref().expect("a dense block has it");
        let (_, mlp) = block.mlp.as_ref().expect("a dense block has it");
        let rate = |kind: ModuleKind, owner: &Tensor| -> Result<f64, RatesError> {
            let width = columns_per_unit(&shape, kind);
            let units = shape.units(kind).min((MOST_COLUMNS / width).max(1));
            let columns = i64::from(units * width);
            let owner_RN = owner.narrow(1, 0, columns);
            let hessian_NN = first.hessians[kind].narrow(0, 0, columns);
            let hessian_NN = hessian_NN.narrow(1, 0, columns).contiguous();
            let ladder = Ladder::spaced(units, levels, 1)?;
            let once = || no_grad(|| build_module(&owner_RN, &hessian_NN, width, &ladder, 10));
            let (rows, made) = (
                f64::from(shape.hidden),
                ladder.as_slice().len() as f64 - 1.0,
            );
            Ok(pruning(columns as f64, rows, made) / self.seconds(once)?)
        };
        let rates = [
            rate(ModuleKind::Attention, &attention.o_DQ)?,
            rate(ModuleKind::Mlp, &mlp.down_DC)?,
        ];
        Ok((rates, calibrating))
    }

    /// Bytes a second.
    fn check_file(&self) -> Result<f64, RatesError> {
        let path = self.scratch.join("bytes");
        std::fs::write(&path, vec![7_u8; READ_BYTES])?;
        let read = || std::fs::read(&path).map(|bytes| darwinlm_store::digest_bytes(&bytes));
        let seconds = self.seconds(read)?;
        std::fs::remove_file(&path)?;
        Ok(READ_BYTES as f64 / seconds)
    }
}

fn minibatch(sequences: u32, length: u32) -> Minibatch {
    Minibatch {
        sequences: (0..sequences).collect(),
        tokens: u64::from(sequences) * u64::from(length),
    }
}
