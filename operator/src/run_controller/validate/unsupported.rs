//! Fields of the resource that this version does not carry out: refused, never ignored.

use darwinlm_api::PruningRunSpec;

use super::Rejection;

/// Refuses the first field that asks for what is not there yet.
pub(super) fn refuse(spec: &PruningRunSpec) -> Result<(), Rejection> {
    let evaluation = spec.evaluation.as_ref();
    let tasks = evaluation.is_some_and(|asked| !asked.tasks.is_empty());
    let given = [("spec.evaluation.tasks", tasks)];
    match given.iter().find(|(_, given)| *given) {
        Some((field, _)) => Err(Rejection::not_yet_supported(field, "leave it out")),
        None => Ok(()),
    }
}
