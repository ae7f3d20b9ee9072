//! A run that is deleted, and one whose time is over.

use super::*;

const SELF: &str = "/apis/darwinlm.io/v1alpha1/namespaces/research/pruningruns/smollm2";

/// The run, with `spec.retain: Export`, changed.
fn changed(change: impl FnOnce(&mut PruningRun)) -> Arc<PruningRun> {
    let mut run = (*run()).clone();
    run.spec.retain = Retain::Export;
    change(&mut run);
    Arc::new(run)
}

fn time(text: &str) -> k8s_openapi::apimachinery::pkg::apis::meta::v1::Time {
    serde_json::from_value(json!(text)).unwrap()
}

/// Deleted so many seconds ago, and held back.
fn deleted(seconds: i64) -> Arc<PruningRun> {
    changed(|run| {
        let ago = Timestamp::now() - k8s_openapi::jiff::SignedDuration::from_secs(seconds);
        run.metadata.deletion_timestamp = Some(time(&ago.to_string()));
        run.metadata.finalizers = Some(vec!["darwinlm.io/clean-up".to_owned()]);
    })
}

fn whole() -> Value {
    serde_json::to_value(&*run()).unwrap()
}

#[tokio::test]
async fn a_run_is_held_back_before_anything_of_it_is_written() {
    let (context, sent, server) = context(vec![
        exchange(Method::GET, JOBS, 200, empty_list("JobList", "batch/v1")),
        exchange(Method::PATCH, SELF, 200, whole()),
        exchange(
            Method::POST,
            JOBS,
            201,
            json!({"metadata": {"name": "smollm2-prepare-a1"}}),
        ),
        exchange(Method::PATCH, STATUS, 200, whole()),
        exchange(Method::POST, EVENTS, 201, json!({"metadata": {}})),
        exchange(Method::POST, EVENTS, 201, json!({"metadata": {}})),
    ]);
    reconcile(changed(|_| ()), context.clone()).await.unwrap();
    finish(context, server).await;
    let sent = sent.lock().unwrap();
    let metadata = &sent[1]["metadata"];
    assert_eq!(metadata["finalizers"], json!(["darwinlm.io/clean-up"]));
    assert_eq!(metadata["uid"], json!(run().uid()));
    assert!(sent[1].get("spec").is_none());
}

#[tokio::test]
async fn a_deleted_run_waits_for_its_jobs_then_for_its_clean_up() {
    let job = json!({"metadata": {"name": "smollm2-prepare-a1", "uid": "j", "labels": {
        "darwinlm.io/run": "smollm2", "darwinlm.io/task": "prepare", "darwinlm.io/attempt": "1"},
        "ownerReferences": [{"apiVersion": "darwinlm.io/v1alpha1", "kind": "PruningRun",
            "name": "smollm2", "uid": run().uid().unwrap(), "controller": true}]},
        "spec": {"template": {}}});
    let mut jobs = empty_list("JobList", "batch/v1");
    jobs["items"] = json!([job]);
    let pods = || empty_list("PodList", "v1");
    let (context, sent, server) = context(vec![
        exchange(Method::GET, JOBS, 200, jobs),
        exchange(Method::GET, PODS, 200, pods()),
        exchange(Method::GET, PODS, 200, pods()),
        exchange(Method::DELETE, PREPARE, 200, job),
        exchange(Method::PATCH, STATUS, 200, whole()),
        exchange(Method::GET, JOBS, 200, empty_list("JobList", "batch/v1")),
        exchange(Method::GET, PODS, 200, pods()),
        exchange(
            Method::POST,
            JOBS,
            201,
            json!({"metadata": {"name": "smollm2-clean-up-a1"}}),
        ),
    ]);
    for _ in 0..2 {
        let action = reconcile(deleted(1), context.clone()).await.unwrap();
        assert_eq!(action, NextLook::In(Duration::from_secs(5)));
    }
    finish(context, server).await;
    let sent = sent.lock().unwrap();
    assert_eq!(sent[3]["propagationPolicy"], "Foreground");
    assert_eq!(sent[4]["status"]["stage"], "CleaningUp");
    assert_eq!(sent[7]["metadata"]["name"], "smollm2-clean-up-a1");
    // Deleted in the foreground, the run does not wait for it.
    let owner = &sent[7]["metadata"]["ownerReferences"][0];
    assert_eq!(owner["blockOwnerDeletion"], false);
}

#[tokio::test]
async fn a_run_in_a_namespace_that_goes_is_let_go_at_once_with_a_warning() {
    let mut refused = failure(403, "Forbidden", "the namespace is being terminated");
    refused["details"] = json!({"causes": [{"reason": "NamespaceTerminating"}]});
    let (context, sent, server) = context(vec![
        exchange(Method::GET, JOBS, 200, empty_list("JobList", "batch/v1")),
        exchange(Method::GET, PODS, 200, empty_list("PodList", "v1")),
        exchange(Method::POST, JOBS, 403, refused),
        exchange(Method::POST, EVENTS, 201, json!({"metadata": {}})),
        exchange(Method::PATCH, SELF, 200, whole()),
    ]);
    let action = reconcile(deleted(1), context.clone()).await.unwrap();
    assert_eq!(action, NextLook::OnChange);
    finish(context, server).await;
    let sent = sent.lock().unwrap();
    assert_eq!(
        (&sent[3]["reason"], &sent[3]["type"]),
        (&json!("LeftBehind"), &json!("Warning"))
    );
    let note = sent[3]["note"].as_str().unwrap();
    assert!(
        note.contains("runs/research.smollm2 stays in pvc://"),
        "{note}"
    );
    assert!(sent[4]["metadata"].get("finalizers").is_none());
}

#[tokio::test]
async fn a_clean_up_that_never_ends_holds_nobody_back_for_longer_than_its_time() {
    let (context, sent, server) = context(vec![
        exchange(Method::GET, JOBS, 200, empty_list("JobList", "batch/v1")),
        exchange(Method::GET, PODS, 200, empty_list("PodList", "v1")),
        exchange(Method::POST, EVENTS, 201, json!({"metadata": {}})),
        exchange(Method::PATCH, SELF, 200, whole()),
    ]);
    reconcile(deleted(601), context.clone()).await.unwrap();
    finish(context, server).await;
    assert_eq!(sent.lock().unwrap()[2]["reason"], "LeftBehind");
}

#[tokio::test]
async fn a_run_that_is_deleted_and_not_held_back_needs_nothing() {
    let (context, _, server) = context(vec![]);
    let gone = changed(|run| run.metadata.deletion_timestamp = Some(time("2026-01-01T00:00:00Z")));
    reconcile(gone, context.clone()).await.unwrap();
    finish(context, server).await;
}

#[tokio::test]
async fn a_run_whose_time_after_its_end_is_over_is_deleted_as_it_was_seen() {
    let ended = |ttl: i32| {
        changed(|run| {
            run.spec.retain = Retain::All;
            run.spec.ttl_seconds_after_finished = Some(ttl);
            run.metadata.resource_version = Some("77".to_owned());
            let status = json!({"observedGeneration": 3, "conditions": [
                {"type": "Succeeded", "status": "True", "reason": "Succeeded", "message": "",
                 "observedGeneration": 3, "lastTransitionTime": "2026-01-01T00:00:00Z"}]});
            run.status = serde_json::from_value(status).unwrap();
        })
    };
    let (context, sent, server) = context(vec![
        exchange(Method::GET, JOBS, 200, empty_list("JobList", "batch/v1")),
        exchange(Method::GET, JOBS, 200, empty_list("JobList", "batch/v1")),
        exchange(Method::DELETE, SELF, 200, whole()),
        exchange(Method::GET, JOBS, 200, empty_list("JobList", "batch/v1")),
        exchange(
            Method::DELETE,
            SELF,
            409,
            failure(409, "Conflict", "it has changed"),
        ),
    ]);
    // A century is not over; the operator comes back when it is.
    let waits = reconcile(ended(i32::MAX), context.clone()).await.unwrap();
    assert_ne!(waits, NextLook::OnChange);
    let gone = reconcile(ended(60), context.clone()).await.unwrap();
    assert_eq!(gone, NextLook::OnChange);
    let again = reconcile(ended(60), context.clone()).await.unwrap();
    assert_eq!(again, NextLook::In(Duration::from_secs(1)));
    finish(context, server).await;
    let preconditions = &sent.lock().unwrap()[2]["preconditions"];
    assert_eq!(preconditions["resourceVersion"], "77");
    assert_eq!(preconditions["uid"], json!(run().uid()));
}
