//! `clean-up`: removes a deleted run's own prefix from the store, but for what is to be kept.

use darwinlm_store::RunRecord;
use tokio::task::yield_now;

use super::context::{Context, Ended, store_failure};
use crate::failure::Failure;

/// Removes everything below `runs/<run>/`, its own mark last: until then the prefix is seen to be this
/// run's, however often the task is begun again. A prefix of another search stays as it is, and nothing
/// outside of the prefix is looked at.
pub(super) async fn task(
    context: &Context,
    search_digest: &str,
    keep_exports: bool,
    exports: &[String],
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
    let exports = within(&context.spec.store, prefix, exports);
    let page = context.paths.report();
    let keep = |key: &str| keep_exports && (key == page || is_kept(key, &exports));
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

/// The keys that exports lie below, of those in the run's own prefix. The prefix itself is none: then
/// each format's own folder is.
fn within(store: &str, prefix: &str, exports: &[String]) -> Vec<String> {
    let key_of = |url: &String| {
        let key = url.strip_prefix(store)?.strip_prefix('/')?;
        let key = key.trim_end_matches('/');
        let is_within = key.strip_prefix(prefix)?.starts_with('/');
        is_within.then(|| key.to_owned())
    };
    exports.iter().filter_map(key_of).collect()
}

fn is_kept(key: &str, exports: &[String]) -> bool {
    let below = |folder: &str| key.strip_prefix(folder)?.strip_prefix('/');
    exports.iter().any(|folder| below(folder).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exports_are_kept_where_they_lie_in_the_runs_own_prefix() {
        let of = |url: &str| within("s3://b/p", "runs/n.r", &[url.to_owned()]);
        assert_eq!(of("s3://b/p/runs/n.r/out/"), ["runs/n.r/out"]);
        for elsewhere in [
            "s3://b/p/out",
            "s3://b/p/runs/n.r2/out",
            "s3://b/p2/runs/n.r/out",
            "s3://b/p/runs/n.r",
        ] {
            assert!(of(elsewhere).is_empty(), "{elsewhere}");
        }
        let exports = ["runs/n.r/out".to_owned(), "runs/n.r/older/x".to_owned()];
        let kept = |key| is_kept(key, &exports);
        assert!(kept("runs/n.r/out/transformers/config.json"));
        assert!(kept("runs/n.r/older/x/config.json") && !kept("runs/n.r/older/y"));
        for gone in [
            "runs/n.r/outer",
            "runs/n.r/ledger/000001.json",
            "runs/n.r/report.html",
        ] {
            assert!(!kept(gone), "{gone}");
        }
    }
}
