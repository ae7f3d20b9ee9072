//! Which run a command is about, and whether it is looked for in a cluster or in a store.

use clap::Args;

use super::cluster::Place;

#[derive(Debug, Args)]
pub(super) struct Which {
    /// Name of the run; in a store, <namespace>.<name> or the name alone, or nothing where it holds one
    #[arg(required_unless_present = "store")]
    run: Option<String>,
    /// Look into this folder or URL instead of a cluster; nothing is changed
    #[arg(long, value_name = "DIR|URL", conflicts_with_all = ["namespace", "context"])]
    store: Option<String>,
    #[command(flatten)]
    place: Place,
}

/// Where to look, and for what.
pub(super) enum Where {
    /// In a cluster.
    Cluster { run: String, place: Place },
    /// In a store, for the only run where none is named.
    Store { run: Option<String>, store: String },
}

impl From<Which> for Where {
    fn from(which: Which) -> Self {
        let Which { run, store, place } = which;
        match store {
            Some(store) => Self::Store { run, store },
            None => Self::Cluster {
                run: run.unwrap_or_default(),
                place,
            },
        }
    }
}
