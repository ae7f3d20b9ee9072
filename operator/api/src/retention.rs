//! What remains of a run when it is deleted.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What deletion keeps of the run's own prefix in the store.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Retain {
    /// Everything.
    All,
    /// The report, and what was exported into the prefix.
    #[default]
    Export,
    /// Nothing.
    None,
}
