//! What the pruned model must keep to: exactly one of four measures.

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use crate::{
    pod_fields,
    quantity::{QuantityError, parse_quantity},
};

/// What the pruned model must keep to: exactly one of these.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[x_kube(validation = (
    "[has(self.level), has(self.parameters), has(self.sparsityPercent), \
     has(self.speedupPercent)].exists_one(given, given)",
    "target needs exactly one of level, parameters, sparsityPercent, speedupPercent"
))]
#[serde(rename_all = "camelCase")]
pub struct Target {
    /// As much as the uniform model of this level: the sums of levels per kind stay (the paper).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 35))]
    pub level: Option<i32>,
    /// At most this many parameters, as a quantity: `2.7G` or `78700000`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "pod_fields::quantity")]
    pub parameters: Option<Quantity>,
    /// At least this many percent of the dense model's parameters removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 99))]
    pub sparsity_percent: Option<i32>,
    /// The dense model's latency over the pruned one's, at least, in percent: 200 is twice as
    /// fast. Counted in a table that is measured once, on the run's device: a forward pass at the
    /// calibration's sequence length.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 101, max = 10_000))]
    pub speedup_percent: Option<i32>,
}

/// A target that is known to name exactly one measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetKind {
    /// A uniform level.
    Level(u32),
    /// At most this many parameters.
    Parameters(u64),
    /// At least this many percent of the parameters removed.
    SparsityPercent(u32),
    /// Dense latency over pruned latency, at least, in percent.
    SpeedupPercent(u32),
}

/// A target that names no measure, several, or one out of range.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// None, or more than one.
    #[error(
        "target names {found} measures, exactly one of level, parameters, sparsityPercent, \
         speedupPercent is accepted"
    )]
    NotExactlyOne {
        /// How many are named.
        found: usize,
    },
    /// The quantity cannot be read.
    #[error("target.parameters: {0}")]
    Parameters(#[from] QuantityError),
    /// No parameters at all.
    #[error("target.parameters is 0, at least 1 is accepted")]
    NoParameters,
    /// A negative number.
    #[error("target.{field} is {found}, a positive number is accepted")]
    Negative {
        /// The field.
        field: &'static str,
        /// What it holds.
        found: i32,
    },
}

impl Target {
    /// The one measure this names.
    ///
    /// # Errors
    /// When none or several are named, or the one named is no positive number.
    pub fn kind(&self) -> Result<TargetKind, TargetError> {
        let Self {
            level,
            parameters,
            sparsity_percent,
            speedup_percent,
        } = self;
        let positive = |field, found: i32| match u32::try_from(found) {
            Ok(number) if number > 0 => Ok(number),
            _ => Err(TargetError::Negative { field, found }),
        };
        match (level, parameters, sparsity_percent, speedup_percent) {
            (&Some(level), None, None, None) => Ok(TargetKind::Level(positive("level", level)?)),
            (None, Some(parameters), None, None) => match parse_quantity(&parameters.0)? {
                0 => Err(TargetError::NoParameters),
                parameters => Ok(TargetKind::Parameters(parameters)),
            },
            (None, None, &Some(percent), None) => Ok(TargetKind::SparsityPercent(positive(
                "sparsityPercent",
                percent,
            )?)),
            (None, None, None, &Some(percent)) => Ok(TargetKind::SpeedupPercent(positive(
                "speedupPercent",
                percent,
            )?)),
            _ => Err(TargetError::NotExactlyOne {
                found: [
                    level.is_some(),
                    parameters.is_some(),
                    sparsity_percent.is_some(),
                    speedup_percent.is_some(),
                ]
                .into_iter()
                .filter(|given| *given)
                .count(),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_with_one_measure_is_that_measure() {
        let target = Target {
            parameters: Some(Quantity("2.7G".to_owned())),
            ..Target::default()
        };
        assert_eq!(target.kind(), Ok(TargetKind::Parameters(2_700_000_000)));
        let target = Target {
            level: Some(5),
            ..Target::default()
        };
        assert_eq!(target.kind(), Ok(TargetKind::Level(5)));
        let target = Target {
            sparsity_percent: Some(50),
            ..Target::default()
        };
        assert_eq!(target.kind(), Ok(TargetKind::SparsityPercent(50)));
        let target = Target {
            speedup_percent: Some(150),
            ..Target::default()
        };
        assert_eq!(target.kind(), Ok(TargetKind::SpeedupPercent(150)));
    }

    #[test]
    fn a_target_with_none_or_two_measures_is_refused_with_their_number() {
        assert_eq!(
            Target::default().kind(),
            Err(TargetError::NotExactlyOne { found: 0 })
        );
        let both = Target {
            level: Some(5),
            sparsity_percent: Some(50),
            ..Target::default()
        };
        assert_eq!(both.kind(), Err(TargetError::NotExactlyOne { found: 2 }));
    }

    #[test]
    fn a_target_of_no_parameters_is_refused() {
        let none = Target {
            parameters: Some(Quantity("0".to_owned())),
            ..Target::default()
        };
        assert_eq!(none.kind(), Err(TargetError::NoParameters));
        let negative = Target {
            level: Some(-1),
            ..Target::default()
        };
        assert_eq!(
            negative.kind(),
            Err(TargetError::Negative {
                field: "level",
                found: -1
            })
        );
    }
}
