//! Who a run is, and what its annotations say.

use darwinlm_api::PruningRun;
use darwinlm_task::RunIdentity;

use super::Rejection;
use crate::names::{ANNOTATION_FORECAST, LONGEST_RUN_NAME};

/// The namespace of a run that no API server has seen.
const LOCAL: &str = "local";

/// More than a run of 1024 workers takes in 10,000 years.
const MOST_SECONDS: u64 = 1_000_000_000_000_000;

/// Reads namespace, name and UID.
pub(super) fn identity(run: &PruningRun) -> Result<RunIdentity, Rejection> {
    let name = run.metadata.name.clone().unwrap_or_default();
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let is_label = !name.is_empty()
        && name.bytes().all(inner)
        && !name.starts_with('-')
        && !name.ends_with('-');
    if !is_label || name.len() > LONGEST_RUN_NAME {
        return Err(Rejection::invalid(
            "metadata.name",
            format_args!(
                "is {name:?}; a DNS label of at most {LONGEST_RUN_NAME} characters is accepted: \
                 lower-case letters, digits and hyphens"
            ),
        ));
    }
    let namespace = run
        .metadata
        .namespace
        .clone()
        .unwrap_or_else(|| LOCAL.to_owned());
    let uid = run
        .metadata
        .uid
        .clone()
        .unwrap_or_else(|| format!("{namespace}.{name}"));
    Ok(RunIdentity {
        namespace,
        name,
        uid,
    })
}

/// Reads the device seconds that the run is expected to take.
pub(super) fn forecast(run: &PruningRun) -> Result<Option<u64>, Rejection> {
    let annotations = run.metadata.annotations.as_ref();
    let Some(text) = annotations.and_then(|all| all.get(ANNOTATION_FORECAST)) else {
        return Ok(None);
    };
    match text.parse() {
        Ok(seconds @ 1..=MOST_SECONDS) => Ok(Some(seconds)),
        _ => Err(Rejection::invalid(
            &format!("metadata.annotations[{ANNOTATION_FORECAST}]"),
            format_args!(
                "is {text:?}; accepted: a whole number of seconds from 1 to {MOST_SECONDS}"
            ),
        )),
    }
}
