//! The training of the survivor: one step after the other, and all that going on from one takes.

use std::path::Path;
use std::sync::atomic::AtomicBool;

use darwinlm_search::{Minibatch, Piece};
use tch::{Kind, Tensor};

use super::{AdamW, Distillation, LearningRate, TrainError, TrainSettings, Trainer, trainer};
use crate::flops::{Flops, Work};
use crate::model::Model;
use crate::tokens::Sequences;
use crate::weights::{MappedTensors, write_tensors};

/// The files of a checkpoint: weights, mean gradients and mean squared gradients in float32 under
/// the weights' names, and the loss of every step so far in float64.
pub const CHECKPOINT_FILES: [&str; 4] = [
    "weights.safetensors",
    "means.safetensors",
    "squares.safetensors",
    "losses.safetensors",
];

const LOSSES: &str = "losses";

/// How the survivor is trained.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PostTrainingSettings {
    /// As within a trial; the learning rate is that of `rate`.
    pub train: TrainSettings,
    /// The learning rate of every step.
    pub rate: LearningRate,
    /// The greatest norm of a step's gradients.
    pub gradient_norm: f64,
}

/// A survivor in training. Where it stands is the number of steps taken: the order of its sequences
/// was drawn before the first, so that going on from a checkpoint gives the same bits.
#[derive(Debug)]
pub struct PostTraining<'a> {
    trainer: Trainer,
    /// The types of the weights before they became float32.
    kinds: Vec<Kind>,
    optimizer: AdamW,
    settings: PostTrainingSettings,
    pool: &'a Sequences,
    pieces: Vec<Piece>,
    teacher: Option<Distillation<'a>>,
    losses: Vec<f64>,
    flops: Flops,
    /// Of the dense model, where it teaches.
    teacher_flops: Option<Flops>,
}

impl<'a> PostTraining<'a> {
    /// Starts with the weights of `survivor`, which are copied: it goes before the optimizer's state
    /// needs its memory.
    pub fn new(
        survivor: Model,
        settings: PostTrainingSettings,
        pool: &'a Sequences,
        order: &Minibatch,
        teacher: Option<Distillation<'a>>,
    ) -> Result<Self, TrainError> {
        let trainer = Trainer::new(&survivor, settings.train);
        let kinds = survivor.weights().iter().map(|(_, w)| w.kind()).collect();
        drop(survivor);
        Ok(Self {
            optimizer: AdamW::new(trainer.leaves(), settings.train.adamw)?,
            flops: Flops::of(trainer.model()),
            teacher_flops: teacher.map(|teacher| Flops::of(teacher.dense)),
            trainer,
            kinds,
            settings,
            pool,
            pieces: order.pieces(pool.length()),
            teacher,
            losses: Vec::new(),
        })
    }

    /// Puts everything back as [`PostTraining::write_checkpoint`] found it.
    pub fn resume(&mut self, files: [&Path; 4]) -> Result<(), TrainError> {
        let [weights, means, squares, losses] = files;
        let names: Vec<String> = self.names().collect();
        // in place, tensor by tensor: there is no room for everything twice
        let read = |path: &Path, tensors: &[Tensor]| {
            let file = MappedTensors::open(path)?;
            for (name, tensor) in names.iter().zip(tensors) {
                let stored = file.float_like(name, &tensor.detach())?;
                tensor.detach().f_copy_(&stored)?;
            }
            Ok::<_, TrainError>(())
        };
        read(weights, &self.trainer.leaves())?;
        let (own_means, own_squares) = self.optimizer.moments();
        read(means, own_means)?;
        read(squares, own_squares)?;
        self.losses = MappedTensors::open(losses)?.doubles(LOSSES)?;
        let steps = i32::try_from(self.losses.len()).unwrap_or(i32::MAX);
        self.optimizer.resume_after(steps);
        Ok(())
    }

    /// Steps in all.
    pub fn steps(&self) -> u64 {
        (self.pieces.len() as u64).div_ceil(self.batch_size() as u64)
    }

    /// The loss of every step so far, in nats per token, before it was taken.
    pub fn losses(&self) -> &[f64] {
        &self.losses
    }

    /// Tokens that the steps so far were trained on.
    pub fn tokens(&self) -> u64 {
        let taken = self.losses.len() * self.batch_size();
        let pieces = self.pieces.iter().take(taken);
        pieces.map(|piece| u64::from(piece.tokens)).sum()
    }

    /// Whether every step is taken.
    pub fn is_done(&self) -> bool {
        self.losses.len() as u64 >= self.steps()
    }

    /// Takes the next step and returns its work; none when every step is taken.
    pub fn step(&mut self, cancel: &AtomicBool) -> Result<Work, TrainError> {
        let step = self.losses.len();
        let size = self.batch_size();
        let rest = self.pieces.get(step * size..).unwrap_or_default();
        let batch: Vec<Piece> = rest.iter().take(size).copied().collect();
        if batch.is_empty() {
            return Ok(Work::default());
        }
        let ids_SL = self.pool.rows(&batch, self.trainer.model().device());
        let loss = self
            .trainer
            .gradients(&ids_SL, &batch, self.teacher, cancel)?;
        // the one time that a step is waited for
        let loss = loss.f_double_value(&[])?;
        if !loss.is_finite() {
            return Err(self.non_finite("loss"));
        }
        let rate = self.settings.rate.at(step as u64);
        self.optimizer.set_learning_rate(rate);
        self.optimizer.clip(self.settings.gradient_norm)?;
        self.optimizer.step()?;
        self.losses.push(loss);
        Ok(self.work(&batch))
    }

    /// Writes [`CHECKPOINT_FILES`] into a folder.
    pub fn write_checkpoint(&self, folder: &Path) -> Result<(), TrainError> {
        let names: Vec<String> = self.names().collect();
        let named = |tensors: &[Tensor]| -> Vec<(String, Tensor)> {
            let detached = tensors.iter().map(Tensor::detach);
            names.iter().cloned().zip(detached).collect()
        };
        let [weights, means, squares, losses] = CHECKPOINT_FILES.map(|name| folder.join(name));
        let (own_means, own_squares) = self.optimizer.moments();
        write_tensors(&weights, &named(&self.trainer.leaves()), None)?;
        write_tensors(&means, &named(own_means), None)?;
        write_tensors(&squares, &named(own_squares), None)?;
        self.write_losses(&losses)
    }

    /// Writes the loss of every step so far: one tensor `losses` of float64.
    pub fn write_losses(&self, path: &Path) -> Result<(), TrainError> {
        let losses = (LOSSES.to_owned(), Tensor::from_slice(&self.losses));
        Ok(write_tensors(path, &[losses], None)?)
    }

    /// Writes the trained weights in the types that the survivor's had: what is measured and shipped.
    ///
    /// # Errors
    /// [`TrainError::NonFinite`] when one of them is infinite or no number.
    pub fn write_weights(&self, path: &Path) -> Result<(), TrainError> {
        let mut cast = Vec::new();
        let weights = self.trainer.model().weights().into_iter();
        for ((name, leaf), &kind) in weights.zip(&self.kinds) {
            let weight = leaf.detach().f_to_kind(kind)?;
            if weight.f_isfinite()?.f_all()?.f_int64_value(&[])? == 0 {
                return Err(self.non_finite(&format!("weight {name}")));
            }
            cast.push((name, weight));
        }
        Ok(write_tensors(path, &cast, None)?)
    }

    /// What a step took, the teacher's part included.
    fn work(&self, batch: &[Piece]) -> Work {
        let mut work = trainer::work(&self.flops, batch);
        if let Some(teacher) = &self.teacher_flops {
            let read = batch.iter().map(|piece| u64::from(piece.tokens) - 1);
            let taught = read.map(|tokens| teacher.states(1, tokens) + teacher.logits(tokens));
            work.flops += taught.sum::<u64>();
        }
        work
    }

    fn names(&self) -> impl Iterator<Item = String> {
        let weights = self.trainer.model().weights().into_iter();
        weights.map(|(name, _)| name)
    }

    fn batch_size(&self) -> usize {
        self.settings.train.batch_sequences.max(1) as usize
    }

    fn non_finite(&self, what: &str) -> TrainError {
        TrainError::NonFinite {
            steps: self.losses.len() as u64,
            what: what.to_owned(),
        }
    }
}
