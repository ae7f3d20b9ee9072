//! How a worker process ends: sysexits codes, so that a `podFailurePolicy` can tell them apart.

use serde::{Deserialize, Serialize};

/// The exit codes of a worker (sysexits.h, plus 12 for memory).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ExitCode {
    /// 0: the task is done.
    Done,
    /// 12: the work does not fit in memory; the report says what would.
    OutOfMemory,
    /// 64: the command line or the task itself is wrong.
    Usage,
    /// 65: the input was read and is wrong.
    BadData,
    /// 66: an input is missing.
    InputMissing,
    /// 69: the store cannot be used.
    StoreUnavailable,
    /// 70: a bug of ours, or a trial that raised an exception three times.
    Bug,
    /// 75: stopped from outside (SIGTERM); try again.
    TryAgain,
    /// 77: permission denied.
    PermissionDenied,
    /// 78: the spec asks for what cannot be done, or for a device that does not work.
    BadSpec,
}

impl ExitCode {
    /// Every code, in ascending order of its number.
    pub const ALL: [Self; 10] = [
        Self::Done,
        Self::OutOfMemory,
        Self::Usage,
        Self::BadData,
        Self::InputMissing,
        Self::StoreUnavailable,
        Self::Bug,
        Self::TryAgain,
        Self::PermissionDenied,
        Self::BadSpec,
    ];

    /// The number the process exits with.
    pub const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::OutOfMemory => 12,
            Self::Usage => 64,
            Self::BadData => 65,
            Self::InputMissing => 66,
            Self::StoreUnavailable => 69,
            Self::Bug => 70,
            Self::TryAgain => 75,
            Self::PermissionDenied => 77,
            Self::BadSpec => 78,
        }
    }

    /// The code with this number, if it is one of ours.
    pub fn from_code(code: i32) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|known| i32::from(known.code()) == code)
    }

    /// Whether running the same task again cannot help: the run fails at once.
    pub const fn is_final(self) -> bool {
        match self {
            Self::OutOfMemory
            | Self::Usage
            | Self::BadData
            | Self::InputMissing
            | Self::PermissionDenied
            | Self::BadSpec => true,
            Self::Done | Self::StoreUnavailable | Self::Bug | Self::TryAgain => false,
        }
    }

    /// A CamelCase word for conditions, events and metric labels.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Done => "Done",
            Self::OutOfMemory => "OutOfMemory",
            Self::Usage => "InvalidTask",
            Self::BadData => "BadData",
            Self::InputMissing => "InputMissing",
            Self::StoreUnavailable => "StoreUnavailable",
            Self::Bug => "WorkerFailed",
            Self::TryAgain => "Interrupted",
            Self::PermissionDenied => "PermissionDenied",
            Self::BadSpec => "InvalidSpec",
        }
    }
}

impl From<ExitCode> for std::process::ExitCode {
    fn from(code: ExitCode) -> Self {
        Self::from(code.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_reads_back_as_itself() {
        for code in ExitCode::ALL {
            assert_eq!(ExitCode::from_code(i32::from(code.code())), Some(code));
        }
        assert_eq!(ExitCode::from_code(1), None);
    }

    #[test]
    fn the_final_codes_are_those_of_the_pod_failure_policy() {
        let codes: Vec<u8> = ExitCode::ALL
            .into_iter()
            .filter(|c| c.is_final())
            .map(ExitCode::code)
            .collect();
        assert_eq!(codes, [12, 64, 65, 66, 77, 78]);
    }
}
