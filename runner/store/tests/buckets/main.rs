//! The same races on a real S3 server: `make test` builds it first.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on fails; helpers too"
)]

#[path = "../../../../tests/src/gateway.rs"]
#[allow(unreachable_pub, missing_docs, reason = "shared with the stories")]
mod gateway;
#[path = "../races/kills.rs"]
mod kills;
#[path = "../races/setting.rs"]
#[expect(dead_code, reason = "the races use more of it")]
mod setting;
#[path = "../races/table.rs"]
#[expect(dead_code, reason = "the races use more of it")]
mod table;

use std::process::{Command, Stdio};

use darwinlm_store::{Store, probe};
use darwinlm_task::ExitCode;

use gateway::Gateway;
use kills::{binary, killed_workers_leave_one_ledger};

const SECRET: &str = "a secret of tests";
const KEYS: u32 = 100;

fn store(gateway: &Gateway) -> Store {
    Store::open_existing_with("s3://bucket/a prefix/store", gateway.variables()).unwrap()
}

#[tokio::test]
async fn a_bucket_passes_the_probe_and_holds_what_was_put() {
    let gateway = Gateway::start(SECRET);
    let store = store(&gateway);
    probe(&store, "runs/n.r").await.unwrap();
    assert!(store.list("runs").await.unwrap().is_empty());
    assert!(!store.exists("a/b").await.unwrap());
    assert_eq!(store.get_if_exists("a/b").await.unwrap(), None);
    store.put_overwrite("a/b", "one".into()).await.unwrap();
    store.put_overwrite("a/b", "two".into()).await.unwrap();
    assert_eq!(store.get("a/b").await.unwrap(), "two");
    let file = gateway.bucket().join("a prefix/store/a/b");
    assert_eq!(std::fs::read(file).unwrap(), b"two");
    assert_eq!(store.list("a").await.unwrap(), ["a/b"]);
    // Of several pieces, there and back.
    let scratch = tempfile::tempdir().unwrap();
    let (large, cache) = (scratch.path().join("large"), scratch.path().join("cache"));
    let content: Vec<u8> = (0..20_000_000_u32).map(|i| (i % 251) as u8).collect();
    std::fs::write(&large, &content).unwrap();
    let digest = store.put_file("weights/large", &large).await.unwrap();
    let copy = store
        .fetch("weights/large", &digest.sha256, &cache)
        .await
        .unwrap();
    assert!(std::fs::read(copy).unwrap() == content);
    store.remove("a/b").await.unwrap();
    store.remove("a/b").await.unwrap();
    assert!(store.list("a").await.unwrap().is_empty());
}

#[tokio::test]
async fn of_processes_that_create_one_key_one_is_told_that_it_did() {
    let gateway = Gateway::start(SECRET);
    let start = |name: &str| {
        Command::new(binary("create_race"))
            .args(["s3://bucket/store", name, &KEYS.to_string()])
            .envs(gateway.variables())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap()
    };
    let racers = ["one", "two", "three"].map(|name| (name, start(name)));
    let mut created = std::collections::BTreeMap::new();
    for (name, racer) in racers {
        let output = racer.wait_with_output().unwrap();
        assert!(output.status.success(), "{output:?}");
        for key in String::from_utf8(output.stdout).unwrap().lines() {
            let other = created.insert(key.to_owned(), name);
            assert_eq!(other, None, "{key} was created twice");
        }
    }
    let store = Store::open_existing_with("s3://bucket/store", gateway.variables()).unwrap();
    assert_eq!(created.len() as u32, KEYS);
    for (key, name) in &created {
        assert_eq!(store.get(key).await.unwrap(), *name, "{key}");
    }
    let winners: std::collections::BTreeSet<_> = created.values().collect();
    assert!(winners.len() > 1, "there was no race: {winners:?} won all");
}

#[tokio::test]
async fn processes_killed_ten_times_leave_the_same_ledger_in_a_bucket() {
    let gateway = Gateway::start(SECRET);
    killed_workers_leave_one_ledger(&store(&gateway), &gateway.variables()).await;
}

#[tokio::test]
async fn a_bucket_that_refuses_or_is_not_there_is_named() {
    let gateway = Gateway::start(SECRET);
    let mut variables = gateway.variables();
    for (name, value) in &mut variables {
        if name == "AWS_SECRET_ACCESS_KEY" {
            *value = "another secret".to_owned();
        }
    }
    let store = Store::open_existing_with("s3://bucket/store", variables).unwrap();
    let error = probe(&store, "runs/n.r").await.unwrap_err();
    assert_eq!(error.exit_code(), ExitCode::PermissionDenied, "{error}");
    assert!(error.to_string().contains("s3://bucket/store"), "{error}");
    let said = format!("{error:?} {error}");
    assert!(!said.contains("another secret"), "{said}");
    let store = Store::open_existing_with("s3://elsewhere/store", gateway.variables()).unwrap();
    let error = probe(&store, "runs/n.r").await.unwrap_err();
    assert_eq!(error.exit_code(), ExitCode::InputMissing, "{error}");
    let said = error.to_string();
    assert!(
        said.contains("s3://elsewhere/store") && said.contains("no such bucket"),
        "{said}"
    );
    let error = store.list("runs").await.unwrap_err();
    assert_eq!(error.kind(), "NoBucket", "{error}");
}
