//! The program itself, as a pod or a shell starts it: exit codes, reports and output.
#![allow(clippy::unwrap_used)]

mod build_database;
mod by_hand;
mod devices;
mod exports;
mod hub;
mod inputs;
mod lax_store;
mod post_training;
mod sources;
mod stops;
mod world;
