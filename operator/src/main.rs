//! The operator: parses its command line and runs, or asks another.

use clap::Parser;
use darwinlm_operator::{
    args::Args,
    operator::{self, End, LEASE_LOST},
    question, telemetry,
};

// TLS: kube's feature `aws-lc-rs` installs that provider for the process before its first
// connection, and nothing here speaks TLS before.
#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    if let Some(question) = args.question {
        return question::ask(question).await;
    }
    telemetry::init(args.log_format)?;
    match operator::run(args).await? {
        End::Asked => Ok(()),
        // Not by returning: that would wait for threads that may hang on a name that nobody answers.
        End::LeaseLost(_) => std::process::exit(LEASE_LOST),
    }
}
