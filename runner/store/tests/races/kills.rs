//! Real processes on one store, killed without warning.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use darwinlm_store::{Ledger, Store};

use crate::setting::paths;
use crate::table::{problem, reference};

const GENERATIONS: u32 = 12;
const KILLS: u32 = 10;

/// An example, which cargo builds with the tests.
pub(crate) fn binary(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let target = test.parent().and_then(|deps| deps.parent()).unwrap();
    let binary = target.join("examples").join(name);
    assert!(
        binary.exists(),
        "{} is missing: cargo test builds it",
        binary.display()
    );
    binary
}

fn start(store: &str, name: &str, environment: &[(String, String)]) -> Child {
    Command::new(binary("table_worker"))
        .args([store, name, &GENERATIONS.to_string()])
        .envs(environment.iter().cloned())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Three workers with these variables on a store, killed ten times.
pub(crate) async fn killed_workers_leave_one_ledger(
    store: &Store,
    environment: &[(String, String)],
) {
    let mut workers: Vec<Child> = (0..3)
        .map(|i| start(store.url(), &format!("w{i}"), environment))
        .collect();
    let mut random = 0x9e37_79b9_u32;
    for kill in 0..KILLS {
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        tokio::time::sleep(Duration::from_millis(u64::from(20 + random % 80))).await;
        let victim = (random >> 16) as usize % workers.len();
        workers[victim].kill().unwrap();
        let status = workers[victim].wait().unwrap();
        assert!(!status.success(), "the search was over before kill {kill}");
        workers[victim] = start(store.url(), &format!("w{victim}"), environment);
    }
    let mut reports = Vec::new();
    for worker in workers {
        let output = worker.wait_with_output().unwrap();
        assert!(output.status.success(), "{output:?}");
        reports.push(String::from_utf8(output.stdout).unwrap());
    }
    assert!(
        reports.iter().all(|report| report == &reports[0]),
        "{reports:?}"
    );
    let digest = reference(&problem(GENERATIONS)).digest().to_string();
    assert!(
        reports[0].contains(&digest),
        "{} does not tell {digest}",
        reports[0]
    );
    let (_, replayed) = Ledger::new(store, &paths()).verify().await.unwrap();
    assert_eq!(replayed.search.digest().to_string(), digest);
    // Every file that a reader can see is whole: records, entries, claims, beats and accounts.
    for key in store.list("runs").await.unwrap() {
        let bytes = store.get(&key).await.unwrap();
        if key.contains("/probes/") {
            assert_eq!(bytes, "first", "a worker that was killed left half a probe");
            continue;
        }
        let whole = serde_json::from_slice::<serde_json::Value>(&bytes);
        assert!(whole.is_ok(), "{key} is torn: {bytes:?}");
    }
}
