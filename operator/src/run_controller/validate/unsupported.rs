//! Fields of the resource that this version does not carry out: refused, never ignored.

use darwinlm_api::{PruningRunSpec, Retain};

use super::Rejection;

/// Refuses the first field that asks for what is not there yet.
pub(super) fn refuse(spec: &PruningRunSpec) -> Result<(), Rejection> {
    let evaluation = spec.evaluation.as_ref();
    let tasks = evaluation.is_some_and(|asked| !asked.tasks.is_empty());
    let given = [
        ("spec.evaluation.tasks", tasks),
        (
            "spec.ttlSecondsAfterFinished",
            spec.ttl_seconds_after_finished.is_some(),
        ),
        // Nothing is removed on deletion yet, which is more than the default promises to keep;
        // whoever asks for nothing to be kept must not be left believing it.
        ("spec.retain: None", matches!(spec.retain, Retain::None)),
    ];
    match given.iter().find(|(_, given)| *given) {
        Some((field, _)) => Err(Rejection::not_yet_supported(field, "leave it out")),
        None => Ok(()),
    }
}
