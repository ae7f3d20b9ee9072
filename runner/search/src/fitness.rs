//! What a trial says about a candidate.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What is measured on the fitness tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum FitnessKind {
    /// Mean KL divergence from the dense model, in nats per predicted token.
    KullbackLeibler,
    /// Perplexity on the tokens themselves.
    Perplexity,
}

/// A finite fitness; lower is better.
///
/// Serialised as the shortest decimal text that reads back to the same 64 bits. A JSON number
/// would leave the last bit, and with it every later digest, to the JSON library and its version.
#[derive(Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Fitness(f64);

/// A number or text that is no fitness.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("fitness {found:?} is no finite decimal number")]
pub struct FitnessError {
    found: String,
}

impl Fitness {
    /// A finite number; `-0` becomes `0`, so that equal fitness has equal bits.
    pub fn new(value: f64) -> Result<Fitness, FitnessError> {
        if !value.is_finite() {
            return Err(FitnessError {
                found: value.to_string(),
            });
        }
        Ok(Fitness(if value == 0.0 { 0.0 } else { value }))
    }

    /// The number.
    pub fn get(self) -> f64 {
        self.0
    }
}

impl Eq for Fitness {}

impl PartialOrd for Fitness {
    fn partial_cmp(&self, other: &Fitness) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Fitness {
    fn cmp(&self, other: &Fitness) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0)
    }
}

impl fmt::Display for Fitness {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, out)
    }
}

impl fmt::Debug for Fitness {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, out)
    }
}

impl FromStr for Fitness {
    type Err = FitnessError;

    fn from_str(text: &str) -> Result<Fitness, FitnessError> {
        let refused = || FitnessError {
            found: text.to_owned(),
        };
        Fitness::new(text.parse().map_err(|_| refused())?).map_err(|_| refused())
    }
}

impl TryFrom<String> for Fitness {
    type Error = FitnessError;

    fn try_from(text: String) -> Result<Fitness, FitnessError> {
        text.parse()
    }
}

impl From<Fitness> for String {
    fn from(fitness: Fitness) -> String {
        fitness.to_string()
    }
}

/// Why a trial gave no fitness. It is a result like any other: part of the digest, never retried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum FailureKind {
    /// Training loss or fitness was infinite or no number.
    NonFinite,
}

/// What came of a trial.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// The candidate was trained and scored.
    #[serde(rename_all = "camelCase")]
    Scored {
        /// Lower is better.
        fitness: Fitness,
    },
    /// The candidate has no fitness and ranks after all that have.
    Failed(FailureKind),
}

impl Outcome {
    /// The outcome of a measured value: scored where it is finite, else failed.
    pub fn of(value: f64) -> Outcome {
        Fitness::new(value).map_or(Outcome::Failed(FailureKind::NonFinite), |fitness| {
            Outcome::Scored { fitness }
        })
    }

    /// The fitness, where there is one.
    pub fn fitness(self) -> Option<Fitness> {
        match self {
            Outcome::Scored { fitness } => Some(fitness),
            Outcome::Failed(FailureKind::NonFinite) => None,
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Outcome::Scored { fitness } => write!(out, "fitness {fitness}"),
            Outcome::Failed(FailureKind::NonFinite) => out.write_str("failed: not finite"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fitness_reads_back_to_the_same_bits() {
        for value in [
            0.1 + 0.2,
            1e-300,
            f64::MAX,
            -0.25,
            2.0_f64.powi(-1074),
            1e16,
            7.0,
        ] {
            let text = serde_json::to_string(&Fitness::new(value).unwrap()).unwrap();
            let read: Fitness = serde_json::from_str(&text).unwrap();
            assert_eq!(read.get().to_bits(), value.to_bits(), "{text}");
        }
    }

    #[test]
    fn what_is_not_finite_is_a_failure_and_no_fitness() {
        for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert_eq!(Outcome::of(value), Outcome::Failed(FailureKind::NonFinite));
        }
        assert!("NaN".parse::<Fitness>().is_err());
        assert!("inf".parse::<Fitness>().is_err());
        assert!("1e999".parse::<Fitness>().is_err());
    }

    #[test]
    fn negative_zero_is_zero() {
        assert_eq!(Fitness::new(-0.0).unwrap().get().to_bits(), 0);
    }

    #[test]
    fn outcomes_are_written_as_the_ledger_shows_them() {
        let scored = serde_json::to_string(&Outcome::of(0.25)).unwrap();
        assert_eq!(scored, "{\"Scored\":{\"fitness\":\"0.25\"}}");
        let failed = serde_json::to_string(&Outcome::of(f64::NAN)).unwrap();
        assert_eq!(failed, "{\"Failed\":\"NonFinite\"}");
    }
}
