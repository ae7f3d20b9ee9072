//! The page that tells of a run: one file of HTML, drawn out of what its store holds.

mod charts;
mod facts;
mod html;

pub use facts::{Facts, FactsError};
pub use html::page;
