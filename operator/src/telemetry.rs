//! Logs of the operator: JSON lines for machines, plain ones for people.

use std::io::IsTerminal;

use tracing_subscriber::{EnvFilter, fmt};

use crate::args::LogFormat;

/// Sends logs to standard error. `RUST_LOG` chooses what is logged; the default is `info`.
pub fn init(format: LogFormat) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let lines = fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        LogFormat::Json => lines
            .json()
            .flatten_event(true)
            .with_span_list(false)
            .init(),
        LogFormat::Text => lines.with_ansi(std::io::stderr().is_terminal()).init(),
    }
}
