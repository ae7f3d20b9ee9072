//! The map of the crate; what the page tells stands in `README.md`.
#![doc = include_str!("../README.md")]

mod charts;
mod facts;
mod numbers;
mod page;
mod race;

pub use facts::{Changed, Facts, FactsError, Fared, Mutation, Training};
pub use numbers::{bytes, grouped};
pub use page::page;
