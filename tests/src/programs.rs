//! Where the programs of the release build lie.

use std::path::PathBuf;

/// The repository's root.
pub fn repository() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the tests lie one folder below the root")
        .to_path_buf()
}

/// The folder of the release build: beside the test that asks, wherever that was built.
///
/// # Panics
/// When a test has no path.
pub fn release_folder() -> PathBuf {
    let test = std::env::current_exe().expect("a test has a path");
    // <target>/<profile>/deps/<test>
    test.ancestors()
        .nth(3)
        .expect("it lies three folders below")
        .join("release")
}

/// A program of the release build.
///
/// # Panics
/// When it has not been built.
pub fn program(name: &str) -> PathBuf {
    let path = release_folder().join(name);
    assert!(
        path.exists(),
        "{} is missing: run `make build` first",
        path.display()
    );
    path
}

/// The folder of a thing that `make model` fetches.
///
/// # Panics
/// When it has not been fetched.
pub fn fetched(name: &str) -> PathBuf {
    let path = repository().join(".cache").join(name);
    assert!(
        path.exists(),
        "{} is missing: run `make model` first",
        path.display()
    );
    path
}

/// A program of Prometheus, where `make promtool` puts it; it may not be there.
///
/// # Panics
/// When nobody is at home.
pub fn prometheus(name: &str) -> PathBuf {
    cache().join("prometheus").join(name)
}

/// tmux: that of this machine, else the one that `make tmux` fetches; neither may be there.
///
/// # Panics
/// When nobody is at home.
pub fn tmux() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let installed = std::env::split_paths(&path).map(|folder| folder.join("tmux"));
    let fetched = cache().join("tmux/tmux");
    installed.chain([fetched]).find(|program| program.is_file())
}

/// Where what is costly lies; the same as in the Makefile.
fn cache() -> PathBuf {
    let cache = std::env::var_os("XDG_CACHE_HOME").filter(|path| !path.is_empty());
    let cache = cache.map(PathBuf::from).unwrap_or_else(|| {
        let home = std::env::var_os("HOME").expect("somebody is at home");
        PathBuf::from(home).join(".cache")
    });
    cache.join("darwinlm")
}
