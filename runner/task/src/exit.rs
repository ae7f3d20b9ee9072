//! How a worker process ends: sysexits codes, so that a `podFailurePolicy` can tell them apart.

use serde::{Deserialize, Serialize};

/// Declares the codes once: the enum, the list of all, their numbers and what they mean.
macro_rules! exit_codes {
    ($($(#[doc = $meaning:literal])+ $name:ident $number:literal,)+) => {
        /// The exit codes of a worker (sysexits.h, plus 12 for memory).
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum ExitCode {
            $($(#[doc = $meaning])+ $name,)+
        }

        impl ExitCode {
            /// Every code, in ascending order of its number.
            pub const ALL: [Self; [$($number),+].len()] = [$(Self::$name),+];

            /// The number the process exits with.
            pub const fn code(self) -> u8 {
                match self {
                    $(Self::$name => $number,)+
                }
            }

            /// What it means.
            pub const fn meaning(self) -> &'static str {
                match self {
                    $(Self::$name => concat!($($meaning),+),)+
                }
            }
        }
    };
}

exit_codes! {
    /// the task is done
    Done 0,
    /// the work does not fit in memory; the report says what would
    OutOfMemory 12,
    /// the command line or the task itself is wrong
    Usage 64,
    /// the input was read and is wrong
    BadData 65,
    /// an input is missing
    InputMissing 66,
    /// the store or a source cannot be used
    StoreUnavailable 69,
    /// a bug of ours, or a trial that raised an exception three times
    Bug 70,
    /// stopped from outside (SIGTERM); try again
    TryAgain 75,
    /// permission denied
    PermissionDenied 77,
    /// the spec asks for what cannot be done, or for a device that does not work
    BadSpec 78,
}

impl ExitCode {
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
    fn the_codes_ascend_and_each_says_what_it_means() {
        assert!(ExitCode::ALL.is_sorted_by_key(|code| code.code()));
        for code in ExitCode::ALL {
            assert!(code.meaning().trim().len() > 10, "{code:?}");
        }
    }

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
