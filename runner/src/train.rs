//! Training a candidate: AdamW on the cross-entropy of the next token, float32 weights.

mod adamw;
mod loss;
mod trainer;

pub use adamw::{AdamW, AdamWSettings};
pub use loss::head_gradients;
pub use trainer::{TrainSettings, Trained, Trainer};

/// Why training could not go on.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// Stopped from outside.
    #[error("stopped from outside")]
    Cancelled,
    /// libtorch refused, for want of memory for instance.
    #[error("libtorch failed while training")]
    Torch(#[from] tch::TchError),
}
