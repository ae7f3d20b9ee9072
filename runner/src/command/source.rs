//! Where inputs come from: today a folder or file that the worker sees.

use std::path::PathBuf;

use darwinlm_task::ExitCode;

use crate::failure::Failure;

/// The path of a `file://` URL, which must exist.
///
/// # Errors
/// Exit code 64 for another scheme, 66 when nothing is there.
pub(super) fn local(what: &str, url: &str) -> Result<PathBuf, Failure> {
    let path = url
        .strip_prefix("file://")
        .filter(|path| path.starts_with('/'));
    let Some(path) = path.map(PathBuf::from) else {
        return Err(Failure::new(
            ExitCode::Usage,
            format!("{what} is {url:?}; accepted: file:///path"),
        ));
    };
    if !path.exists() {
        return Err(Failure::new(
            ExitCode::InputMissing,
            format!("{what} is {url}, but {} does not exist", path.display()),
        ));
    }
    Ok(path)
}
