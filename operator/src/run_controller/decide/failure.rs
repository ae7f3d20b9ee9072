//! Why a Job ended without its task being done, and whether trying again can help.

use darwinlm_api::conditions::Reason;
use darwinlm_task::{ExitCode, Outcome};

use crate::run_controller::observed::{JobState, ObservedJob};

/// Jobs that are made for a task before it counts as failed; for `search`, without a generation
/// of progress between them.
pub const ATTEMPTS: u32 = 3;

/// Why a Job ended without its task being done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Whether the same task would fail again.
    pub is_final: bool,
    /// For conditions and events.
    pub reason: Reason,
    /// One sentence.
    pub message: String,
}

impl Failure {
    /// Reads a finished Job: its report first, then how its workers ended, then its own words.
    pub fn of(job: &ObservedJob) -> Self {
        let JobState::Failed { reason, message } = &job.state else {
            return Self {
                is_final: false,
                reason: Reason::InternalError,
                message: "its Job is complete, but no worker left a readable report".to_owned(),
            };
        };
        let from_exit = job.exits.iter().find_map(|exit| {
            let code = exit
                .code
                .and_then(ExitCode::from_code)
                .filter(|code| code.is_final())?;
            Some((code, exit))
        });
        match (job.report.as_ref().map(|report| &report.outcome), from_exit) {
            (
                Some(Outcome::Failed {
                    code,
                    reason,
                    message,
                }),
                None,
            ) => Self::reported(*code, reason, message),
            // A final exit is told by its own report, not by one of a worker that was only stopped.
            (
                Some(Outcome::Failed {
                    code,
                    reason,
                    message,
                }),
                Some((found, _)),
            ) if *code == found.code() => Self::reported(*code, reason, message),
            (_, Some((code, exit))) => Self {
                is_final: true,
                reason: reason_of(Some(code), code.reason()),
                message: said(&exit.worker, exit.code, &exit.message),
            },
            (_, None) => match job.exits.first() {
                Some(exit) => Self {
                    is_final: false,
                    reason: reason_of(exit.code.and_then(ExitCode::from_code), ""),
                    message: said(&exit.worker, exit.code, &exit.message),
                },
                None => Self {
                    is_final: false,
                    reason: Reason::Failed,
                    message: format!("its Job failed: {reason}: {message}"),
                },
            },
        }
    }

    fn reported(code: u8, reason: &str, message: &str) -> Self {
        let code = ExitCode::from_code(i32::from(code));
        Self {
            is_final: code.is_some_and(ExitCode::is_final),
            reason: reason_of(code, reason),
            message: message.to_owned(),
        }
    }

    /// The same, of a task that was attempted as often as is sensible.
    pub(super) fn after_attempts(self) -> Self {
        let message = format!(
            "attempted {ATTEMPTS} times, the last time: {}",
            self.message
        );
        Self {
            is_final: true,
            message,
            ..self
        }
    }
}

fn said(worker: &str, code: Option<i32>, message: &str) -> String {
    let how = match code {
        Some(code) => format!("exit code {code}"),
        None => "a signal".to_owned(),
    };
    let message = if message.is_empty() {
        "it left no report"
    } else {
        message
    };
    format!("worker {worker} ended with {how}: {message}")
}

/// The reason of a task that has failed with this code, where nothing more is known.
pub fn reason_of_exit(code: ExitCode) -> Reason {
    reason_of(Some(code), code.reason())
}

/// The API's word for a report's: its own if the API knows it, else the exit code's.
fn reason_of(code: Option<ExitCode>, word: &str) -> Reason {
    if let Ok(reason) = word.parse() {
        return reason;
    }
    match code {
        Some(ExitCode::OutOfMemory) => Reason::OutOfMemory,
        Some(ExitCode::BadData) => Reason::BadData,
        Some(ExitCode::InputMissing) => Reason::InputMissing,
        Some(ExitCode::StoreUnavailable) => Reason::StoreUnavailable,
        Some(ExitCode::PermissionDenied) => Reason::PermissionDenied,
        Some(ExitCode::BadSpec) => Reason::InvalidSpec,
        Some(ExitCode::Usage | ExitCode::Bug) => Reason::InternalError,
        Some(ExitCode::Done | ExitCode::TryAgain) | None => Reason::Failed,
    }
}

#[cfg(test)]
mod tests {
    use darwinlm_task::FailureReason;

    use super::*;

    #[test]
    fn whatever_a_report_gives_as_its_reason_the_api_has_a_word_for() {
        for reason in FailureReason::ALL {
            let word = reason.as_str();
            assert_eq!(reason_of(None, word).as_str(), word);
        }
    }
}
