//! What is seen of Jobs and pods as an API server hands them out.

mod causes;
mod held;

use super::events::Said;
use super::*;
use crate::names::ANNOTATION_SUSPENDED;
use darwinlm_api::conditions::{Reason, Stall};
use darwinlm_task::{Outcome, TaskKind};
use serde_json::{Value, json};

use crate::run_controller::{
    made_from::{self, MadeFrom},
    observed::{Held, JobState},
};

const KEY: JobKey = JobKey {
    task: TaskKind::Search,
    first_generation: 0,
    attempt: 1,
};

fn identity() -> RunIdentity {
    RunIdentity {
        namespace: "ns".to_owned(),
        name: "demo".to_owned(),
        uid: "run-uid".to_owned(),
    }
}

fn now() -> Timestamp {
    "2026-01-01T12:00:00Z".parse().unwrap()
}

fn owner(kind: &str, name: &str, uid: &str) -> Value {
    json!([{"apiVersion": "x/v1", "kind": kind, "name": name, "uid": uid, "controller": true}])
}

fn job(spec: Value, status: Value) -> Job {
    serde_json::from_value(json!({
        "metadata": {
            "name": KEY.job_name("demo"), "namespace": "ns", "uid": "job-uid",
            "labels": KEY.labels("demo"), "ownerReferences": owner("PruningRun", "demo", "run-uid"),
        },
        "spec": spec, "status": status,
    }))
    .unwrap()
}

/// Suspended by us.
fn suspended() -> Job {
    let mut job = job(json!({"suspend": true}), json!({}));
    let by_us = (ANNOTATION_SUSPENDED.to_owned(), "true".to_owned());
    job.metadata.annotations = Some([by_us].into());
    job
}

fn pod(name: &str, status: Value) -> Pod {
    serde_json::from_value(json!({
        "metadata": {
            "name": name, "namespace": "ns", "uid": name, "labels": KEY.labels("demo"),
            "ownerReferences": owner("Job", "demo-search-g0-a1", "job-uid"),
        },
        "spec": {"containers": [], "nodeName": "node-a"}, "status": status,
    }))
    .unwrap()
}

fn running(name: &str) -> Pod {
    let status = json!({
        "phase": "Running", "podIP": "10.0.0.1",
        "conditions": [{"type": "Ready", "status": "True"}],
        "containerStatuses": [container(json!({"running": {}}))],
    });
    pod(name, status)
}

fn container(state: Value) -> Value {
    json!({
        "name": "worker", "ready": false, "restartCount": 0, "image": "i", "imageID": "",
        "state": state,
    })
}

fn ended(name: &str, terminated: Value) -> Pod {
    let status = json!({
        "phase": "Failed",
        "containerStatuses": [container(json!({"terminated": terminated}))],
    });
    pod(name, status)
}

fn report(outcome: Outcome) -> TaskReport {
    TaskReport {
        outcome,
        ..TaskReport::running(&identity(), "w", TaskKind::Search)
    }
}

fn failed(code: u8, message: &str) -> TaskReport {
    let (reason, message) = ("Why".to_owned(), message.to_owned());
    report(Outcome::Failed {
        code,
        reason,
        message,
    })
}

fn seen(job: Job, pods: &[Pod]) -> crate::run_controller::observed::ObservedJob {
    seen_with(job, pods, &Events::new())
}

fn seen_with(
    job: Job,
    pods: &[Pod],
    events: &Events,
) -> crate::run_controller::observed::ObservedJob {
    let jobs = owned_jobs(vec![job], &identity());
    let status = PruningRunStatus::default();
    let observed = see(&jobs, pods, &identity(), status, events, now());
    observed.jobs.into_iter().next().unwrap()
}

/// One event on an object.
fn told(uid: &str, by: &str, reason: &str, note: &str) -> Events {
    let said = Said {
        at: now(),
        by: by.to_owned(),
        reason: reason.to_owned(),
        note: note.to_owned(),
    };
    Events::from([(uid.to_owned(), vec![said])])
}

#[test]
fn a_job_of_another_owner_is_not_seen() {
    let mut foreign = job(json!({}), json!({}));
    foreign.metadata.owner_references = None;
    assert!(owned_jobs(vec![foreign], &identity()).is_empty());
    let recreated = RunIdentity {
        uid: "newer".to_owned(),
        ..identity()
    };
    assert!(owned_jobs(vec![job(json!({}), json!({}))], &recreated).is_empty());
}

#[test]
fn a_job_says_what_it_was_made_from() {
    let run = include_str!("../../../tests/fixtures/cluster-run.yaml");
    let run: PruningRun = serde_saphyr::from_str(run).unwrap();
    let made = MadeFrom::spec(&run.spec).of_task(TaskKind::Search);
    let mut job = job(json!({}), json!({}));
    assert_eq!(seen(job.clone(), &[]).made_from, MadeFrom::default());
    let annotations = [(made_from::ANNOTATION.to_owned(), made.to_annotation())];
    job.metadata.annotations = Some(annotations.into());
    assert_eq!(seen(job, &[]).made_from, made);
}

#[test]
fn a_job_that_its_queue_holds_back_is_not_suspended_by_us() {
    let mut job = job(json!({"suspend": true}), json!({}));
    let by_others = seen(job.clone(), &[]);
    assert_eq!(by_others.state, JobState::SuspendedByOthers);
    assert_eq!(by_others.waiting.unwrap().stall, Stall::JobSuspended);
    let queue = ("kueue.x-k8s.io/queue-name".to_owned(), "gpus".to_owned());
    job.metadata.labels.get_or_insert_default().extend([queue]);
    let waits = seen(job.clone(), &[running("a")]);
    assert_eq!(
        (waits.state, waits.queue.as_deref()),
        (JobState::Queued, Some("gpus"))
    );
    job.spec.as_mut().unwrap().suspend = Some(false);
    let works = seen(job, &[running("a")]);
    assert_eq!(works.queue.as_deref(), Some("gpus"));
    assert!(matches!(works.state, JobState::Running { .. }));
}

#[test]
fn a_jobs_state_follows_its_conditions_its_spec_and_its_pods() {
    let is = |type_: &str| {
        json!({"conditions": [
        {"type": type_, "status": "True", "reason": "R", "message": "m"}]})
    };
    assert_eq!(
        seen(job(json!({}), json!({})), &[]).state,
        JobState::Pending
    );
    assert_eq!(seen(suspended(), &[]).state, JobState::Suspended);
    assert_eq!(
        seen(job(json!({}), is("Complete")), &[]).state,
        JobState::Complete
    );
    let state = seen(job(json!({}), is("Failed")), &[]).state;
    assert_eq!(
        state,
        JobState::Failed {
            reason: "R".to_owned(),
            message: "m".to_owned()
        }
    );
    // Workers are still leaving: the next task must wait for their devices.
    let leaving = seen(job(json!({}), is("FailureTarget")), &[running("a")]).state;
    assert_eq!(
        leaving,
        JobState::Running {
            active: 1,
            ready: 1
        }
    );
}

#[test]
fn workers_are_counted_by_what_they_hold_and_by_what_they_do() {
    let pending = pod("b", json!({"phase": "Pending"}));
    let gone = ended("c", json!({"exitCode": 1}));
    let state = seen(
        job(json!({"parallelism": 3}), json!({})),
        &[running("a"), pending, gone],
    );
    assert_eq!(
        state.state,
        JobState::Running {
            active: 2,
            ready: 1
        }
    );
    assert_eq!(state.parallelism, 3);
}

#[test]
fn a_final_report_is_read_from_the_termination_message() {
    let done = report(Outcome::Done);
    let pods = [
        ended(
            "a",
            json!({"exitCode": 75, "message": failed(75, "stopped").to_json()}),
        ),
        ended("b", json!({"exitCode": 0, "message": done.to_json()})),
    ];
    assert_eq!(seen(job(json!({}), json!({})), &pods).report, Some(done));
}

#[test]
fn a_report_of_another_run_or_task_is_none() {
    let mut foreign = report(Outcome::Done);
    foreign.run_uid = "other".to_owned();
    let mut other_task = report(Outcome::Done);
    other_task.task = TaskKind::Prepare;
    for text in [
        foreign.to_json(),
        other_task.to_json(),
        "{}".to_owned(),
        "no".to_owned(),
    ] {
        let pods = [ended("a", json!({"exitCode": 0, "message": text}))];
        assert_eq!(seen(job(json!({}), json!({})), &pods).report, None);
    }
}

#[test]
fn exits_are_told_newest_first_in_the_workers_own_words() {
    let pods = [
        ended(
            "old",
            json!({"exitCode": 70, "finishedAt": "2026-01-01T10:00:00Z",
            "message": failed(70, "a trial raised").to_json()}),
        ),
        ended(
            "new",
            json!({"exitCode": 137, "reason": "OOMKilled",
            "finishedAt": "2026-01-01T11:00:00Z"}),
        ),
        ended(
            "fine",
            json!({"exitCode": 0, "finishedAt": "2026-01-01T11:30:00Z"}),
        ),
        pod(
            "evicted",
            json!({"phase": "Failed", "reason": "Evicted", "message": "disk"}),
        ),
    ];
    let exits = seen(job(json!({}), json!({})), &pods).exits;
    let told: Vec<_> = exits
        .iter()
        .map(|e| (e.worker.as_str(), e.code, e.message.as_str()))
        .collect();
    assert_eq!(
        told,
        [
            ("new", None, "OOMKilled"),
            ("old", Some(70), "Why: a trial raised"),
            ("evicted", None, "Evicted: disk"),
        ]
    );
}

#[test]
fn thousands_of_exits_are_bounded() {
    let pods: Vec<_> = (0..3000)
        .map(|n| ended(&format!("w{n}"), json!({"exitCode": 75})))
        .collect();
    assert_eq!(seen(job(json!({}), json!({})), &pods).exits.len(), 10);
}

#[test]
fn one_worker_at_work_is_asked() {
    let jobs = owned_jobs(vec![job(json!({}), json!({}))], &identity());
    let mut leaving = running("a");
    leaving.metadata.deletion_timestamp =
        Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(now()));
    let pods = [
        running("c"),
        leaving,
        running("b"),
        pod("d", json!({"phase": "Pending"})),
    ];
    let (status, events) = (PruningRunStatus::default(), Events::new());
    let observed = see(&jobs, &pods, &identity(), status, &events, now());
    let (key, workers) = workers_at_work(&observed, &pods, &identity()).unwrap();
    let names: Vec<_> = workers.iter().map(|worker| worker.name_any()).collect();
    assert_eq!((key, names), (KEY, vec!["b".to_owned(), "c".to_owned()]));
}

#[test]
fn a_worker_at_work_is_heard_over_one_that_was_stopped() {
    let jobs = owned_jobs(vec![job(json!({}), json!({}))], &identity());
    let stopped = ended(
        "a",
        json!({"exitCode": 75, "message": failed(75, "").to_json()}),
    );
    let pods = [stopped, running("b")];
    let (status, events) = (PruningRunStatus::default(), Events::new());
    let mut observed = see(&jobs, &pods, &identity(), status, &events, now());
    hear(&mut observed, KEY, Some(report(Outcome::Running)));
    assert_eq!(observed.jobs[0].report, Some(report(Outcome::Running)));
    hear(&mut observed, KEY, None);
    assert_eq!(observed.jobs[0].report, Some(report(Outcome::Running)));
}

#[tokio::test]
async fn a_worker_is_asked_over_http() {
    let text = report(Outcome::Running).to_json();
    let router = axum::Router::new().route("/progress", axum::routing::get(|| async { text }));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(async { axum::serve(listener, router).await });
    let http = reqwest::Client::new();
    let said = progress(&http, &format!("http://{address}/progress")).await;
    assert_eq!(said, Some(report(Outcome::Running)));
    assert_eq!(
        progress(&http, &format!("http://{address}/elsewhere")).await,
        None
    );
    server.abort();
}
