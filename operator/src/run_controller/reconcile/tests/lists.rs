//! Lists are as new as they have to be, and no newer.

use super::*;

/// Lists as they are asked for, and what they are answered: the version of each object, or a failure.
struct Listed {
    path: &'static str,
    since: Option<&'static str>,
    answer: Value,
}

/// A look at a run whose API server expects these lists alone.
async fn look_at(listed: Vec<Listed>, since: Option<Versions>) -> Observed {
    let (service, mut handle) = tower_test::mock::pair::<Request<Body>, Response<Body>>();
    let server = tokio::spawn(async move {
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
        since,
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
    let object = json!({"metadata": {"name": "smollm2-prepare-a1", "uid": "j", "resourceVersion": version,
        "creationTimestamp": Timestamp::now().to_string(),
        "labels": {"darwinlm.io/run": "smollm2", "darwinlm.io/task": "prepare", "darwinlm.io/attempt": "1"},
        "ownerReferences": [{"apiVersion": "v1", "kind": owner, "name": "o", "uid": uid, "controller": true}]},
        "spec": {"template": {}, "containers": []}, "status": status});
    match kind {
        "Job" => list("JobList", "batch/v1", object),
        _ => list("PodList", "v1", object),
    }
}

fn asked(path: &'static str, since: Option<&'static str>, answer: Value) -> Listed {
    Listed {
        path,
        since,
        answer,
    }
}

#[tokio::test]
async fn a_list_is_never_older_than_what_this_process_has_seen() {
    let at_work = vec![
        asked(JOBS, None, part_of_the_run("Job", "70", false)),
        asked(PODS, None, part_of_the_run("Pod", "71", false)),
    ];
    let first = look_at(at_work, None).await.versions;
    assert_eq!(first, Versions { jobs: 70, pods: 71 });
    let at_work = vec![
        asked(JOBS, Some("70"), part_of_the_run("Job", "75", false)),
        asked(PODS, Some("71"), part_of_the_run("Pod", "71", false)),
    ];
    let second = look_at(at_work, Some(first)).await.versions;
    assert_eq!(second, Versions { jobs: 75, pods: 71 });
}

#[tokio::test]
async fn the_pods_of_a_job_that_has_ended_are_listed_again_until_all_were_heard() {
    let since = Some(Versions { jobs: 70, pods: 71 });
    let behind = vec![
        asked(JOBS, Some("70"), part_of_the_run("Job", "80", true)),
        asked(PODS, Some("71"), part_of_the_run("Pod", "71", false)),
        asked(PODS, None, part_of_the_run("Pod", "79", true)),
    ];
    assert_eq!(
        look_at(behind, since).await.versions,
        Versions { jobs: 80, pods: 79 }
    );
    let missing = vec![
        asked(JOBS, Some("70"), part_of_the_run("Job", "80", true)),
        asked(PODS, Some("71"), empty_list("PodList", "v1")),
        asked(PODS, None, empty_list("PodList", "v1")),
    ];
    look_at(missing, since).await;
    let heard = vec![
        asked(JOBS, Some("70"), part_of_the_run("Job", "80", true)),
        asked(PODS, Some("71"), part_of_the_run("Pod", "79", true)),
    ];
    look_at(heard, since).await;
}

#[tokio::test]
async fn what_is_now_is_listed_where_the_servers_cache_stays_behind() {
    let behind = failure(
        504,
        "Timeout",
        "Too large resource version: 70, current: 12",
    );
    let listed = vec![
        asked(JOBS, Some("70"), behind),
        asked(JOBS, None, part_of_the_run("Job", "70", false)),
        asked(PODS, Some("0"), part_of_the_run("Pod", "71", false)),
    ];
    let seen = look_at(listed, Some(Versions { jobs: 70, pods: 0 }))
        .await
        .versions;
    assert_eq!(seen, Versions { jobs: 70, pods: 71 });
}
