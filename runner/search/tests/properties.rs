//! What must hold of every search, whatever its model, budget, schedule and outcomes.
#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot make its problem should fail"
)]

#[path = "properties/problems.rs"]
mod problems;

#[path = "properties/ledgers.rs"]
mod ledgers;
#[path = "properties/minibatches.rs"]
mod minibatches;
#[path = "properties/mutations.rs"]
mod mutations;
#[path = "properties/paper.rs"]
mod paper;
#[path = "properties/resuming.rs"]
mod resuming;
#[path = "properties/selecting.rs"]
mod selecting;
#[path = "properties/trace.rs"]
mod trace;
