//! Opening, writing and reading, in memory and in a folder.

use super::*;
use darwinlm_task::ExitCode;

fn folder() -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&format!("file://{}", folder.path().display())).unwrap();
    (folder, store)
}

#[test]
fn what_is_no_store_is_refused_with_what_is_accepted() {
    let refusals = [
        ("s3:///prefix", "no bucket"),
        ("gs://bucket/../other", ".."),
        ("hf://organisation/name", "\"hf\""),
        ("pvc://claim/path", "\"pvc\""),
        ("/a/path", "relative URL"),
        ("file://host/path", "three slashes"),
    ];
    for (url, word) in refusals {
        let error = Store::open(url).unwrap_err();
        assert_eq!(error.exit_code(), ExitCode::BadSpec, "{url}");
        for part in [
            url,
            word,
            "s3://bucket/prefix",
            "file:///path and memory:///",
        ] {
            assert!(
                error.to_string().contains(part),
                "{part:?} is missing in {error}"
            );
        }
    }
}

#[tokio::test]
async fn a_missing_folder_is_made_for_writing_only() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("file://{}/a%20new/store", folder.path().display());
    assert_eq!(
        Store::open_existing(&url).unwrap_err().exit_code(),
        ExitCode::InputMissing
    );
    let store = Store::open(&url).unwrap();
    store.put_create("a/b.json", "x".into()).await.unwrap();
    assert_eq!(
        std::fs::read(folder.path().join("a new/store/a/b.json")).unwrap(),
        b"x"
    );
    assert_eq!(
        Store::open_existing(&url)
            .unwrap()
            .get("a/b.json")
            .await
            .unwrap(),
        "x"
    );
}

#[tokio::test]
async fn a_file_is_created_once_and_keeps_its_first_bytes() {
    let (_folder, local) = folder();
    for store in [local, Store::open("memory:///").unwrap()] {
        assert_eq!(
            store.put_create("k", "first".into()).await.unwrap(),
            Created::Created
        );
        assert_eq!(
            store.put_create("k", "second".into()).await.unwrap(),
            Created::Existed
        );
        assert_eq!(store.get("k").await.unwrap(), "first");
        let settled = store.settle("k", "second".into()).await.unwrap();
        assert_eq!(
            (settled.stored, settled.ours),
            (Bytes::from("first"), false)
        );
        assert!(store.settle("k", "first".into()).await.unwrap().ours);
        store.put_overwrite("k", "third".into()).await.unwrap();
        assert_eq!(store.get("k").await.unwrap(), "third");
    }
}

#[tokio::test]
async fn a_file_that_changed_since_it_was_listed_is_not_read_as_the_listed_one() {
    let (folder, local) = folder();
    for store in [local, Store::open("memory:///").unwrap()] {
        store.put_overwrite("k", "first".into()).await.unwrap();
        let listed = store.file("k").await.unwrap().unwrap();
        let version = listed.version.as_deref();
        assert!(version.is_some());
        let to = folder.path().join("copy");
        let copied = store.download("k", version, &to).await.unwrap();
        assert_eq!(copied.bytes, 5);
        store.put_overwrite("k", "second".into()).await.unwrap();
        let error = store.download("k", version, &to).await.unwrap_err();
        assert!(matches!(error, StoreError::Changed { .. }), "{error}");
        assert_eq!(error.exit_code(), ExitCode::StoreUnavailable);
        assert_eq!(store.download("k", None, &to).await.unwrap().bytes, 6);
    }
}

#[tokio::test]
async fn a_missing_file_is_named() {
    let (_folder, local) = folder();
    for store in [local, Store::open("memory:///").unwrap()] {
        assert!(!store.exists("a/b").await.unwrap());
        assert_eq!(store.get_if_exists("a/b").await.unwrap(), None);
        assert!(store.list("a").await.unwrap().is_empty());
        store.remove("a/b").await.unwrap();
        let error = store.get("a/b").await.unwrap_err();
        assert_eq!(error.exit_code(), ExitCode::InputMissing);
        assert!(error.to_string().contains("a/b") && error.to_string().contains(store.url()));
    }
}

#[tokio::test]
async fn a_key_that_leaves_the_store_is_refused() {
    let (_folder, store) = folder();
    for key in ["../x", "a/../../x", "a//b", "./a"] {
        assert!(
            matches!(store.get(key).await, Err(StoreError::Key { .. })),
            "{key}"
        );
        assert_eq!(store.local_path(key), None, "{key}");
    }
}

#[tokio::test]
async fn a_store_that_refuses_says_permission_denied() {
    // Where everything is permitted (root), a folder cannot refuse; a refusal is made by hand.
    let io = std::io::Error::from(std::io::ErrorKind::PermissionDenied);
    let source = object_store::Error::Generic {
        store: "LocalFileSystem",
        source: io.into(),
    };
    let error = StoreError::answered("create", "a/b", "file:///x", source);
    assert_eq!(
        (error.kind(), error.exit_code()),
        ("Denied", ExitCode::PermissionDenied)
    );
    let io = std::io::Error::from(std::io::ErrorKind::StorageFull);
    let source = object_store::Error::Generic {
        store: "LocalFileSystem",
        source: io.into(),
    };
    let error = StoreError::answered("create", "a/b", "file:///x", source);
    assert_eq!(
        (error.kind(), error.exit_code()),
        ("Unavailable", ExitCode::StoreUnavailable)
    );
}

#[tokio::test]
async fn a_large_file_travels_in_pieces_and_is_checked_on_both_ways() {
    let scratch = tempfile::tempdir().unwrap();
    let (_folder, local) = folder();
    let content: Vec<u8> = (0..(8 << 20) + 3_u32)
        .map(|i| i.to_le_bytes()[i as usize % 3])
        .collect();
    let file = scratch.path().join("large");
    std::fs::write(&file, &content).unwrap();
    for store in [local, Store::open("memory:///").unwrap()] {
        let digest = store.put_file("weights/large", &file).await.unwrap();
        assert_eq!(digest, digest_bytes(&content));
        assert_eq!(store.digest("weights/large").await.unwrap(), digest);
        assert_eq!(
            store.size("weights/large").await.unwrap(),
            Some(digest.bytes)
        );
        for _ in 0..2 {
            let path = store
                .fetch("weights/large", &digest.sha256, scratch.path())
                .await
                .unwrap();
            assert!(std::fs::read(path).unwrap() == content);
        }
        // A damaged copy in the cache is fetched again; a damaged file in the store is an error.
        std::fs::write(scratch.path().join(&digest.sha256), "damaged").unwrap();
        let path = store
            .fetch("weights/large", &digest.sha256, scratch.path())
            .await
            .unwrap();
        assert!(std::fs::read(path).unwrap() == content);
        std::fs::remove_file(scratch.path().join(&digest.sha256)).unwrap();
        store
            .put_overwrite("weights/large", "damaged".into())
            .await
            .unwrap();
        let error = store
            .fetch("weights/large", &digest.sha256, scratch.path())
            .await
            .unwrap_err();
        assert!(error.to_string().contains("weights/large"), "{error}");
        assert_eq!(error.exit_code(), ExitCode::BadData);
    }
    let left = std::fs::read_dir(scratch.path()).unwrap().count();
    assert_eq!(left, 1, "a partial copy stayed in the cache");
}

#[test]
fn a_folder_store_names_its_file_system() {
    let (_folder, store) = folder();
    let system = store.system();
    assert!(
        !system.is_empty() && !system.contains("LocalFileSystem"),
        "{system}"
    );
}
