//! The numerical core on tiny models and random problems; needs libtorch alone.
// clippy's own exception for tests stops at the functions they call
#![allow(non_snake_case, clippy::unwrap_used)]

mod cache;
mod candidates;
mod database;
mod files;
mod flops;
mod latency;
mod model;
mod obs;
mod post_training;
mod scoring;
mod tiny;
mod trials;
