//! Prints what a worker's metrics are called: `cargo run -p darwinlm-runner --example metrics`.

use darwinlm_runner::{metric_names::names, metrics::Metrics};

fn main() {
    print!("{}", names(&Metrics::described()));
}
