//! The operator and the `darwinlm` command: one state machine, two backends.
//!
//! ```text
//!             observe ──► validate ──► decide ──► build ──► apply ──► update_status
//!  cluster    client      pure         pure       pure      client    client
//!  machine    local       the same two            local     local     local
//! ```
//!
//! `run_controller::decide` is the whole state machine of a run. What differs between a cluster and
//! one machine is only who looks and who acts.

pub mod args;
pub mod cli;
pub mod definition;
pub mod lease;
pub mod local;
pub mod metrics;
pub mod names;
pub mod operator;
pub mod progress_client;
pub mod question;
pub mod readiness;
pub mod reference;
pub mod run_controller;
pub mod server;
pub mod telemetry;
