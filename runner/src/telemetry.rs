//! Logs: for people on a terminal, structured everywhere else.

use std::io::IsTerminal;

use tracing_subscriber::{EnvFilter, fmt};

/// Sends logs to standard error: plain lines on a terminal, JSON lines otherwise.
///
/// `RUST_LOG` chooses what is logged; the default is `info`.
pub fn init() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    if std::io::stderr().is_terminal() {
        fmt()
            .with_env_filter(filter)
            .with_writer(std::io::stderr)
            .with_target(false)
            .init();
    } else {
        fmt()
            .json()
            .flatten_event(true)
            .with_env_filter(filter)
            .with_writer(std::io::stderr)
            .init();
    }
}
