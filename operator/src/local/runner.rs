//! Where the runner's binary is.

use std::env;
use std::path::PathBuf;

use darwinlm_task::ENV_RUNNER;

/// Name of the binary.
const RUNNER: &str = "darwinlm-runner";

/// There is no runner.
#[derive(Debug, thiserror::Error)]
#[error(
    "the runner `{RUNNER}` was not found: not in {ENV_RUNNER}, not beside this command, not on \
     PATH; build it with `make build`, or set {ENV_RUNNER} to its path"
)]
pub struct RunnerMissing;

/// Finds the runner: `$DARWINLM_RUNNER`, else beside this command, else on `PATH`.
///
/// # Errors
/// When it is in none of these places.
pub fn find() -> Result<PathBuf, RunnerMissing> {
    if let Some(named) = env::var_os(ENV_RUNNER) {
        let named = PathBuf::from(named);
        return if named.is_file() {
            Ok(named)
        } else {
            Err(RunnerMissing)
        };
    }
    let beside = env::current_exe()
        .ok()
        .and_then(|own| Some(own.parent()?.to_path_buf()));
    let path = env::var_os("PATH").unwrap_or_default();
    beside
        .into_iter()
        .chain(env::split_paths(&path))
        .map(|folder| folder.join(RUNNER))
        .find(|program| program.is_file())
        .ok_or(RunnerMissing)
}
