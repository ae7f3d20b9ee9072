//! How candidates are trained.

use serde::{Deserialize, Serialize};

use crate::problem::ProblemError;

/// How candidates are trained: AdamW on the cross-entropy of the next token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Optimizer {
    /// A positive decimal number as text, such as `1e-5`.
    pub learning_rate: String,
    /// A decimal number from 0 as text, such as `0.01`.
    pub weight_decay: String,
    /// Sequences of one optimizer step.
    pub batch_sequences: u32,
}

impl Optimizer {
    /// The learning rate as a number.
    pub fn learning_rate(&self) -> Result<f64, ProblemError> {
        let rate = decimal("learningRate", &self.learning_rate)?;
        if rate > 0.0 {
            Ok(rate)
        } else {
            Err(not_decimal("learningRate", &self.learning_rate))
        }
    }

    /// The weight decay as a number.
    pub fn weight_decay(&self) -> Result<f64, ProblemError> {
        decimal("weightDecay", &self.weight_decay)
    }
}

fn decimal(field: &'static str, found: &str) -> Result<f64, ProblemError> {
    let number = found
        .parse()
        .ok()
        .filter(|value: &f64| value.is_finite() && *value >= 0.0);
    number.ok_or_else(|| not_decimal(field, found))
}

fn not_decimal(field: &'static str, found: &str) -> ProblemError {
    ProblemError::Decimal {
        field,
        found: found.to_owned(),
    }
}
