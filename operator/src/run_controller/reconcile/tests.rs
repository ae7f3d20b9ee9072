//! Whole looks at a run against a stand-in for the API server, with its faults.

mod leaving;
mod lists;

use super::*;
use http::{Method, Request, Response};
use kube::{Client, client::Body};
use serde_json::{Value, json};
use std::{collections::VecDeque, sync::Mutex};

use crate::{
    metrics::Metrics,
    run_controller::{Limits, WorkerImage},
};

const RUN: &str = include_str!("../../../tests/fixtures/cluster-run.yaml");

/// One request that is expected, and its answer.
struct Exchange {
    method: Method,
    path: &'static str,
    code: u16,
    answer: Value,
}

fn exchange(method: Method, path: &'static str, code: u16, answer: Value) -> Exchange {
    Exchange {
        method,
        path,
        code,
        answer,
    }
}

fn empty_list(kind: &str, version: &str) -> Value {
    json!({"apiVersion": version, "kind": kind, "metadata": {}, "items": []})
}

fn list(kind: &str, version: &str, item: Value) -> Value {
    json!({"apiVersion": version, "kind": kind, "metadata": {}, "items": [item]})
}

fn failure(code: u16, reason: &str, message: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Status", "status": "Failure", "code": code,
        "reason": reason, "message": message})
}

const JOBS: &str = "/apis/batch/v1/namespaces/research/jobs";
const PREPARE: &str = "/apis/batch/v1/namespaces/research/jobs/smollm2-prepare-a1";
const STATUS: &str = "/apis/darwinlm.io/v1alpha1/namespaces/research/pruningruns/smollm2/status";
const CLAIMS: &str = "/api/v1/namespaces/research/persistentvolumeclaims/";
const EXPORTS: &str = "/api/v1/namespaces/research/persistentvolumeclaims/exports";
const MODELS: &str = "/api/v1/namespaces/research/persistentvolumeclaims/models";
const STORE: &str = "/api/v1/namespaces/research/persistentvolumeclaims/store";
const TEXT: &str = "/api/v1/namespaces/research/persistentvolumeclaims/text";
const EVENTS: &str = "/apis/events.k8s.io/v1/namespaces/research/events";

fn run() -> Arc<PruningRun> {
    Arc::new(serde_saphyr::from_str(RUN).unwrap())
}

fn answer(code: u16, answer: &Value) -> Response<Body> {
    let body = Body::from(serde_json::to_vec(answer).unwrap());
    Response::builder().status(code).body(body).unwrap()
}

/// A claim that any number of pods may write to.
fn shared() -> Value {
    claim("ReadWriteMany")
}

fn claim(access_mode: &str) -> Value {
    json!({"metadata": {"name": "c"}, "spec": {"accessModes": [access_mode]}})
}

/// The bodies of the requests, in their order.
type Sent = Arc<Mutex<Vec<Value>>>;

/// A context whose API server expects these exchanges in this order, and ends with them.
fn context(exchanges: Vec<Exchange>) -> (Arc<Context>, Sent, tokio::task::JoinHandle<()>) {
    let (service, mut handle) = tower_test::mock::pair::<Request<Body>, Response<Body>>();
    let sent = Sent::default();
    let (bodies, mut left) = (sent.clone(), VecDeque::from(exchanges));
    let server = tokio::spawn(async move {
        while let Some(expected) = left.pop_front() {
            let (request, send) = handle.next_request().await.expect("a request");
            if let Some(claim) = request.uri().path().strip_prefix(CLAIMS)
                && !expected.path.starts_with(CLAIMS)
            {
                // Unless a test speaks of them, claims are there and can be shared.
                assert!(["exports", "models", "store", "text"].contains(&claim));
                send.send_response(answer(200, &shared()));
                left.push_front(expected);
                continue;
            }
            if request.uri().path() == PODS && expected.path != PODS {
                // Unless a test speaks of them, there are no pods.
                send.send_response(answer(200, &empty_list("PodList", "v1")));
                left.push_front(expected);
                continue;
            }
            assert_eq!(
                (request.method(), request.uri().path()),
                (&expected.method, expected.path)
            );
            let body = request.into_body().collect_bytes().await.unwrap();
            let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
            bodies.lock().unwrap().push(body);
            send.send_response(answer(expected.code, &expected.answer));
        }
        while let Some((request, send)) = handle.next_request().await {
            let asked = format!("{} {}", request.method(), request.uri());
            assert_eq!(request.uri().path(), PODS, "one request too many: {asked}");
            send.send_response(answer(200, &empty_list("PodList", "v1")));
        }
    });
    let limits = Limits {
        concurrency: 1,
        poll: Duration::from_secs(10),
        status: Duration::from_secs(5),
        stall: Duration::from_secs(900),
        clean_up: Duration::from_secs(600),
    };
    let image = WorkerImage {
        image: "runner:1".to_owned(),
        pull_policy: "Never".to_owned(),
    };
    let client = Client::new(service, "research");
    let context = Context::new(
        client,
        Some("test".to_owned()),
        Metrics::new(),
        image,
        limits,
    );
    (Arc::new(context), sent, server)
}

/// Ends the context, so that the server checks that every exchange took place.
async fn finish(context: Arc<Context>, server: tokio::task::JoinHandle<()>) {
    assert_eq!(Arc::strong_count(&context), 1);
    drop(context);
    server.await.unwrap();
}

fn condition<'a>(status: &'a Value, type_: &str) -> &'a Value {
    let conditions = status["status"]["conditions"].as_array().unwrap();
    conditions
        .iter()
        .find(|condition| condition["type"] == type_)
        .unwrap()
}

#[tokio::test]
async fn the_first_look_makes_the_first_job_and_says_so() {
    let (context, sent, server) = context(vec![
        exchange(Method::GET, JOBS, 200, empty_list("JobList", "batch/v1")),
        exchange(
            Method::POST,
            JOBS,
            201,
            json!({"metadata": {"name": "smollm2-prepare-a1"}}),
        ),
        exchange(
            Method::PATCH,
            STATUS,
            200,
            serde_json::to_value(&*run()).unwrap(),
        ),
        exchange(Method::POST, EVENTS, 201, json!({"metadata": {}})),
        exchange(Method::POST, EVENTS, 201, json!({"metadata": {}})),
    ]);
    let action = reconcile(run(), context.clone()).await.unwrap();
    assert_eq!(action, NextLook::In(Duration::from_secs(10)));
    finish(context, server).await;
    let sent = sent.lock().unwrap();
    assert_eq!(sent[1]["metadata"]["name"], "smollm2-prepare-a1");
    assert_eq!(
        sent[1]["metadata"]["ownerReferences"][0]["uid"],
        run().uid().unwrap()
    );
    let status = &sent[2];
    assert_eq!(status["metadata"]["uid"], run().uid().unwrap());
    assert_eq!(status["status"]["observedGeneration"], 3);
    assert_eq!(condition(status, "Accepted")["status"], "True");
    assert_eq!(condition(status, "Succeeded")["status"], "Unknown");
    assert!(status.get("spec").is_none());
    let reasons: Vec<_> = sent[3..]
        .iter()
        .map(|event| event["reason"].clone())
        .collect();
    assert_eq!(reasons, ["RunAccepted", "TaskStarted"]);
}

#[tokio::test]
async fn a_job_whose_creation_was_not_answered_is_taken_as_ours() {
    let existing = json!({"metadata": {"name": "smollm2-prepare-a1", "ownerReferences": [
        {"apiVersion": "darwinlm.io/v1alpha1", "kind": "PruningRun", "name": "smollm2",
         "uid": run().uid().unwrap(), "controller": true}]}});
    let (context, _, server) = context(vec![
        exchange(Method::GET, JOBS, 200, empty_list("JobList", "batch/v1")),
        exchange(
            Method::POST,
            JOBS,
            409,
            failure(409, "AlreadyExists", "exists"),
        ),
        exchange(Method::GET, PREPARE, 200, existing),
        exchange(
            Method::PATCH,
            STATUS,
            200,
            serde_json::to_value(&*run()).unwrap(),
        ),
        exchange(Method::POST, EVENTS, 201, json!({"metadata": {}})),
    ]);
    reconcile(run(), context.clone()).await.unwrap();
    finish(context, server).await;
}

#[tokio::test]
async fn a_job_of_somebody_else_is_left_alone_and_named() {
    let foreign = json!({"metadata": {"name": "smollm2-prepare-a1", "ownerReferences": []}});
    let (context, sent, server) = context(vec![
        exchange(Method::GET, JOBS, 200, empty_list("JobList", "batch/v1")),
        exchange(
            Method::POST,
            JOBS,
            409,
            failure(409, "AlreadyExists", "exists"),
        ),
        exchange(Method::GET, PREPARE, 200, foreign),
        exchange(
            Method::PATCH,
            STATUS,
            200,
            serde_json::to_value(&*run()).unwrap(),
        ),
        exchange(Method::POST, EVENTS, 201, json!({"metadata": {}})),
        exchange(Method::POST, EVENTS, 201, json!({"metadata": {}})),
    ]);
    let error = reconcile(run(), context.clone()).await.unwrap_err();
    assert_eq!(error.kind(), "name_taken");
    finish(context, server).await;
    let sent = sent.lock().unwrap();
    let progressing = condition(&sent[3], "Progressing");
    assert_eq!(
        (&progressing["status"], &progressing["reason"]),
        (&json!("False"), &json!("NameTaken"))
    );
    let message = progressing["message"].as_str().unwrap();
    assert!(message.contains("research/smollm2-prepare-a1"), "{message}");
    assert_eq!(sent[5]["reason"], "Stalled");
}

#[tokio::test]
async fn what_a_quota_refuses_is_told_in_the_api_servers_words() {
    let (context, sent, server) = context(vec![
        exchange(Method::GET, JOBS, 200, empty_list("JobList", "batch/v1")),
        exchange(
            Method::POST,
            JOBS,
            403,
            failure(403, "Forbidden", "exceeded quota: jobs"),
        ),
        exchange(
            Method::PATCH,
            STATUS,
            200,
            serde_json::to_value(&*run()).unwrap(),
        ),
        exchange(Method::POST, EVENTS, 201, json!({"metadata": {}})),
        exchange(Method::POST, EVENTS, 201, json!({"metadata": {}})),
    ]);
    let error = reconcile(run(), context.clone()).await.unwrap_err();
    assert_eq!(error.kind(), "refused");
    finish(context, server).await;
    let message = condition(&sent.lock().unwrap()[2], "Progressing")["message"].clone();
    assert!(
        message.as_str().unwrap().contains("exceeded quota: jobs"),
        "{message}"
    );
}

#[test]
fn what_is_not_possible_has_not_been_since_it_was_first_said() {
    let at = |second| Timestamp::from_second(second).unwrap();
    let waiting = Waiting {
        stall: darwinlm_api::conditions::Stall::QuotaExceeded,
        words: "no room".to_owned(),
    };
    let decided = |known: &PruningRunStatus, now| {
        let mut status = known.clone();
        let starts = Finding {
            type_: ConditionType::Progressing,
            status: ConditionStatus::True,
            reason: conditions::Reason::Starting,
            message: "search starts".to_owned(),
        };
        conditions::set(&mut status.conditions, starts, Some(1), now);
        status
    };
    let nothing = PruningRunStatus::default();
    let first = blocked(decided(&nothing, at(1)), &nothing, &waiting, Some(1), at(1));
    let again = blocked(decided(&first, at(60)), &first, &waiting, Some(1), at(60));
    assert_eq!(again, first);
}

#[tokio::test]
async fn a_panic_over_one_run_is_an_error_of_that_run() {
    let text = said_in(&*std::panic::catch_unwind(|| panic!("of {}", 7)).unwrap_err());
    assert_eq!(text, "of 7");
    let text = said_in(&*std::panic::catch_unwind(|| panic!("plain")).unwrap_err());
    assert_eq!(text, "plain");
    let service = tower::service_fn(|_: Request<Body>| async {
        match Some(7) {
            Some(number) => panic!("of {number}"),
            None => Ok::<_, std::io::Error>(Response::new(Body::empty())),
        }
    });
    let (context, _, server) = context(vec![]);
    let panics = Context::new(
        Client::new(service, "research"),
        None,
        Metrics::new(),
        context.worker_image.clone(),
        context.limits,
    );
    let failed = reconcile(run(), Arc::new(panics)).await.unwrap_err();
    assert_eq!(failed.to_string(), "the look at the run panicked: of 7");
    finish(context, server).await;
}

#[tokio::test]
async fn a_server_error_changes_nothing_and_is_tried_again_later() {
    let error = || failure(500, "InternalError", "etcd is away");
    let (context, _, server) = context(vec![
        exchange(Method::GET, JOBS, 500, error()),
        exchange(Method::GET, JOBS, 200, empty_list("JobList", "batch/v1")),
        exchange(Method::POST, JOBS, 500, error()),
        exchange(Method::GET, JOBS, 200, empty_list("JobList", "batch/v1")),
        exchange(
            Method::POST,
            JOBS,
            201,
            json!({"metadata": {"name": "smollm2-prepare-a1"}}),
        ),
        exchange(Method::PATCH, STATUS, 500, error()),
    ]);
    for kind in ["observe", "apply", "update_status"] {
        let error = reconcile(run(), context.clone()).await.unwrap_err();
        assert_eq!(error.kind(), kind);
        let wait = after_failure(&run(), &context);
        assert_ne!(wait, NextLook::OnChange);
    }
    finish(context, server).await;
}

#[tokio::test]
async fn a_rejected_run_makes_nothing_and_says_why() {
    let mut rejected = (*run()).clone();
    rejected.spec.evaluation = serde_json::from_value(json!({"tasks": ["sciq"]})).unwrap();
    let (context, sent, server) = context(vec![
        exchange(Method::GET, JOBS, 200, empty_list("JobList", "batch/v1")),
        exchange(
            Method::PATCH,
            STATUS,
            200,
            serde_json::to_value(&*run()).unwrap(),
        ),
        exchange(Method::POST, EVENTS, 201, json!({"metadata": {}})),
        exchange(Method::GET, JOBS, 200, empty_list("JobList", "batch/v1")),
    ]);
    let rejected = Arc::new(rejected);
    let action = reconcile(rejected.clone(), context.clone()).await.unwrap();
    assert_eq!(action, NextLook::OnChange);
    // The second look finds everything said and writes nothing.
    reconcile(rejected, context.clone()).await.unwrap();
    finish(context, server).await;
    let sent = sent.lock().unwrap();
    let accepted = condition(&sent[1], "Accepted");
    assert_eq!(
        (&accepted["status"], &accepted["reason"]),
        (&json!("False"), &json!("NotYetSupported"))
    );
    assert_eq!(sent[2]["reason"], "RunRejected");
    assert_eq!(sent[2]["type"], "Warning");
}

#[tokio::test]
async fn a_claim_that_several_workers_cannot_share_makes_no_job() {
    let (context, sent, server) = context(vec![
        exchange(Method::GET, JOBS, 200, empty_list("JobList", "batch/v1")),
        exchange(Method::GET, EXPORTS, 200, shared()),
        exchange(Method::GET, MODELS, 200, claim("ReadOnlyMany")),
        exchange(Method::GET, STORE, 200, claim("ReadWriteOnce")),
        exchange(Method::GET, TEXT, 200, shared()),
        exchange(
            Method::PATCH,
            STATUS,
            200,
            serde_json::to_value(&*run()).unwrap(),
        ),
        exchange(Method::POST, EVENTS, 201, json!({"metadata": {}})),
        // A claim of the same name that can be shared is found at the next look.
        exchange(Method::GET, JOBS, 200, empty_list("JobList", "batch/v1")),
        exchange(
            Method::POST,
            JOBS,
            201,
            json!({"metadata": {"name": "smollm2-prepare-a1"}}),
        ),
        exchange(
            Method::PATCH,
            STATUS,
            200,
            serde_json::to_value(&*run()).unwrap(),
        ),
        exchange(Method::POST, EVENTS, 201, json!({"metadata": {}})),
        exchange(Method::POST, EVENTS, 201, json!({"metadata": {}})),
    ]);
    let again = NextLook::In(Duration::from_secs(10));
    assert_eq!(reconcile(run(), context.clone()).await.unwrap(), again);
    assert_eq!(reconcile(run(), context.clone()).await.unwrap(), again);
    finish(context, server).await;
    let sent = sent.lock().unwrap();
    let accepted = condition(&sent[5], "Accepted");
    assert_eq!(
        (&accepted["status"], &accepted["reason"]),
        (&json!("False"), &json!("VolumeNotShared"))
    );
    assert_eq!(
        accepted["message"],
        "spec.artifacts.store names the claim \"store\", which is ReadWriteOnce, and \
         spec.pruning.workers is 2 and spec.search.workers is 4; several workers share a claim \
         that is ReadWriteMany: replace it by such a claim, or ask for 1 worker"
    );
    assert_eq!(sent[6]["reason"], "RunRejected");
    assert_eq!(condition(&sent[9], "Accepted")["status"], "True");
}

#[tokio::test]
async fn a_claim_that_the_operator_may_not_see_holds_nobody_up() {
    let refused = || failure(403, "Forbidden", "no claims");
    let (context, sent, server) = context(vec![
        exchange(Method::GET, JOBS, 200, empty_list("JobList", "batch/v1")),
        exchange(Method::GET, EXPORTS, 403, refused()),
        exchange(Method::GET, MODELS, 403, refused()),
        exchange(Method::GET, STORE, 403, refused()),
        exchange(Method::GET, TEXT, 403, refused()),
        exchange(
            Method::POST,
            JOBS,
            201,
            json!({"metadata": {"name": "smollm2-prepare-a1"}}),
        ),
        exchange(
            Method::PATCH,
            STATUS,
            200,
            serde_json::to_value(&*run()).unwrap(),
        ),
        exchange(Method::POST, EVENTS, 201, json!({"metadata": {}})),
        exchange(Method::POST, EVENTS, 201, json!({"metadata": {}})),
    ]);
    reconcile(run(), context.clone()).await.unwrap();
    finish(context, server).await;
    assert_eq!(
        condition(&sent.lock().unwrap()[6], "Accepted")["status"],
        "True"
    );
}

#[tokio::test]
async fn a_lost_event_is_no_failure() {
    let (context, _, server) = context(vec![
        exchange(Method::GET, JOBS, 200, empty_list("JobList", "batch/v1")),
        exchange(
            Method::POST,
            JOBS,
            201,
            json!({"metadata": {"name": "smollm2-prepare-a1"}}),
        ),
        exchange(
            Method::PATCH,
            STATUS,
            200,
            serde_json::to_value(&*run()).unwrap(),
        ),
        exchange(
            Method::POST,
            EVENTS,
            403,
            failure(403, "Forbidden", "no events"),
        ),
        exchange(
            Method::POST,
            EVENTS,
            403,
            failure(403, "Forbidden", "no events"),
        ),
    ]);
    reconcile(run(), context.clone()).await.unwrap();
    finish(context, server).await;
}

#[tokio::test]
async fn a_run_that_was_replaced_gets_no_status() {
    let (context, _, server) = context(vec![
        exchange(Method::GET, JOBS, 200, empty_list("JobList", "batch/v1")),
        exchange(
            Method::POST,
            JOBS,
            201,
            json!({"metadata": {"name": "smollm2-prepare-a1"}}),
        ),
        exchange(
            Method::PATCH,
            STATUS,
            409,
            failure(409, "Conflict", "uid mismatch"),
        ),
        exchange(Method::POST, EVENTS, 201, json!({"metadata": {}})),
        exchange(Method::POST, EVENTS, 201, json!({"metadata": {}})),
    ]);
    reconcile(run(), context.clone()).await.unwrap();
    finish(context, server).await;
}

#[tokio::test]
async fn a_run_on_its_way_out_is_left_to_its_owner_references() {
    let mut leaving = (*run()).clone();
    leaving.metadata.deletion_timestamp = Some(
        k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(Timestamp::now()),
    );
    let (context, _, server) = context(Vec::new());
    let action = reconcile(Arc::new(leaving), context.clone()).await.unwrap();
    assert_eq!(action, NextLook::OnChange);
    finish(context, server).await;
}

#[tokio::test]
async fn nothing_is_made_in_a_namespace_on_its_way_out() {
    let mut refusal = failure(403, "Forbidden", "because it is being terminated");
    refusal["details"] = json!({"causes": [{"reason": "NamespaceTerminating", "message": ""}]});
    let (context, sent, server) = context(vec![
        exchange(Method::GET, JOBS, 200, empty_list("JobList", "batch/v1")),
        exchange(Method::POST, JOBS, 403, refusal.clone()),
        exchange(
            Method::PATCH,
            STATUS,
            200,
            serde_json::to_value(&*run()).unwrap(),
        ),
        exchange(Method::POST, EVENTS, 403, refusal),
    ]);
    reconcile(run(), context.clone()).await.unwrap();
    finish(context, server).await;
    assert_eq!(
        condition(&sent.lock().unwrap()[2], "Progressing")["status"],
        "True"
    );
}

#[tokio::test]
async fn a_worker_that_the_network_hides_is_heard_through_its_log() {
    let key = json!({"darwinlm.io/run": "smollm2", "darwinlm.io/task": "search",
        "darwinlm.io/first-generation": "0", "darwinlm.io/attempt": "1",
        "app.kubernetes.io/name": "darwinlm", "app.kubernetes.io/instance": "smollm2",
        "app.kubernetes.io/managed-by": "darwinlm-operator",
        "app.kubernetes.io/component": "search"});
    let owned = |uid: &str| {
        json!([{"apiVersion": "x/v1", "kind": "x", "name": "x",
        "uid": uid, "controller": true}])
    };
    let job = json!({"metadata": {"name": "smollm2-search-g0-a1", "uid": "job", "labels": key,
        "ownerReferences": owned(&run().uid().unwrap())}, "spec": {"parallelism": 4, "template": {}}});
    // Without an address there is nobody to ask over the network.
    let pod = json!({"metadata": {"name": "w", "labels": key, "ownerReferences": owned("job")},
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}});
    let identity = darwinlm_task::RunIdentity {
        namespace: "research".to_owned(),
        name: "smollm2".to_owned(),
        uid: run().uid().unwrap(),
    };
    let mut report = darwinlm_task::TaskReport::running(&identity, "w", TaskKind::Search);
    report.progress = Some(darwinlm_task::Progress {
        done: 1,
        total: 2,
        unit: "trials".to_owned(),
    });
    let line = json!({"message": "the task goes on", "progress_report": report.to_json()});
    const LOG: &str = "/api/v1/namespaces/research/pods/w/log";
    const PODS: &str = "/api/v1/namespaces/research/pods";
    let (context, _, server) = context(vec![
        exchange(Method::GET, JOBS, 200, list("JobList", "batch/v1", job)),
        exchange(Method::GET, PODS, 200, list("PodList", "v1", pod)),
        exchange(Method::GET, LOG, 200, line),
    ]);
    let status = PruningRunStatus::default();
    let look = Look {
        client: &context.client,
        http: &context.http,
        stall: context.limits.stall,
        unheard: Duration::ZERO,
        since: &Seen::default(),
        caches: &context.caches,
        now: Timestamp::now(),
    };
    let observed = observe(look, &run(), status).await.unwrap();
    assert_eq!(observed.jobs[0].report, Some(report));
    finish(context, server).await;
}

const PODS: &str = "/api/v1/namespaces/research/pods";
