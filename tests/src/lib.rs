//! Whole-system stories, told as a user would: what they stand on.
//!
//! A story talks to the `darwinlm` command, `kubectl` and the store, never to the crates' insides.
//! The programs come from the release build (`make build`); a missing one fails loudly.

pub mod audit;
pub mod chart;
pub mod chromium;
pub mod cluster;
pub mod deadly;
pub mod files;
pub mod gateway;
pub mod local;
pub mod node;
pub mod operator;
pub mod panels;
pub mod processes;
pub mod programs;
pub mod prometheus;
pub mod proxy;
pub mod terminal;
pub mod tiny;
