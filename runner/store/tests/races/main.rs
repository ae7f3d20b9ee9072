//! The races between workers, made to happen.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on fails; helpers too"
)]

mod broken;
mod damage;
mod exceptions;
mod kills;
mod lost_answers;
mod many_workers;
mod probing;
mod processes;
mod setting;
mod table;
mod two_writers;
