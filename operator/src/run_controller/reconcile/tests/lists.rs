//! Lists are as new as they have to be, and no newer.

use super::*;

/// Lists as they are asked for, and what they are answered: the version of each object, or a failure.
struct Listed {
    path: &'static str,
    since: Option<&'static str>,
    answer: Value,
}

/// A look at a run whose API server expects these lists alone.
async fn look_at(listed: Vec<Listed>, since: Seen) -> Observed {
    let (service, mut handle) = tower_test::mock::pair::<Request<Body>, Response<Body>>();
    let server = tokio::spawn(async move {
        let mut unanswered = Vec::new();
        for expected in listed {
            let (request, send) = handle.next_request().await.expect("a list");
            let query = request.uri().query().unwrap_or_default();
            let asked = query
                .split('&')
                .find_map(|part| part.strip_prefix("resourceVersion="));
            assert_eq!(
                (request.uri().path(), asked),
                (expected.path, expected.since),
                "{query}"
            );
            assert_eq!(
                query.contains("resourceVersionMatch=NotOlderThan"),
                asked.is_some()
            );
            if expected.answer.is_null() {
                // It never answers, and is not waited for.
                unanswered.push(send);
                continue;
            }
            let code = expected.answer["code"].as_u64().unwrap_or(200);
            send.send_response(answer(u16::try_from(code).unwrap(), &expected.answer));
        }
        assert!(
            handle.next_request().await.is_none(),
            "one request too many"
        );
    });
    let client = Client::new(service, "research");
    let look = Look {
        client: &client,
        http: &reqwest::Client::new(),
        stall: Duration::from_secs(900),
        unheard: Duration::ZERO,
        since: &since,
        now: Timestamp::now(),
    };
    let observed = observe(look, &run(), PruningRunStatus::default())
        .await
        .unwrap();
    drop(client);
    server.await.unwrap();
    observed
}

/// The Job that prepares the run, complete or not, or its pod, ended or not.
fn part_of_the_run(kind: &str, version: &str, has_ended: bool) -> Value {
    let (owner, status) = match (kind, has_ended) {
        ("Job", true) => (
            "PruningRun",
            json!({"succeeded": 1, "conditions": [{"type": "Complete", "status": "True"}]}),
        ),
        ("Job", false) => ("PruningRun", json!({"active": 1})),
        (_, true) => ("Job", json!({"phase": "Succeeded"})),
        (_, false) => ("Job", json!({"phase": "Pending"})),
    };
    let uid = if owner == "Job" {
        "j".to_owned()
    } else {
        run().uid().unwrap()
    };
    let object = json!({"metadata": {"name": "smollm2-prepare-a1", "uid": "j",
        "creationTimestamp": Timestamp::now().to_string(),
        "labels": {"darwinlm.io/run": "smollm2", "darwinlm.io/task": "prepare", "darwinlm.io/attempt": "1"},
        "ownerReferences": [{"apiVersion": "v1", "kind": owner, "name": "o", "uid": uid, "controller": true}]},
        "spec": {"template": {}, "containers": []}, "status": status});
    let mut list = match kind {
        "Job" => list("JobList", "batch/v1", object),
        _ => list("PodList", "v1", object),
    };
    list["metadata"]["resourceVersion"] = version.into();
    list
}

fn asked(path: &'static str, since: Option<&'static str>, answer: Value) -> Listed {
    Listed {
        path,
        since,
        answer,
    }
}

fn seen(jobs: u64, pods: u64, heard: &[&str]) -> Seen {
    let heard = heard.iter().map(|uid| (*uid).to_owned()).collect();
    Seen { jobs, pods, heard }
}

#[tokio::test]
async fn a_list_is_never_older_than_what_this_process_has_seen() {
    let at_work = vec![
        asked(JOBS, None, part_of_the_run("Job", "70", false)),
        asked(PODS, None, part_of_the_run("Pod", "71", false)),
    ];
    let first = look_at(at_work, Seen::default()).await.seen;
    assert_eq!(first, seen(70, 71, &[]));
    let at_work = vec![
        asked(JOBS, Some("70"), part_of_the_run("Job", "75", false)),
        asked(PODS, Some("71"), part_of_the_run("Pod", "71", false)),
    ];
    assert_eq!(look_at(at_work, first).await.seen, seen(75, 71, &[]));
}

#[tokio::test]
async fn the_pods_of_a_job_that_has_ended_are_once_listed_as_they_are_now() {
    let ended = vec![
        asked(JOBS, Some("70"), part_of_the_run("Job", "80", true)),
        asked(PODS, None, part_of_the_run("Pod", "79", true)),
    ];
    let heard = look_at(ended, seen(70, 71, &[])).await.seen;
    assert_eq!(heard, seen(80, 79, &["j"]));
    let later = vec![
        asked(JOBS, Some("80"), part_of_the_run("Job", "80", true)),
        asked(PODS, Some("79"), part_of_the_run("Pod", "79", true)),
    ];
    assert_eq!(look_at(later, heard.clone()).await.seen, heard);
}

#[tokio::test]
async fn what_is_now_is_listed_where_the_servers_cache_stays_behind() {
    let words = "Too large resource version: 70, current: 12";
    let listed = vec![
        asked(JOBS, Some("70"), failure(504, "Timeout", words)),
        asked(JOBS, None, part_of_the_run("Job", "12", false)),
        asked(PODS, Some("71"), Value::Null),
        asked(PODS, None, part_of_the_run("Pod", "13", false)),
    ];
    // Versions have gone back, as after a backup: so does what is remembered.
    let now = look_at(listed, seen(70, 71, &[])).await.seen;
    assert_eq!(now, seen(12, 13, &[]));
}

#[tokio::test]
async fn a_worker_of_a_job_that_is_gone_is_seen() {
    let orphan = |has_ended| {
        vec![
            asked(JOBS, None, empty_list("JobList", "batch/v1")),
            asked(PODS, None, part_of_the_run("Pod", "71", has_ended)),
        ]
    };
    let stray = look_at(orphan(false), Seen::default()).await.stray;
    assert_eq!(stray.as_deref(), Some("smollm2-prepare-a1"));
    assert_eq!(look_at(orphan(true), Seen::default()).await.stray, None);
    let at_work = vec![
        asked(JOBS, None, part_of_the_run("Job", "70", false)),
        asked(PODS, None, part_of_the_run("Pod", "71", false)),
    ];
    assert_eq!(look_at(at_work, Seen::default()).await.stray, None);
}
