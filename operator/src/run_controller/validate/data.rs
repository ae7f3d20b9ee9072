//! The data of a run.

use darwinlm_api::Data;
use darwinlm_search::SHORTEST_SEQUENCE;
use darwinlm_task::{DataSpec, SliceSpec, TextSource};

use super::addresses::Addresses;
use super::{Rejection, tokens};

/// Checks the four slices.
pub(super) fn data(data: &Data, addresses: &mut Addresses<'_>) -> Result<DataSpec, Rejection> {
    let Data {
        calibration,
        training,
        fitness,
        validation,
    } = data;
    let sequence_length = match u32::try_from(calibration.sequence_length) {
        Ok(length) if length >= SHORTEST_SEQUENCE => length,
        _ => {
            return Err(Rejection::invalid(
                "spec.data.calibration.sequenceLength",
                format_args!(
                    "is {}; at least {SHORTEST_SEQUENCE} is accepted",
                    calibration.sequence_length
                ),
            ));
        }
    };
    let field = "spec.data.calibration";
    let calibration_spec = SliceSpec {
        source: Some(TextSource {
            url: addresses.data(&format!("{field}.source"), &calibration.source)?,
            text_field: calibration.text_field.clone(),
        }),
        tokens: tokens(
            &format!("{field}.tokens"),
            calibration.tokens,
            sequence_length.into(),
        )?,
    };
    let mut pool = |name: &str, source: &Option<String>, text_field: &Option<String>, size: i64| {
        let field = format!("spec.data.{name}");
        let source = match source {
            Some(source) => Some(TextSource {
                url: addresses.data(&format!("{field}.source"), source)?,
                text_field: text_field
                    .clone()
                    .unwrap_or_else(|| calibration.text_field.clone()),
            }),
            None if text_field
                .as_ref()
                .is_some_and(|own| *own != calibration.text_field) =>
            {
                return Err(Rejection::invalid(
                    &format!("{field}.textField"),
                    "differs from calibration's, whose source the slice shares; give it a source \
                     of its own, or leave textField out",
                ));
            }
            None => None,
        };
        Ok(SliceSpec {
            source,
            tokens: tokens(&format!("{field}.tokens"), size, 1)?,
        })
    };
    Ok(DataSpec {
        sequence_length,
        training: pool(
            "training",
            &training.source,
            &training.text_field,
            training.tokens,
        )?,
        fitness: pool(
            "fitness",
            &fitness.source,
            &fitness.text_field,
            fitness.tokens,
        )?,
        validation: pool(
            "validation",
            &validation.source,
            &validation.text_field,
            validation.tokens,
        )?,
        calibration: calibration_spec,
    })
}
