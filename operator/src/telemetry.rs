//! Logs of the operator: JSON lines for machines, plain ones for people.

use std::ffi::{OsStr, OsString};
use std::io::IsTerminal;

use tracing_subscriber::filter::ParseError;
use tracing_subscriber::{EnvFilter, fmt};

use crate::args::LogFormat;

/// What chooses which logs are written.
const VARIABLE: &str = "RUST_LOG";

/// A filter that cannot be read: with another one in its place, what was asked for would be missing.
#[derive(Debug, thiserror::Error)]
#[error(
    "{VARIABLE} is {found:?}, which is no filter: error, warn, info, debug, trace, or one per module, as in \
     darwinlm_operator=debug,kube=info"
)]
pub struct BadFilter {
    found: OsString,
    #[source]
    source: Option<ParseError>,
}

/// Sends logs to standard error. `RUST_LOG` chooses what is logged; the default is `info`.
///
/// # Errors
/// When `RUST_LOG` is no filter.
pub fn init(format: LogFormat) -> Result<(), BadFilter> {
    let filter = filter(std::env::var_os(VARIABLE).as_deref())?;
    let lines = fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        LogFormat::Json => lines
            .json()
            .flatten_event(true)
            .with_span_list(false)
            .init(),
        LogFormat::Text => lines.with_ansi(std::io::stderr().is_terminal()).init(),
    }
    Ok(())
}

/// What was found in the environment, read. Pure.
fn filter(found: Option<&OsStr>) -> Result<EnvFilter, BadFilter> {
    let found = found.filter(|found| !found.is_empty());
    let found = found.unwrap_or(OsStr::new("info"));
    let refused = |source| BadFilter {
        found: found.to_owned(),
        source,
    };
    let text = found.to_str().ok_or_else(|| refused(None))?;
    EnvFilter::try_new(text).map_err(|error| refused(Some(error)))
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStrExt;

    use super::*;

    #[test]
    fn a_filter_that_cannot_be_read_is_refused_with_its_variable_and_its_words() {
        for found in ["darwinlm_operator=loud", "info,kube=7", "a=b=c"] {
            let refused = filter(Some(OsStr::new(found))).expect_err(found);
            let said = refused.to_string();
            assert!(said.contains("RUST_LOG") && said.contains(found), "{said}");
        }
        let bytes = OsStr::from_bytes(b"info\xff");
        assert!(filter(Some(bytes)).is_err());
    }

    #[test]
    fn a_filter_that_is_absent_or_empty_is_info() {
        for found in [None, Some(OsStr::new("")), Some(OsStr::new("info"))] {
            let filter = filter(found).expect("it is a filter");
            assert_eq!(filter.to_string(), "info");
        }
        let both = filter(Some(OsStr::new("warn,kube=debug"))).expect("it is a filter");
        assert_eq!(both.to_string(), "kube=debug,warn");
    }
}
