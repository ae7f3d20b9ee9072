//! Rotary positions, as `config.json` writes them: in `rope_scaling` until transformers 5, since
//! then in `rope_parameters`.

#[cfg(test)]
mod tests;

use super::ConfigError;
use super::fields::Fields;
use crate::model::{Rope, RopeScaling};

/// The base where it is written nowhere.
const ABSENT_THETA: f64 = 10_000.0;

const TYPES: &str = "rope_type \"default\", \"linear\", \"llama3\" or \"yarn\"";

/// Fields that may stand beside those of a type.
const ALWAYS: [&str; 4] = ["rope_type", "type", "rope_theta", "partial_rotary_factor"];

/// The rotation of heads of a size. What is written in the object itself goes before what is
/// written beside it, and a `rope_scaling` that is not empty before `rope_parameters`.
pub(super) fn rope(
    fields: &Fields<'_>,
    head_dim: i64,
    max_positions: i64,
) -> Result<Rope, ConfigError> {
    let inner = match fields.inner("rope_scaling")? {
        Some(inner) => Some(inner),
        None => fields.inner("rope_parameters")?,
    };
    for place in inner.iter().chain([fields]) {
        if let Some(factor) = place.optional::<f64>("partial_rotary_factor")?
            && factor != 1.0
        {
            return Err(place.refuse("partial_rotary_factor", factor, "1.0"));
        }
    }
    let theta = theta(fields, inner.as_ref())?;
    let scaling = match inner {
        Some(inner) => scaling(&inner, fields, max_positions)?,
        None => RopeScaling::None,
    };
    Ok(Rope {
        theta,
        head_dim,
        scaling,
    })
}

fn theta(fields: &Fields<'_>, inner: Option<&Fields<'_>>) -> Result<f64, ConfigError> {
    for place in inner.into_iter().chain([fields]) {
        let Some(theta) = place.get::<f64>("rope_theta")? else {
            continue;
        };
        return match theta {
            Some(theta) if theta > 1.0 => Ok(theta),
            _ => Err(place.refuse("rope_theta", place.text("rope_theta"), "a number above 1")),
        };
    }
    Ok(ABSENT_THETA)
}

fn scaling(
    inner: &Fields<'_>,
    fields: &Fields<'_>,
    max_positions: i64,
) -> Result<RopeScaling, ConfigError> {
    let name = match inner.names().any(|name| name == "rope_type") {
        true => "rope_type",
        false => "type",
    };
    let kind = match inner.get::<String>(name)? {
        None => "default".to_owned(),
        Some(Some(kind)) => kind,
        Some(None) => return Err(inner.refuse(name, "null", TYPES)),
    };
    match kind.as_str() {
        "default" => {
            only(inner, &kind, &[])?;
            Ok(RopeScaling::None)
        }
        "linear" => {
            only(inner, &kind, &["factor"])?;
            let factor = factor(inner)?;
            Ok(RopeScaling::Linear { factor })
        }
        "llama3" => llama3(
            inner,
            &kind,
            original_positions(inner, fields, max_positions)?,
        ),
        "yarn" => {
            let original_positions = original_positions(inner, fields, max_positions)?;
            yarn(inner, &kind, original_positions, max_positions)
        }
        _ => Err(inner.refuse(name, inner.text(name), TYPES)),
    }
}

fn llama3(
    inner: &Fields<'_>,
    kind: &str,
    original_positions: i64,
) -> Result<RopeScaling, ConfigError> {
    let [low, high] = ["low_freq_factor", "high_freq_factor"];
    only(inner, kind, &["factor", low, high, ORIGINAL])?;
    let low_factor = positive(inner, low)?;
    let high_factor = positive(inner, high)?;
    if high_factor <= low_factor {
        let accepted = format!("a number above {low} ({low_factor})");
        return Err(inner.refuse(high, high_factor, accepted));
    }
    Ok(RopeScaling::Llama3 {
        factor: factor(inner)?,
        low_factor,
        high_factor,
        original_positions,
    })
}

fn yarn(
    inner: &Fields<'_>,
    kind: &str,
    original_positions: i64,
    max_positions: i64,
) -> Result<RopeScaling, ConfigError> {
    let own = [
        "factor",
        ORIGINAL,
        "attention_factor",
        "beta_fast",
        "beta_slow",
        "mscale",
        "mscale_all_dim",
        "truncate",
    ];
    only(inner, kind, &own)?;
    let factor = match inner.get::<f64>("factor")? {
        Some(None) => max_positions as f64 / original_positions as f64,
        _ => factor(inner)?,
    };
    // zero means absent in these, as in transformers
    let unless_zero = |name| match inner.optional::<f64>(name)? {
        Some(value) if value < 0.0 => Err(inner.refuse(name, value, "a positive number")),
        value => Ok(value.filter(|&value| value != 0.0)),
    };
    let attention_factor = match inner.optional::<f64>("attention_factor")? {
        Some(given) => given,
        None => match (unless_zero("mscale")?, unless_zero("mscale_all_dim")?) {
            (Some(mscale), Some(all)) => magnitude(factor, mscale) / magnitude(factor, all),
            _ => magnitude(factor, 1.0),
        },
    };
    let truncate = match inner.get("truncate")? {
        None => true,
        Some(Some(truncate)) => truncate,
        Some(None) => return Err(inner.refuse("truncate", "null", "true or false")),
    };
    Ok(RopeScaling::Yarn {
        factor,
        attention_factor,
        beta_fast: unless_zero("beta_fast")?.unwrap_or(32.0),
        beta_slow: unless_zero("beta_slow")?.unwrap_or(1.0),
        original_positions,
        truncate,
    })
}

/// YaRN's factor on cosines and sines, which sharpens attention over more positions.
fn magnitude(factor: f64, scale: f64) -> f64 {
    if factor <= 1.0 {
        1.0
    } else {
        0.1 * scale * factor.ln() + 1.0
    }
}

const ORIGINAL: &str = "original_max_position_embeddings";

/// The context before it was stretched; beside the object it goes before what is in it.
fn original_positions(
    inner: &Fields<'_>,
    fields: &Fields<'_>,
    max_positions: i64,
) -> Result<i64, ConfigError> {
    for place in [fields, inner] {
        let Some(positions) = place.get::<i64>(ORIGINAL)? else {
            continue;
        };
        return match positions {
            Some(positions) if positions > 0 => Ok(positions),
            _ => Err(place.refuse(ORIGINAL, place.text(ORIGINAL), "a positive integer")),
        };
    }
    Ok(max_positions)
}

fn factor(inner: &Fields<'_>) -> Result<f64, ConfigError> {
    positive(inner, "factor")
}

fn positive(inner: &Fields<'_>, name: &str) -> Result<f64, ConfigError> {
    let value: f64 = inner.required(name)?;
    match value > 0.0 {
        true => Ok(value),
        false => Err(inner.refuse(name, value, "a positive number")),
    }
}

/// Refuses what transformers would leave out of account: a field that does nothing was meant to.
fn only(inner: &Fields<'_>, kind: &str, own: &[&str]) -> Result<(), ConfigError> {
    let known = |name: &&str| ALWAYS.contains(name) || own.contains(name);
    match inner.names().find(|name| !known(name)) {
        None => Ok(()),
        Some(other) => {
            let accepted = format!("no such field with rope_type \"{kind}\"");
            Err(inner.refuse(other, inner.text(other), accepted))
        }
    }
}
