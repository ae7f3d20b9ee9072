//! `clean-up`: removes a deleted run's own prefix from the store, but for what is to be kept.

use darwinlm_store::RunRecord;
use tokio::task::yield_now;

use super::context::{Context, Ended, store_failure};
use crate::failure::Failure;

/// What is kept where exports are: the page that tells of the run.
const REPORT: &str = "report.html";

/// Removes everything below `runs/<run>/`, its own mark last: until then the prefix is seen to be this
/// run's, however often the task is begun again. A prefix of another search stays as it is, and nothing
/// outside of the prefix is looked at.
pub(super) async fn task(
    context: &Context,
    search_digest: &str,
    keep_exports: bool,
    destination: Option<&str>,
) -> Result<Ended, Failure> {
    let (store, prefix, mark) = (&context.store, context.paths.prefix(), context.paths.run());
    let known = store.get_if_exists(&mark).await.map_err(store_failure)?;
    let is_of_another = known.is_some_and(|bytes| {
        let known = serde_json::from_slice::<RunRecord>(&bytes);
        known.is_ok_and(|known| known.search_digest != search_digest)
    });
    if is_of_another {
        tracing::warn!(
            prefix,
            "the prefix belongs to another search and stays as it is"
        );
        context.reporter.progress(0, 0, "files");
        return Ok(Ended::Done);
    }
    let exports = exports(&context.spec.store, prefix, destination);
    let keep = |key: &str| keep_exports && is_kept(key, prefix, exports.as_deref());
    let hear = |done, total| context.reporter.progress(done, total, "files");
    let but_the_mark = |key: &str| key == mark || keep(key);
    let removed = store.remove_below(prefix, but_the_mark, hear).await;
    let removed = removed.map_err(store_failure)?;
    yield_now().await;
    let last = store.remove_below(prefix, keep, |_, _| ()).await;
    let files = removed.files + last.map_err(store_failure)?.files;
    context.reporter.progress(files, files, "files");
    tracing::info!(
        prefix,
        files,
        bytes = removed.bytes,
        "the prefix was removed"
    );
    Ok(Ended::Done)
}

/// The key that exports lie below, if they lie in the run's own prefix.
fn exports(store: &str, prefix: &str, destination: Option<&str>) -> Option<String> {
    let key = destination?.strip_prefix(store)?.strip_prefix('/')?;
    let key = key.trim_end_matches('/');
    let is_within = key.strip_prefix(prefix)?.starts_with('/');
    is_within.then(|| key.to_owned())
}

fn is_kept(key: &str, prefix: &str, exports: Option<&str>) -> bool {
    let below = |folder: &str| key.strip_prefix(folder)?.strip_prefix('/');
    below(prefix) == Some(REPORT) || exports.is_some_and(|folder| below(folder).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exports_are_kept_where_they_lie_in_the_runs_own_prefix() {
        let of = |destination| exports("s3://b/p", "runs/n.r", Some(destination));
        assert_eq!(
            of("s3://b/p/runs/n.r/out/"),
            Some("runs/n.r/out".to_owned())
        );
        for elsewhere in [
            "s3://b/p/out",
            "s3://b/p/runs/n.r2/out",
            "s3://b/p2/runs/n.r/out",
            "s3://b/p/runs/n.r",
        ] {
            assert_eq!(of(elsewhere), None, "{elsewhere}");
        }
        let kept = |key| is_kept(key, "runs/n.r", Some("runs/n.r/out"));
        assert!(kept("runs/n.r/out/transformers/config.json") && kept("runs/n.r/report.html"));
        for gone in [
            "runs/n.r/outer",
            "runs/n.r/ledger/000001.json",
            "runs/n.r/x/report.html",
        ] {
            assert!(!kept(gone), "{gone}");
        }
    }
}
