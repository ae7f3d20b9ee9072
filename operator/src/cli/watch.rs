//! `darwinlm watch`: a picture of a run, drawn anew whenever the run changes, until it ends.

use clap::Args;

use super::which::{Where, Which};
use super::{Failure, cluster, stored};

pub(super) const EXAMPLES: &str = "\
Examples:
  darwinlm watch smollm2 -n research         until it ends; ends with 0 if it has succeeded, else with 1
  darwinlm watch smollm2 | tee smollm2.log   where no terminal is, a page whenever something has changed
  darwinlm watch --store ./store             of a run on this machine, or of any other by what its store holds

Shows the tasks, the survivor's figures, its map (a cell for each block, the fuller the more is left), where device
time went and how long the search still takes. With --store also the generations, step by step: 16→4 is 16
candidates of which 4 were kept, 3/16 is 3 outcomes of 16, ✗ counts trials that failed, and the number after them
is the best fitness. Colours are left out where NO_COLOR is set.";

#[derive(Debug, Args)]
pub(super) struct Watch {
    #[command(flatten)]
    which: Which,
}

/// Draws until the run ends.
pub(super) async fn watch(arguments: Watch) -> Result<(), Failure> {
    match arguments.which.into() {
        Where::Cluster { run, place } => cluster::watch::watch(&run, place).await,
        Where::Store { run, store } => stored::watch::watch(run.as_deref(), &store).await,
    }
}
