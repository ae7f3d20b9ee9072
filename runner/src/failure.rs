//! How a command fails: an error for people, with the exit code that machines act on.

use std::fmt;

use darwinlm_task::ExitCode;

/// An error with an exit code.
#[derive(Debug)]
pub struct Failure {
    /// What the process exits with.
    pub code: ExitCode,
    /// A CamelCase word for conditions: the code's own, unless more is known.
    pub reason: &'static str,
    source: anyhow::Error,
}

impl Failure {
    /// A failure with a word of its own for conditions.
    pub fn because(code: ExitCode, reason: &'static str, message: impl fmt::Display) -> Self {
        let source = anyhow::anyhow!("{message}");
        Self {
            code,
            reason,
            source,
        }
    }

    /// A failure that is told by a message alone.
    pub fn new(code: ExitCode, message: impl fmt::Display) -> Self {
        Self::because(code, code.reason(), message)
    }
}

/// The whole chain of causes in one line.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#}", self.source)
    }
}

/// Turns any error into a [`Failure`] with a code and a word about what was being done.
pub trait OrFail<T> {
    /// Fails with `code`, saying what was tried.
    ///
    /// # Errors
    /// When `self` is an error.
    fn or_fail(self, code: ExitCode, doing: impl fmt::Display) -> Result<T, Failure>;
}

impl<T, E> OrFail<T> for Result<T, E>
where
    E: Into<anyhow::Error>,
{
    fn or_fail(self, code: ExitCode, doing: impl fmt::Display) -> Result<T, Failure> {
        self.map_err(|error| Failure {
            code,
            reason: code.reason(),
            source: error.into().context(doing.to_string()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_tells_the_whole_chain() {
        let inner: Result<(), _> = Err(std::io::Error::other("the disk is gone"));
        let failure = inner
            .or_fail(ExitCode::StoreUnavailable, "failed to read x")
            .unwrap_err();
        assert_eq!(failure.to_string(), "failed to read x: the disk is gone");
        assert_eq!(failure.code.code(), 69);
    }
}
