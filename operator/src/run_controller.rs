//! The six steps from a run as it stands to a run one step further.

pub mod decide;
pub mod observed;
pub mod validate;
