//! Lists are as new as they have to be, and no newer.

use kube::runtime::watcher::Event;

use super::*;
use crate::run_controller::cache::Caches;

/// Lists as they are asked for, and what they are answered: the version of each object, or a failure.
struct Listed {
    path: &'static str,
    since: Option<&'static str>,
    answer: Value,
}

/// A look at a run whose API server expects these lists alone.
async fn look_at(listed: Vec<Listed>, since: Seen) -> Observed {
    look_with(&Caches::default(), listed, since).await
}

async fn look_with(caches: &Caches, listed: Vec<Listed>, since: Seen) -> Observed {
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
        caches,
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
    let mut object = object;
    object["metadata"]["resourceVersion"] = version.into();
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
    Seen {
        jobs,
        pods,
        heard,
        ..Seen::default()
    }
}

/// What of it is asked for in lists.
fn versions(of: &Observed) -> Seen {
    let Seen {
        jobs, pods, heard, ..
    } = of.seen.clone();
    let heard: Vec<_> = heard.iter().map(String::as_str).collect();
    seen(jobs, pods, &heard)
}

#[tokio::test]
async fn a_list_is_never_older_than_what_this_process_has_seen() {
    let at_work = vec![
        asked(JOBS, None, part_of_the_run("Job", "70", false)),
        asked(PODS, None, part_of_the_run("Pod", "71", false)),
    ];
    let first = look_at(at_work, Seen::default()).await;
    assert_eq!(versions(&first), seen(70, 71, &[]));
    let at_work = vec![
        asked(JOBS, Some("70"), part_of_the_run("Job", "75", false)),
        asked(PODS, Some("71"), part_of_the_run("Pod", "71", false)),
    ];
    let second = look_at(at_work, first.seen).await;
    assert_eq!(versions(&second), seen(75, 71, &[]));
}

#[tokio::test]
async fn the_pods_of_a_job_that_has_ended_are_once_listed_as_they_are_now() {
    let ended = vec![
        asked(JOBS, Some("70"), part_of_the_run("Job", "80", true)),
        asked(PODS, None, part_of_the_run("Pod", "79", true)),
    ];
    let heard = look_at(ended, seen(70, 71, &[])).await;
    assert_eq!(versions(&heard), seen(80, 79, &["j"]));
    let later = vec![
        asked(JOBS, Some("80"), part_of_the_run("Job", "80", true)),
        asked(PODS, Some("79"), part_of_the_run("Pod", "79", true)),
    ];
    let again = look_at(later, heard.seen.clone()).await;
    assert_eq!(versions(&again), versions(&heard));
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
    let now = look_at(listed, seen(70, 71, &[])).await;
    assert_eq!(versions(&now), seen(12, 13, &[]));
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

#[tokio::test]
async fn what_the_watches_have_brought_need_not_be_listed() {
    let caches = Caches::default();
    let brings = |job: &Value, pod: &Value| {
        let mut job: Value = job["items"][0].clone();
        let mut pod: Value = pod["items"][0].clone();
        for object in [&mut job, &mut pod] {
            object["metadata"]["namespace"] = "research".into();
        }
        let job = serde_json::from_value(job).unwrap();
        caches.jobs.take(None, &Ok(Event::Apply(job)));
        let pod = serde_json::from_value(pod).unwrap();
        caches.pods.take(None, &Ok(Event::Apply(pod)));
    };
    let at_work = [
        part_of_the_run("Job", "70", false),
        part_of_the_run("Pod", "71", false),
    ];
    brings(&at_work[0], &at_work[1]);
    // The first look of this process lists.
    let lists = vec![
        asked(JOBS, None, at_work[0].clone()),
        asked(PODS, None, at_work[1].clone()),
    ];
    let first = look_with(&caches, lists, Seen::default()).await;
    let second = look_with(&caches, vec![], first.seen.clone()).await;
    assert_eq!(second.jobs, first.jobs);
    // A Job was written that no watch has brought yet.
    let behind = Seen {
        written: 75,
        ..second.seen.clone()
    };
    let lists = vec![
        asked(JOBS, Some("70"), part_of_the_run("Job", "75", false)),
        asked(PODS, Some("71"), at_work[1].clone()),
    ];
    look_with(&caches, lists, behind).await;
    // A Job has ended: its pods are listed as they are now, and once.
    let ended = part_of_the_run("Job", "80", true);
    brings(&ended, &at_work[1]);
    let last_words = part_of_the_run("Pod", "79", true);
    let lists = vec![asked(PODS, None, last_words.clone())];
    let heard = look_with(&caches, lists, second.seen).await;
    brings(&ended, &last_words);
    look_with(&caches, vec![], heard.seen.clone()).await;
    // A watch that broke is not believed.
    let broke = kube::runtime::watcher::Error::NoResourceVersion;
    caches.jobs.take(None, &Err(broke));
    let lists = vec![
        asked(JOBS, Some("70"), ended),
        asked(PODS, Some("79"), last_words),
    ];
    look_with(&caches, lists, heard.seen).await;
}
