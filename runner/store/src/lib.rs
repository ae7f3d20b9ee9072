//! The map of the crate; what is promised stands in `README.md`.
#![doc = include_str!("../README.md")]

mod claims;
mod cost;
mod digest;
mod error;
mod folder;
mod ledger;
mod probe;
mod removal;
mod report;
mod results;
mod run_guard;
mod seal;
mod settle;
mod store;
mod tally;
mod timesheet;
mod validation;
mod work;
mod worker_file;

pub use claims::{Claim, ClaimTimes, Claimed, Claims};
pub use cost::{GenerationCost, TrialCost};
pub use digest::{FileDigest, digest_bytes, digest_file};
pub use error::{Operation, StoreError};
pub use folder::{FileEntry, Files, Folder, FolderWriter, Manifest, open_folder};
pub use ledger::{EntryConflict, Ledger, LedgerError};
pub use probe::probe;
pub use removal::{Removed, newest};
pub use report::{History, SURVIVORS_REPORTED};
pub use results::{Results, TrialResult};
pub use run_guard::{Guarded, RunRecord, guard_run};
pub use settle::Settled;
pub use store::{Created, Listed, Store, Variable};
pub use tally::Tally;
pub use timesheet::{Sheet, Timesheet};
pub use validation::{Validation, ValidationRecord, Validations};
pub use work::{
    EXCEPTIONS_PER_TRIAL, Ran, TrialError, TrialRunner, WorkEnd, WorkError, WorkOptions, Worked,
    work,
};
pub use worker_file::{WorkerFile, WorkerTrials, read_workers, spent_milliseconds, sum_workers};
