//! What workers hold, and since when.

use super::*;

/// A pod of one worker with two GPUs, scheduled at 11:00:00.
fn with_gpus(name: &str, phase: &str, state: Value) -> Pod {
    let scheduled = json!({"type": "PodScheduled", "status": "True",
        "lastTransitionTime": "2026-01-01T11:00:00Z"});
    let mut status = json!({"phase": phase, "conditions": [scheduled]});
    if !state.is_null() {
        status["containerStatuses"] = json!([container(state)]);
    }
    let mut pod = pod(name, status);
    pod.spec = serde_json::from_value(json!({"containers": [{"name": "worker",
        "resources": {"limits": {"nvidia.com/gpu": "2", "cpu": "8"}}}]}))
    .unwrap();
    pod
}

fn held_by(pods: &[Pod]) -> Vec<(String, bool, i64, i64)> {
    let held = seen(job(json!({}), json!({})), pods).held;
    let told = held.into_iter().map(|held| {
        let Held {
            worker,
            is_over,
            starting_seconds,
            seconds,
        } = held;
        (worker, is_over, starting_seconds, seconds)
    });
    told.collect()
}

#[test]
fn a_pod_holds_its_devices_from_its_node_to_its_end() {
    let at = |minute: u32| format!("2026-01-01T11:{minute:02}:00Z");
    let pulling = with_gpus("pulling", "Pending", json!({"waiting": {}}));
    let working = with_gpus(
        "working",
        "Running",
        json!({"running": {"startedAt": at(5)}}),
    );
    let ended = json!({"terminated":
        {"exitCode": 137, "startedAt": at(5), "finishedAt": at(15)}});
    let ended = with_gpus("ended-and-more", "Failed", ended);
    // Evicted before it started: nothing but a condition says when.
    let mut evicted = with_gpus("evicted", "Failed", Value::Null);
    let disrupted = json!({"type": "DisruptionTarget", "status": "True",
        "lastTransitionTime": at(2)});
    let conditions = evicted
        .status
        .as_mut()
        .unwrap()
        .conditions
        .as_mut()
        .unwrap();
    conditions.push(serde_json::from_value(disrupted).unwrap());
    let nowhere = pod("nowhere", json!({"phase": "Pending"}));
    let pods = [pulling, working, ended, evicted, nowhere];
    // Now is 12:00:00, and each second counts twice.
    assert_eq!(
        held_by(&pods),
        [
            ("pulling".to_owned(), false, 7200, 7200),
            ("working".to_owned(), false, 600, 7200),
            ("ended-an".to_owned(), true, 600, 1800),
            ("evicted".to_owned(), true, 240, 240),
        ]
    );
}

#[test]
fn a_task_without_a_device_holds_none() {
    let mut job = job(json!({}), json!({}));
    let key = JobKey {
        task: TaskKind::Prepare,
        ..KEY
    };
    job.metadata.name = Some(key.job_name("demo"));
    job.metadata.labels = Some(key.labels("demo"));
    let working = with_gpus("a", "Running", json!({"running": {}}));
    assert_eq!(seen(job, &[working]).held, []);
}

#[test]
fn the_newest_sum_of_seconds_counts_whoever_told_it() {
    let told = |useful: u64, outcome: Outcome| {
        let mut report = report(outcome);
        report.gpu_seconds = Some(darwinlm_task::GpuSeconds {
            useful,
            ..Default::default()
        });
        let message = report.to_json();
        ended("a", json!({"exitCode": 0, "message": message}))
    };
    let stopped = failed(75, "stopped").outcome;
    let pods = [
        told(7, Outcome::Done),
        told(9, stopped),
        told(8, Outcome::Done),
    ];
    let report = seen(job(json!({}), json!({})), &pods).report.unwrap();
    assert_eq!(report.outcome, Outcome::Done);
    assert_eq!(report.gpu_seconds.unwrap().useful, 9);
}
