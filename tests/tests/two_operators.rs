//! Two operators, one lease: whatever happens to the one that leads, never do both write.
//!
//! Both are processes of this machine with the chart's rights, each with a token of its own, so
//! that the API server's audit log tells who wrote what, and when.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use darwinlm_tests::audit::{self, Request};
use darwinlm_tests::cluster::{Namespace, kubectl, try_kubectl};
use darwinlm_tests::local::TINY_RUN;
use darwinlm_tests::operator::{Access, Operator, SYSTEM, install_rights};
use darwinlm_tests::proxy::Proxy;
use serde_json::Value;

/// As with the defaults, but sooner: 6 s without a renewal, of which the last 2 are margin.
const QUICK: [&str; 6] = [
    "--lease-seconds",
    "6",
    "--lease-renew-seconds",
    "4",
    "--lease-retry-seconds",
    "1",
];
const LEASE: Duration = Duration::from_secs(6);
/// What a slow machine may take on top of it.
const SLACK: Duration = Duration::from_secs(20);
const LEASE_LOST: i32 = 75;

/// A namespace of runs, whose spec changes all the time: there is always something to write.
struct Runs {
    namespace: Namespace,
    stop: Arc<AtomicBool>,
    changes: Option<JoinHandle<()>>,
}

impl Runs {
    fn new(name: &str) -> Self {
        let namespace = Namespace::new(name);
        namespace.apply(
            "apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: data}\nspec:\n  \
             accessModes: [ReadWriteMany]\n  storageClassName: none\n  resources: {requests: \
             {storage: 1Gi}}\n",
        );
        Self {
            namespace,
            stop: Arc::default(),
            changes: None,
        }
    }

    fn add(&self, run: &str) {
        let yaml = TINY_RUN.replacen("name: tiny", &format!("name: {run}"), 1);
        self.namespace.apply(&yaml);
    }

    /// Suspends and resumes a run in turns, until dropped.
    fn keep_changing(&mut self, run: &str) {
        let (namespace, run) = (self.namespace.name.clone(), format!("pruningrun/{run}"));
        let stop = self.stop.clone();
        self.changes = Some(thread::spawn(move || {
            for suspend in [true, false].into_iter().cycle() {
                if stop.load(Ordering::SeqCst) {
                    return;
                }
                let patch = format!(r#"{{"spec":{{"suspend":{suspend}}}}}"#);
                let line = [
                    "-n",
                    &namespace,
                    "patch",
                    &run,
                    "--type=merge",
                    "-p",
                    &patch,
                ];
                try_kubectl(&line, None);
                thread::sleep(Duration::from_millis(100));
            }
        }));
    }

    /// The UID of the only Job of each run.
    fn jobs(&self) -> BTreeMap<String, String> {
        let jobs = self.namespace.list("jobs", "darwinlm.io/task=prepare");
        let mut uids = BTreeMap::new();
        for job in jobs {
            let run = job["metadata"]["labels"]["darwinlm.io/run"]
                .as_str()
                .expect("it has a run");
            let uid = job["metadata"]["uid"].as_str().expect("it has a UID");
            let other = uids.insert(run.to_owned(), uid.to_owned());
            assert_eq!(other, None, "two Jobs of one task of {run}");
        }
        uids
    }

    fn await_job(&self, run: &str) {
        let deadline = Instant::now() + LEASE + SLACK;
        while !self.jobs().contains_key(run) {
            assert!(
                Instant::now() < deadline,
                "{run}: {}",
                self.namespace.describe(run)
            );
            thread::sleep(Duration::from_millis(200));
        }
    }
}

impl Drop for Runs {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        if let Some(changes) = self.changes.take() {
            let _ = changes.join();
        }
    }
}

/// Two operators, of which the first leads and has made the Job of run `first`.
fn two(name: &str, through: Option<&str>, settings: &[&str]) -> (Runs, Operator, Operator) {
    install_rights();
    let leader = Operator::start("a", Access::new(through), settings);
    leader.await_lead(SLACK);
    let other = Operator::start("b", Access::new(None), settings);
    let mut runs = Runs::new(name);
    runs.add("first");
    runs.await_job("first");
    runs.keep_changing("first");
    stands_by(&other);
    (runs, leader, other)
}

/// Ready, with warm caches, and silent about runs.
fn stands_by(other: &Operator) {
    other.await_answer("/healthz", 200, SLACK);
    other.await_answer("/readyz", 200, SLACK);
    let metrics = other.await_answer("/metrics", 200, SLACK);
    assert!(metrics.contains("\ndarwinlm_leader 0\n"), "{metrics}");
    assert!(!metrics.contains("darwinlm_run_info"), "{metrics}");
}

/// Holds the audit log against the promise; returns how long nobody wrote, in words.
fn only_one_wrote(old: &Operator, new: &Operator) {
    let of = |operator: &Operator| -> Vec<Request> {
        let mut requests = audit::requests();
        requests.retain(|request| request.credential == operator.access.credential);
        requests
    };
    let wrote = |requests: &[Request]| -> Vec<Request> {
        let objects = requests.iter().filter(|request| !request.is_of_the_lease());
        objects.filter(|request| request.wrote()).cloned().collect()
    };
    let (old, new) = (of(old), of(new));
    let mut lease = new.iter().filter(|request| request.is_of_the_lease());
    let taken = lease
        .find(|request| request.wrote())
        .expect("the lease was taken");
    let (old, new) = (wrote(&old), wrote(&new));
    let last = old.last().expect("the old leader wrote");
    let first = new.first().expect("the new leader writes");
    println!("last write of the old leader {}", last.at);
    println!("lease taken                  {}", taken.at);
    println!("first write of the new one   {}", first.at);
    println!(
        "{} writes of the old leader, {} of the new one",
        old.len(),
        new.len()
    );
    assert!(last.at < taken.at, "the old leader wrote after: {last:?}");
    assert!(
        taken.at < first.at,
        "the new leader wrote before: {first:?}"
    );
}

#[test]
fn when_the_leader_is_killed_the_other_goes_on_with_the_same_jobs() {
    let (runs, mut old, new) = two("killed", None, &QUICK);
    let before = runs.jobs();
    old.signal("KILL");
    old.await_end(SLACK);
    runs.add("second");
    let took = new.await_lead(LEASE + SLACK);
    println!("the other leads {took:.1?} after the kill");
    runs.await_job("second");
    let after = runs.jobs();
    assert_eq!(
        after["first"], before["first"],
        "the Job is the one of before"
    );
    assert_eq!(after.len(), 2);
    thread::sleep(Duration::from_secs(2));
    only_one_wrote(&old, &new);
}

#[test]
fn a_leader_that_was_paused_for_longer_than_its_lease_wakes_and_writes_nothing() {
    let (runs, mut old, new) = two("paused", None, &QUICK);
    let before = runs.jobs();
    old.signal("STOP");
    runs.add("second");
    let took = new.await_lead(LEASE + SLACK);
    println!("the other leads {took:.1?} after the pause began");
    runs.await_job("second");
    runs.add("third");
    old.signal("CONT");
    let end = old.await_end(SLACK);
    assert_eq!(end.code(), Some(LEASE_LOST), "{}", old.log());
    assert!(
        old.log().contains("the operator leads no more and ends"),
        "{}",
        old.log()
    );
    runs.await_job("third");
    assert_eq!(runs.jobs()["first"], before["first"]);
    thread::sleep(Duration::from_secs(2));
    only_one_wrote(&old, &new);
}

#[test]
fn a_leader_that_is_cut_off_ends_before_the_other_may_lead() {
    let proxy = Proxy::to(&api_server());
    let (runs, mut old, new) = two("cut-off", Some(&proxy.address), &QUICK);
    let before = runs.jobs();
    proxy.cut(true);
    runs.add("second");
    let began = Instant::now();
    let end = old.await_end(LEASE + SLACK);
    println!("the old leader ends {:.1?} after the cut", began.elapsed());
    let metrics = new.await_answer("/metrics", 200, SLACK);
    assert!(
        metrics.contains("\ndarwinlm_leader 0\n"),
        "the other led before the old leader had ended: {metrics}"
    );
    assert_eq!(end.code(), Some(LEASE_LOST), "{}", old.log());
    assert!(
        old.log().contains("the lease was not renewed within 4 s"),
        "{}",
        old.log()
    );
    new.await_lead(LEASE + SLACK);
    println!("the other leads {:.1?} after the cut", began.elapsed());
    proxy.cut(false);
    runs.await_job("second");
    assert_eq!(runs.jobs()["first"], before["first"]);
    thread::sleep(Duration::from_secs(2));
    only_one_wrote(&old, &new);
}

#[test]
fn a_leader_that_is_asked_to_end_hands_over_within_seconds() {
    // With the defaults: 15 s would pass if the lease were not given back.
    let (runs, mut old, new) = two("handed-over", None, &[]);
    let before = runs.jobs();
    old.signal("TERM");
    let end = old.await_end(SLACK);
    assert_eq!(end.code(), Some(0), "{}", old.log());
    let took = new.await_lead(Duration::from_secs(8));
    println!("the other leads {took:.1?} after the end");
    runs.add("second");
    runs.await_job("second");
    assert_eq!(runs.jobs()["first"], before["first"]);
    let lease = kubectl(&["-n", SYSTEM, "get", "lease", "darwinlm", "-o", "json"]);
    let lease: Value = serde_json::from_str(&lease).expect("kubectl prints JSON");
    assert_eq!(lease["spec"]["leaseTransitions"], 1, "{lease}");
    thread::sleep(Duration::from_secs(2));
    only_one_wrote(&old, &new);
}

fn api_server() -> String {
    let config = kubectl(&["config", "view", "--minify", "-o", "json"]);
    let config: Value = serde_json::from_str(&config).expect("kubectl prints JSON");
    let server = config["clusters"][0]["cluster"]["server"].as_str();
    let server = server.expect("the API server has an address");
    server.trim_start_matches("https://").to_owned()
}
