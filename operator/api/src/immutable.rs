//! The transition rule of every field that a run may never change.

use kube::core::{Reason, Rule};

/// Refuses a change of `field`; whatever the search depends on is fixed when the run is created.
pub(crate) fn immutable(field: &str) -> Rule {
    Rule::new("self == oldSelf")
        .message(format!("{field} is immutable: create another run instead").as_str())
        .reason(Reason::FieldValueForbidden)
}
