//! The program itself, as a pod or a shell starts it: exit codes, reports and output.
#![allow(clippy::unwrap_used)]

mod by_hand;
mod exports;
mod hub;
mod inputs;
mod lax_store;
mod sources;
mod stops;
mod world;
