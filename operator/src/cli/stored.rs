//! Commands about a run by what its store holds: in a folder, or in a bucket that a cluster writes to.
//! They read and change nothing.
//!
//! ```text
//! reader ──► stand ──► words, picture
//! store      pure      pure
//! ```

pub(super) mod explain;
mod here;
mod picture;
mod reader;
mod stand;
pub(super) mod watch;
mod words;
