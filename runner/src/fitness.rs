//! Scoring a model on exactly N tokens: KL divergence from the dense model, or perplexity.
//!
//! Logits exist for a chunk of positions at a time and are compared in float32; sums over positions
//! are float64. The last token of a sequence predicts nothing that is known, so its position counts
//! for neither measure.

mod score;
mod teacher;

pub use score::{BothMeasures, ScoreSettings, Scorer, batches};
pub use teacher::{Teacher, write_teacher};

use crate::weights::WeightsError;

/// Why a score could not be computed.
#[derive(Debug, thiserror::Error)]
pub enum FitnessError {
    /// The teacher's file does not belong to the fitness pool.
    #[error("teacher states have shape {found:?}; the fitness pool makes it {expected:?}")]
    TeacherShape {
        /// Shape in the file.
        found: Vec<i64>,
        /// [sequences, length, hidden].
        expected: Vec<i64>,
    },
    /// KL divergence needs a teacher.
    #[error("fitness KullbackLeibler needs the dense model's final hidden states")]
    NoTeacher,
    /// Stopped from outside.
    #[error("stopped from outside")]
    Cancelled,
    /// A file could not be read or written.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// libtorch refused, for want of memory for instance.
    #[error("libtorch failed while scoring")]
    Torch(#[from] tch::TchError),
}
