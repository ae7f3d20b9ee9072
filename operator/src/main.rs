//! The operator: parses its command line and runs.

use clap::Parser;
use darwinlm_operator::{args::Args, operator, telemetry};

// TLS: kube's feature `aws-lc-rs` installs that provider for the process before its first
// connection, and nothing here speaks TLS before.
#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    telemetry::init(args.log_format);
    operator::run(args).await
}
