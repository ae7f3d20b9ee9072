//! The GPU work of DarwinLM: the only crate that knows libtorch. This is its map.
//!
//! What a run computes, from below: [`sources`] fetches; [`weights`] and [`tokens`] are files; [`model`] is a transformer
//! whose blocks may each have their own shape; [`prune`] makes the levels of one module;
//! [`database`] keeps them; [`stitch`] cuts a candidate out of the dense model; [`train`] trains it
//! and [`fitness`] scores it; [`trial`] is those three in a row; [`export`] writes what won.
//! [`latency`] times modules and models, [`device`] says where, [`memory`] how much of it and
//! [`flops`] how many operations that takes; [`forecast`] says before what a run will come to.

// shapes are written as suffixes: `x_BTD`
#![allow(non_snake_case)]

pub mod args;
pub mod command;
pub mod database;
pub mod device;
pub mod export;
pub mod failure;
pub mod fitness;
pub mod flops;
pub mod forecast;
pub mod latency;
pub mod memory;
pub mod metric_names;
pub mod metrics;
pub mod model;
pub mod no_grad;
pub mod process;
pub mod progress;
pub mod prune;
pub mod scratch;
pub mod serve;
pub mod sources;
pub mod stitch;
pub mod telemetry;
pub mod tokens;
pub mod train;
pub mod trial;
pub mod weights;
