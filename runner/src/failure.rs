//! How a command fails: an error for people, with the exit code that machines act on.

use std::any::Any;
use std::fmt;
use std::panic::AssertUnwindSafe;

use darwinlm_task::ExitCode;
use futures::FutureExt as _;

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

    /// What a panic becomes. tch's methods with a scalar argument panic on libtorch's errors.
    pub fn of_panic(panic: &(dyn Any + Send)) -> Self {
        let message = panic_message(panic);
        let code = match is_out_of_memory(&message) {
            true => ExitCode::OutOfMemory,
            false => ExitCode::Bug,
        };
        Self::new(code, format!("panicked: {message}"))
    }

    /// A failure that is told by a message alone.
    pub fn new(code: ExitCode, message: impl fmt::Display) -> Self {
        Self::because(code, code.reason(), message)
    }
}

/// Waits for some work; a panic in it is a failure like any other.
///
/// # Errors
/// When the work fails or panics.
pub async fn caught<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    // whoever goes on drops what the work was at: nothing of it is looked at again
    let ended = AssertUnwindSafe(work).catch_unwind().await;
    ended.unwrap_or_else(|panic| Err(Failure::of_panic(&*panic)))
}

/// The words of a panic.
pub fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no message".to_owned())
}

/// Whether libtorch says that memory ran out: the CUDA caching allocator, or the CPU's.
pub fn is_out_of_memory(message: &str) -> bool {
    message.contains("out of memory") || message.contains("can't allocate memory")
}

/// The whole chain of causes in one line.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#}", self.source)
    }
}

/// Turns any error into a [`Failure`] with a code and a word about what was being done.
pub trait OrFail<T> {
    /// Fails with `code`, saying what was tried; where memory ran out, with the code for that.
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
        self.map_err(|error| {
            let source: anyhow::Error = error.into();
            let full = source
                .chain()
                .any(|cause| is_out_of_memory(&cause.to_string()));
            let code = if full { ExitCode::OutOfMemory } else { code };
            Failure {
                code,
                reason: code.reason(),
                source: source.context(doing.to_string()),
            }
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

    #[test]
    fn memory_that_ran_out_is_told_apart_wherever_it_ran_out() {
        let full = "CUDA out of memory. Tried to allocate 2.00 GiB";
        let result: Result<(), _> = Err(std::io::Error::other(full));
        let failure = result.or_fail(ExitCode::BadData, "failed to prune x");
        assert_eq!(failure.unwrap_err().code, ExitCode::OutOfMemory);
        let panic = std::panic::catch_unwind(|| panic!("{full}")).unwrap_err();
        assert_eq!(Failure::of_panic(&*panic).code, ExitCode::OutOfMemory);
        let panic = std::panic::catch_unwind(|| panic!("index 3")).unwrap_err();
        let failure = Failure::of_panic(&*panic);
        assert_eq!(failure.code, ExitCode::Bug);
        assert_eq!(failure.to_string(), "panicked: index 3");
    }
}
