//! Training: AdamW on float32 weights; a candidate's briefly within a trial, the survivor's at length.

mod adamw;
mod distillation;
mod loss;
mod post_training;
mod schedule;
mod trainer;

pub use adamw::{AdamW, AdamWSettings};
pub use distillation::{Distillation, SoftTargets};
pub use loss::head_gradients;
pub use post_training::{CHECKPOINT_FILES, PostTraining, PostTrainingSettings};
pub use schedule::LearningRate;
pub use trainer::{TrainSettings, Trained, Trainer};

use crate::weights::WeightsError;

/// Why training could not go on.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// Stopped from outside.
    #[error("stopped from outside")]
    Cancelled,
    /// The loss, or a weight, is infinite or no number.
    #[error("after {steps} steps the {what} is infinite or no number")]
    NonFinite {
        /// Steps taken before.
        steps: u64,
        /// What is.
        what: String,
    },
    /// A checkpoint could not be read or written.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// libtorch refused, for want of memory for instance.
    #[error("libtorch failed while training")]
    Torch(#[from] tch::TchError),
}
