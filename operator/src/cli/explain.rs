//! `darwinlm explain`: how a run stands, why it does not move, and what to do.

use clap::Args;

use super::which::{Where, Which};
use super::{Failure, cluster, stored};

pub(super) const EXAMPLES: &str = "\
Examples:
  darwinlm explain smollm2 -n research   how it stands, why it does not move, and what to do
  kubectl darwinlm explain smollm2       the same, where the program lies in the PATH as kubectl-darwinlm
  darwinlm explain --store ./store       of a run on this machine, or of any other by what its store holds";

#[derive(Debug, Args)]
pub(super) struct Explain {
    #[command(flatten)]
    which: Which,
}

/// Prints the page.
pub(super) async fn explain(arguments: Explain) -> Result<(), Failure> {
    match arguments.which.into() {
        Where::Cluster { run, place } => cluster::explain::explain(&run, place).await,
        Where::Store { run, store } => stored::explain::explain(run.as_deref(), &store).await,
    }
}
