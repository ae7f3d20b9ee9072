//! The command line.

use std::net::SocketAddr;
use std::time::Duration;

use clap::Parser;

use crate::kubelet::Pace;

/// Puts a load on a running operator and says what it costs.
#[derive(Debug, Parser)]
pub(crate) struct Arguments {
    /// Runs that exist at any time.
    #[arg(long, default_value_t = 1000)]
    pub(crate) runs: usize,
    /// Namespaces that they are spread over.
    #[arg(long, default_value_t = 10)]
    pub(crate) namespaces: usize,
    /// Hollow nodes; each takes 100 pods.
    #[arg(long, default_value_t = 20)]
    pub(crate) nodes: usize,
    /// About how long a worker works.
    #[arg(long, default_value_t = 60)]
    pub(crate) work_seconds: u64,
    /// How long the load lasts once every run is at work.
    #[arg(long, default_value_t = 10)]
    pub(crate) minutes: u64,
    /// Where the operator serves its metrics.
    #[arg(long)]
    pub(crate) operator: SocketAddr,
    /// The operator's process.
    #[arg(long)]
    pub(crate) pid: u32,
}

impl Arguments {
    /// How long the load lasts.
    pub(crate) fn minutes(&self) -> Duration {
        Duration::from_secs(60 * self.minutes)
    }

    /// How fast workers work.
    pub(crate) fn pace(&self) -> Pace {
        Pace {
            work: Duration::from_secs(self.work_seconds),
        }
    }
}
