//! Where models and texts come from: an address is parsed, opened, listed and fetched to this machine.
//!
//! One file per kind of place: [`folder`] is here already, [`hub`] is the Hugging Face Hub, [`web`]
//! any other web server, [`bucket`] an object store. [`download`] and [`part`] are what the two that
//! speak HTTP share. Only `prepare` comes here: all later tasks read the store.

mod bucket;
mod download;
mod error;
mod folder;
mod hub;
mod model;
mod part;
mod pattern;
mod place;
mod variables;
mod web;

pub use error::SourceError;
pub use model::{MODEL_FILES, ModelSource};
pub use place::{Listed, Place, is_remote};
pub use variables::Variables;

use std::path::PathBuf;

/// Is told how many bytes are here, of how many in all as far as that is known.
pub type Tell<'a> = &'a (dyn Fn(u64, u64) + Sync);

/// What every place needs to fetch with.
pub struct Fetcher<'a> {
    /// Credentials and endpoints.
    pub variables: Variables,
    /// A folder of this machine for what is fetched.
    pub scratch: PathBuf,
    /// Hears of every piece.
    pub tell: Tell<'a>,
}
