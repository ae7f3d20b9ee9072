//! One trial: stitch a candidate, train it, score it. The same trial gives the same bits.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::AtomicBool;

use darwinlm_search::{FailureKind, FitnessKind, Optimizer, Outcome, ProblemError, Trial};
use darwinlm_task::{NumericsPlan, OptimizerPrecision};

use crate::database::Database;
use crate::failure::{is_out_of_memory, panic_message};
use crate::fitness::{FitnessError, ScoreSettings, Scorer, Teacher};
use crate::flops::Work;
use crate::model::DenseModel;
use crate::stitch::{StitchError, stitch};
use crate::tokens::Sequences;
use crate::train::{AdamWSettings, TrainError, TrainSettings, Trained, Trainer};

/// Why a trial has no outcome. (A loss that is not finite *is* an outcome.)
#[derive(Debug, thiserror::Error)]
pub enum TrialError {
    /// Stopped from outside.
    #[error("stopped from outside")]
    Cancelled,
    /// The trial does not fit in memory.
    #[error("the trial does not fit in memory: {message}")]
    OutOfMemory {
        /// What libtorch said.
        message: String,
    },
    /// The candidate could not be assembled.
    #[error(transparent)]
    Stitch(StitchError),
    /// The candidate could not be trained.
    #[error(transparent)]
    Train(TrainError),
    /// The candidate could not be scored.
    #[error(transparent)]
    Fitness(FitnessError),
    /// A panic: tch's methods with a scalar argument cannot return libtorch's errors.
    #[error("the trial panicked: {message}")]
    Panicked {
        /// The panic's message.
        message: String,
    },
}

/// Settings that cannot be carried out.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The optimizer's numbers are none.
    #[error(transparent)]
    Optimizer(#[from] ProblemError),
    /// Only one precision is implemented.
    #[error("optimizerPrecision is {found:?}; accepted: Float32Masters")]
    Precision {
        /// The precision asked for.
        found: OptimizerPrecision,
    },
}

/// How every trial of a search is computed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TrialSettings {
    /// Training.
    pub train: TrainSettings,
    /// Scoring.
    pub score: ScoreSettings,
}

impl TrialSettings {
    /// The settings of a numerics plan and a search.
    pub fn new(
        plan: &NumericsPlan,
        optimizer: &Optimizer,
        fitness: FitnessKind,
    ) -> Result<Self, SettingsError> {
        match plan.optimizer_precision {
            OptimizerPrecision::Float32Masters => {}
            found @ OptimizerPrecision::StochasticRounding => {
                return Err(SettingsError::Precision { found });
            }
        }
        let (rate, decay) = (optimizer.learning_rate()?, optimizer.weight_decay()?);
        Ok(Self {
            train: TrainSettings {
                adamw: AdamWSettings::new(rate, decay),
                batch_sequences: optimizer.batch_sequences,
                micro_batch_sequences: plan.micro_batch_sequences,
                logit_chunk_tokens: plan.logit_chunk_tokens,
            },
            score: ScoreSettings {
                kind: fitness,
                micro_batch_sequences: plan.micro_batch_sequences,
                logit_chunk_tokens: plan.logit_chunk_tokens,
            },
        })
    }
}

/// What all trials of a search share. Nothing in it changes from trial to trial.
#[derive(Debug)]
pub struct TrialContext<'a> {
    /// The dense model.
    pub dense: &'a DenseModel,
    /// Its level database.
    pub database: &'a Database,
    /// The pool that training minibatches are drawn from.
    pub training: &'a Sequences,
    /// The pool that fitness minibatches are drawn from.
    pub fitness: &'a Sequences,
    /// The dense model's states over the fitness pool; needed for KL divergence only.
    pub teacher: Option<&'a Teacher>,
    /// How it is computed.
    pub settings: TrialSettings,
}

/// How far a trial is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrialProgress {
    /// So much more was trained on.
    Trained(Work),
    /// So much more was scored.
    Scored(Work),
}

/// Computes a trial. Errors of libtorch end here, whether they come as errors or as panics.
pub fn run_trial(
    context: &TrialContext<'_>,
    trial: &Trial,
    cancel: &AtomicBool,
    progress: &mut dyn FnMut(TrialProgress),
) -> Result<Outcome, TrialError> {
    guarded(|| compute(context, trial, cancel, progress))
}

/// Computes something of a candidate: a panic of libtorch's is an error like any other.
pub(crate) fn guarded<T>(compute: impl FnOnce() -> Result<T, TrialError>) -> Result<T, TrialError> {
    // nothing outlives the closure but its result: what it reads is only read, and a candidate
    // that was half assembled or half trained is dropped by the unwinding
    catch_unwind(AssertUnwindSafe(compute)).unwrap_or_else(|panic| {
        let message = panic_message(&*panic);
        Err(match is_out_of_memory(&message) {
            true => TrialError::OutOfMemory { message },
            false => TrialError::Panicked { message },
        })
    })
}

fn compute(
    context: &TrialContext<'_>,
    trial: &Trial,
    cancel: &AtomicBool,
    progress: &mut dyn FnMut(TrialProgress),
) -> Result<Outcome, TrialError> {
    let TrialContext {
        dense,
        database,
        training,
        fitness,
        teacher,
        settings,
    } = context;
    let scorer = Scorer {
        pool: fitness,
        teacher: *teacher,
        settings: settings.score,
    };
    let mut candidate = stitch(dense, database, &trial.genome)?;
    let trainer = match trial.training.iter().all(|minibatch| minibatch.tokens == 0) {
        true => None,
        false => {
            let trainer = Trainer::new(&candidate, settings.train);
            // the stitched weights are copied: give their memory back before the optimizer's
            candidate.blocks.clear();
            Some(trainer)
        }
    };
    let mut scored = |work| progress(TrialProgress::Scored(work));
    let Some(mut trainer) = trainer else {
        let value = scorer.score(&candidate, &trial.fitness, cancel, &mut scored)?;
        return Ok(Outcome::of(value));
    };
    for minibatch in &trial.training {
        let mut trained = |work| progress(TrialProgress::Trained(work));
        match trainer.train(training, minibatch, cancel, &mut trained)? {
            Trained::Finished { .. } => {}
            Trained::NonFinite => return Ok(Outcome::Failed(FailureKind::NonFinite)),
        }
    }
    let mut scored = |work| progress(TrialProgress::Scored(work));
    Ok(Outcome::of(scorer.score(
        trainer.model(),
        &trial.fitness,
        cancel,
        &mut scored,
    )?))
}

fn out_of_memory(source: &tch::TchError) -> Option<TrialError> {
    let message = source.to_string();
    is_out_of_memory(&message).then_some(TrialError::OutOfMemory { message })
}

impl From<StitchError> for TrialError {
    fn from(error: StitchError) -> Self {
        match &error {
            StitchError::Torch(source) => out_of_memory(source).unwrap_or(Self::Stitch(error)),
            StitchError::Genome(_) | StitchError::Shape { .. } | StitchError::Database(_) => {
                Self::Stitch(error)
            }
        }
    }
}

impl From<TrainError> for TrialError {
    fn from(error: TrainError) -> Self {
        match &error {
            TrainError::Cancelled => Self::Cancelled,
            TrainError::Torch(source) => out_of_memory(source).unwrap_or(Self::Train(error)),
            TrainError::NonFinite { .. } | TrainError::Weights(_) => Self::Train(error),
        }
    }
}

impl From<FitnessError> for TrialError {
    fn from(error: FitnessError) -> Self {
        match &error {
            FitnessError::Cancelled => Self::Cancelled,
            FitnessError::Torch(source) => out_of_memory(source).unwrap_or(Self::Fitness(error)),
            FitnessError::TeacherShape { .. }
            | FitnessError::NoTeacher
            | FitnessError::Weights(_) => Self::Fitness(error),
        }
    }
}
