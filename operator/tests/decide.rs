//! The state machine as a table: what there is, and what is decided.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "fixtures/given.rs"]
mod given;

use std::collections::BTreeMap;

use darwinlm_api::PruningRunStatus;
use darwinlm_api::conditions::{ConditionType, Stall, get, is_true, stalled};
use darwinlm_operator::run_controller::decide::{Decision, Ended, asks_for_claims, decide, reject};
use darwinlm_operator::run_controller::observed::{Observed, ObservedClaim, ObservedJob, Waiting};
use darwinlm_operator::run_controller::validate::{Rejection, ValidatedRun};
use darwinlm_task::{
    ExitCode, GpuSeconds, Outcome, REASON_STORE_IN_USE, REASON_TARGET_UNREACHABLE, Task, TaskKind,
    TrainingReport,
};

use given::{Told, at, claim, edited_run, job, line, run};

/// Decides with the status that the given Jobs have left before.
fn after(run: &ValidatedRun, past: Vec<ObservedJob>, now: Vec<ObservedJob>) -> Decision {
    let before = decide(
        run,
        &Observed {
            jobs: past,
            ..Observed::default()
        },
        at(1),
    );
    decide(
        run,
        &Observed {
            jobs: now,
            status: before.status,
            ..Observed::default()
        },
        at(2),
    )
}

fn decided(jobs: Vec<ObservedJob>) -> Decision {
    decide(
        &run(),
        &Observed {
            jobs,
            ..Observed::default()
        },
        at(1),
    )
}

fn prepared() -> ObservedJob {
    job("prepare-a1").complete().says_done()
}

fn built() -> ObservedJob {
    job("build-database-a1").complete().says_done()
}

fn searched() -> ObservedJob {
    job("search-g4-a1")
        .complete()
        .says_generation(6)
        .says_done()
}

fn trained() -> ObservedJob {
    job("post-train-a1").complete().says_done()
}

fn evaluated() -> ObservedJob {
    job("evaluate-a1").complete().says_done()
}

#[test]
fn every_row_of_the_table_is_decided_as_it_says() {
    let table: Vec<(&str, Vec<ObservedJob>, &str)> = vec![
        (
            "a new run starts with prepare",
            vec![],
            "create prepare-a1 x1 | Pending | Progressing True Starting | Succeeded Unknown InProgress",
        ),
        (
            "a Job without a node waits in the scheduler's words",
            vec![job("prepare-a1").unschedulable()],
            "nothing | Pending | Progressing False Unschedulable | Succeeded Unknown InProgress",
        ),
        (
            "a Job at work is watched",
            vec![job("prepare-a1").running()],
            "nothing | Preparing | Progressing True Preparing | Succeeded Unknown InProgress",
        ),
        (
            "a report that says done is not enough while the Job is live",
            vec![job("prepare-a1").running().says_done()],
            "nothing | BuildingDatabase | Progressing True Preparing | Succeeded Unknown InProgress",
        ),
        (
            "what is prepared is built, by as many workers as asked for",
            vec![prepared()],
            "create build-database-a1 x2 | BuildingDatabase | Progressing True Starting | Succeeded Unknown InProgress",
        ),
        (
            "a complete Job without a report proves nothing",
            vec![job("prepare-a1").complete()],
            "create prepare-a2 x1 | Pending | Progressing True Starting | Succeeded Unknown InProgress",
        ),
        (
            "a failed Job whose report says done is done",
            vec![job("prepare-a1").failed().says_done()],
            "create build-database-a1 x2 | BuildingDatabase | Progressing True Starting | Succeeded Unknown InProgress",
        ),
        (
            "a Job that gave up is attempted again",
            vec![
                prepared(),
                job("build-database-a1").failed().exited(Some(70)),
            ],
            "create build-database-a2 x2 | BuildingDatabase | Progressing True Starting | Succeeded Unknown InProgress",
        ),
        (
            "a worker that ended and is replaced is spoken of",
            vec![prepared(), job("build-database-a1").exited(Some(69))],
            "nothing | BuildingDatabase | Progressing False StoreUnavailable | Succeeded Unknown InProgress",
        ),
        (
            "three attempts are enough",
            vec![
                job("prepare-a1").failed(),
                job("prepare-a2").complete(),
                job("prepare-a3")
                    .failed()
                    .says_failed(ExitCode::StoreUnavailable, "no answer"),
            ],
            "nothing | Failed | Progressing False StoreUnavailable | Succeeded False StoreUnavailable",
        ),
        (
            "a final exit code fails the run at once",
            vec![
                job("prepare-a1")
                    .failed()
                    .says_failed(ExitCode::BadData, "config.json: rope"),
            ],
            "nothing | Failed | Progressing False BadData | Succeeded False BadData",
        ),
        (
            "a final exit code without a report fails the run, too",
            vec![job("prepare-a1").failed().exited(Some(75)).exited(Some(66))],
            "nothing | Failed | Progressing False InputMissing | Succeeded False InputMissing",
        ),
        (
            "the search starts at the generation that the ledger has",
            vec![prepared(), built()],
            "create search-g0-a1 x3 | Searching | Progressing True Starting | Succeeded Unknown InProgress",
        ),
        (
            "a search Job that reached its last generation is followed by the next",
            vec![
                prepared(),
                built(),
                job("search-g0-a1")
                    .complete()
                    .says_generation(2)
                    .says_done(),
            ],
            "create search-g2-a1 x3 | Searching | Progressing True Starting | Succeeded Unknown InProgress",
        ),
        (
            "a search Job that failed further on starts there with a first attempt",
            vec![
                prepared(),
                built(),
                job("search-g0-a2").failed().says_generation(1),
            ],
            "create search-g1-a1 x3 | Searching | Progressing True Starting | Succeeded Unknown InProgress",
        ),
        (
            "a search Job that got nowhere is attempted again",
            vec![
                prepared(),
                built(),
                job("search-g0-a1").complete().says_generation(0),
            ],
            "create search-g0-a2 x3 | Searching | Progressing True Starting | Succeeded Unknown InProgress",
        ),
        (
            "a final exit code counts also after some generations",
            vec![
                prepared(),
                built(),
                job("search-g0-a1")
                    .failed()
                    .says_generation(1)
                    .says_failed(ExitCode::OutOfMemory, "12 GiB needed"),
            ],
            "nothing | Failed | Progressing False OutOfMemory | Succeeded False OutOfMemory",
        ),
        (
            "a Job of another size gets as many workers as asked for",
            vec![prepared(), built(), job("search-g0-a1").running().sized(1)],
            "size search-g0-a1 x3 | Searching | Progressing True Searching | Succeeded Unknown InProgress",
        ),
        (
            "workers that leave after the last generation are not replaced",
            vec![
                prepared(),
                built(),
                job("search-g4-a1")
                    .running()
                    .sized(1)
                    .says_generation(6)
                    .says_done(),
            ],
            "nothing | PostTraining | Progressing True Searching | Succeeded Unknown InProgress",
        ),
        (
            "a suspended Job of a run that is not suspended has its workers again",
            vec![job("prepare-a1").suspended()],
            "resume prepare-a1 | Preparing | Progressing True Starting | Succeeded Unknown InProgress",
        ),
        (
            "what is searched is trained, by one worker",
            vec![prepared(), built(), searched()],
            "create post-train-a1 x1 | PostTraining | Progressing True Starting | Succeeded Unknown InProgress",
        ),
        (
            "what is trained is evaluated",
            vec![prepared(), built(), searched(), trained()],
            "create evaluate-a1 x1 | Evaluating | Progressing True Starting | Succeeded Unknown InProgress",
        ),
        (
            "what is evaluated is exported",
            vec![prepared(), built(), searched(), trained(), evaluated()],
            "create export-a1 x1 | Exporting | Progressing True Starting | Succeeded Unknown InProgress",
        ),
        (
            "what is exported has succeeded",
            vec![
                prepared(),
                built(),
                searched(),
                trained(),
                evaluated(),
                job("export-a1").complete().says_done(),
            ],
            "nothing | Succeeded | Progressing False Finished | Succeeded True Succeeded",
        ),
        (
            "of two live Jobs only the elder works",
            vec![job("prepare-a1").running(), job("prepare-a2").running()],
            "suspend prepare-a2 | Preparing | Progressing True Preparing | Succeeded Unknown InProgress",
        ),
    ];
    for (what, jobs, expected) in table {
        assert_eq!(line(&decided(jobs)), expected, "{what}");
    }
}

/// What `Progressing` says, with its message.
fn progressing(decision: &Decision) -> (String, String) {
    let condition = get(&decision.status.conditions, ConditionType::Progressing).unwrap();
    (
        format!("{} {}", condition.status, condition.reason),
        condition.message.clone(),
    )
}

/// A Job whose pod waits.
fn waiting(job: ObservedJob, stall: Stall, words: &str) -> ObservedJob {
    let words = words.to_owned();
    ObservedJob {
        waiting: Some(Waiting { stall, words }),
        ..job
    }
}

#[test]
fn every_cause_that_passes_is_told_with_reason_words_and_remedy_and_then_untold() {
    for stall in Stall::ALL.iter().filter(|stall| !stall.is_final()) {
        let pending = waiting(job("prepare-a1"), *stall, "because");
        let observed = |jobs, status| Observed {
            jobs,
            status,
            ..Observed::default()
        };
        let before = decide(&run(), &observed(vec![pending], Default::default()), at(1));
        let expected = (
            format!("False {}", stall.reason()),
            format!("because. Remedy: {}", stall.remedy()),
        );
        assert_eq!(progressing(&before), expected);
        assert!(
            before.requeue_after.is_some(),
            "{stall:?}: nobody looks again"
        );
        assert_eq!(before.ended, None, "{stall:?}");
        let gone = observed(vec![job("prepare-a1").running()], before.status);
        assert_eq!(
            progressing(&decide(&run(), &gone, at(2))).0,
            "True Preparing"
        );
    }
}

#[test]
fn while_a_worker_is_at_work_only_standing_still_is_a_stall() {
    let at_work = || job("search-g0-a1").running();
    for stall in Stall::ALL.iter().filter(|stall| !stall.is_final()) {
        let jobs = vec![prepared(), built(), waiting(at_work(), *stall, "because")];
        let (holds, message) = progressing(&decided(jobs));
        if stall.is_of_workers_at_work() {
            assert_eq!(holds, format!("False {}", stall.reason()));
        } else {
            assert_eq!(holds, "True Searching", "{stall:?}");
            let others = "3 of 3 workers are at work; the others wait: because. Remedy: ";
            assert!(message.starts_with(others), "{message}");
        }
    }
}

#[test]
fn of_what_a_pod_waits_for_and_how_the_last_one_ended_the_weightier_is_told() {
    let ended = job("prepare-a1").exited(Some(70));
    assert_eq!(
        progressing(&decided(vec![ended.clone()])).0,
        "False WorkerFailing"
    );
    let unplaced = waiting(ended, Stall::Unschedulable, "0/3 nodes");
    assert_eq!(
        progressing(&decided(vec![unplaced])).0,
        "False Unschedulable"
    );
}

#[test]
fn a_worker_that_is_stopped_once_is_replaced_and_one_that_is_again_and_again_is_a_stall() {
    let once = job("prepare-a1").exited(Some(75));
    let (holds, message) = progressing(&decided(vec![once.clone()]));
    assert_eq!(holds, "True Starting");
    assert!(message.contains("is replaced"), "{message}");
    let thrice = once.exited(Some(75)).exited(Some(75));
    let (holds, message) = progressing(&decided(vec![thrice]));
    assert_eq!(holds, "False Interrupted");
    assert!(
        message.starts_with("3 workers ended alike; worker w1"),
        "{message}"
    );
}

#[test]
fn a_claim_without_a_volume_is_told_where_pods_may_wait_for_it() {
    let unbound = ObservedClaim::Found {
        access_modes: ["ReadWriteMany".to_owned()].into(),
        unbound: Some("Pending (ProvisioningFailed: no class)".to_owned()),
    };
    let jobs = vec![job("prepare-a1").unschedulable()];
    let (holds, message) = progressing(&with_claim(&run(), jobs, unbound));
    assert_eq!(holds, "False VolumeNotBound");
    assert!(
        message.starts_with(
            "spec.artifacts.store names the claim \"data\", which is Pending (ProvisioningFailed: no \
             class); 0/3 nodes"
        ),
        "{message}"
    );
    // Bound, it is not what the pod waits for.
    let jobs = vec![job("prepare-a1").unschedulable()];
    let bound = with_claim(&run(), jobs, claim("ReadWriteMany"));
    assert_eq!(progressing(&bound).0, "False Unschedulable");
}

#[test]
fn a_run_that_has_failed_says_what_to_do_and_is_no_stall() {
    let failed = job("prepare-a1")
        .failed()
        .says_failed(ExitCode::PermissionDenied, "s3://a: access denied");
    let decision = decided(vec![failed]);
    let (holds, message) = progressing(&decision);
    assert_eq!(holds, "False PermissionDenied");
    assert!(
        message.contains("Remedy: correct the credentials in the Secret"),
        "{message}"
    );
    assert_eq!(stalled(&decision.status.conditions), None);
}

#[test]
fn a_suspended_run_whose_pods_do_not_leave_says_so() {
    let resting = ValidatedRun {
        suspend: true,
        ..run()
    };
    let decide_on = |job| {
        let jobs = vec![job];
        let observed = Observed {
            jobs,
            ..Observed::default()
        };
        progressing(&decide(&resting, &observed, at(1))).0
    };
    let rests = job("prepare-a1").suspended();
    assert_eq!(decide_on(rests.clone()), "False Suspended");
    let stays = waiting(rests.clone(), Stall::WorkersStay, "pod p");
    assert_eq!(decide_on(stays), "False WorkersStay");
    assert_eq!(
        decide_on(waiting(rests, Stall::NodeLost, "pod p")),
        "False NodeLost"
    );
}

#[test]
fn a_suspended_run_starts_nothing_and_gives_its_workers_back() {
    let suspended = ValidatedRun {
        suspend: true,
        ..run()
    };
    let look = |jobs| {
        line(&decide(
            &suspended,
            &Observed {
                jobs,
                ..Observed::default()
            },
            at(1),
        ))
    };
    assert_eq!(
        look(vec![]),
        "nothing | Suspended | Progressing False Suspended | Succeeded Unknown InProgress"
    );
    assert_eq!(
        look(vec![job("prepare-a1").running()]),
        "suspend prepare-a1 | Suspended | Progressing False Suspending | Succeeded Unknown InProgress"
    );
    assert_eq!(
        look(vec![job("prepare-a1").suspended()]),
        "nothing | Suspended | Progressing False Suspended | Succeeded Unknown InProgress"
    );
}

/// [`RUN`](given::RUN) with its Jobs in a queue.
fn in_a_queue() -> ValidatedRun {
    let queue = "  queueName: gpus\n  postTraining:";
    edited_run("  postTraining:", queue)
}

#[test]
fn every_row_of_queues_is_decided_as_it_says() {
    let (queue, alone) = (in_a_queue(), run());
    let suspended = ValidatedRun {
        suspend: true,
        ..in_a_queue()
    };
    let resized = ValidatedRun {
        search_workers: 5,
        ..in_a_queue()
    };
    let search = || job("search-g0-a1");
    let table: Vec<(&str, &ValidatedRun, Vec<ObservedJob>, &str)> = vec![
        (
            "a Job that waits in a queue is left to it",
            &queue,
            vec![prepared(), built(), search().queued()],
            "nothing | Queued | Progressing False Queued | Succeeded Unknown InProgress",
        ),
        (
            "the first Job of a run waits, too",
            &queue,
            vec![job("prepare-a1").queued()],
            "nothing | Queued | Progressing False Queued | Succeeded Unknown InProgress",
        ),
        (
            "a Job that was cut to fewer workers is left as it is",
            &queue,
            vec![prepared(), built(), search().in_queue().sized(1).running()],
            "nothing | Searching | Progressing True Searching | Succeeded Unknown InProgress",
        ),
        (
            "more workers are for the next Job",
            &resized,
            vec![prepared(), built(), search().in_queue().running()],
            "nothing | Searching | Progressing True Searching | Succeeded Unknown InProgress",
        ),
        (
            "a worker that was evicted counts for nothing",
            &queue,
            vec![
                prepared(),
                built(),
                search().queued().exited(Some(75)).exited(None),
            ],
            "nothing | Queued | Progressing False Queued | Succeeded Unknown InProgress",
        ),
        (
            "a suspended run takes its Job out of the queue",
            &suspended,
            vec![prepared(), built(), search().in_queue().running()],
            "withdraw search-g0-a1 | Suspended | Progressing False Suspending | Succeeded Unknown InProgress",
        ),
        (
            "a Job that still waits leaves the queue, too",
            &suspended,
            vec![prepared(), built(), search().queued()],
            "withdraw search-g0-a1 | Suspended | Progressing False Suspending | Succeeded Unknown InProgress",
        ),
        (
            "a Job on its way out is waited for",
            &suspended,
            vec![prepared(), built(), search().in_queue().running().leaving()],
            "nothing | Suspended | Progressing False Suspending | Succeeded Unknown InProgress",
        ),
        (
            "a run whose Job has left the queue is suspended",
            &suspended,
            vec![prepared(), built()],
            "nothing | Suspended | Progressing False Suspended | Succeeded Unknown InProgress",
        ),
        (
            "a run that goes on makes the same attempt again",
            &queue,
            vec![prepared(), built()],
            "create search-g0-a1 x3 | Searching | Progressing True Starting | Succeeded Unknown InProgress",
        ),
        (
            "a Job that somebody else put into a queue is left to it, too",
            &alone,
            vec![prepared(), built(), search().queued().sized(1)],
            "nothing | Queued | Progressing False Queued | Succeeded Unknown InProgress",
        ),
    ];
    for (what, run, jobs, expected) in table {
        let jobs: Vec<_> = jobs
            .into_iter()
            .map(|job| ObservedJob {
                made_from: run.made_from.of_task(job.key.task),
                ..job
            })
            .collect();
        assert_eq!(line(&after(run, vec![], jobs)), expected, "{what}");
    }
}

#[test]
fn what_a_queue_gave_is_told_beside_what_was_asked_for() {
    let run = in_a_queue();
    let cut = job("search-g0-a1").in_queue().sized(1).running();
    let cut = ObservedJob {
        made_from: run.made_from.of_task(TaskKind::Search),
        ..cut
    };
    let cut = cut.says_generation(1);
    let decision = after(
        &run,
        vec![prepared(), built()],
        vec![prepared(), built(), cut],
    );
    let progressing = get(&decision.status.conditions, ConditionType::Progressing).unwrap();
    assert_eq!(
        progressing.message,
        "1 worker is at work; queue \"gpus\" gave 1 of 3"
    );
}

#[test]
fn a_run_that_asks_for_nothing_more_ends_after_the_search() {
    let mut short = run();
    short.chain.retain(|task| {
        let more = [TaskKind::PostTrain, TaskKind::Evaluate, TaskKind::Export];
        !more.contains(&task.kind())
    });
    let jobs = vec![prepared(), built(), searched()];
    let decision = decide(
        &short,
        &Observed {
            jobs,
            ..Observed::default()
        },
        at(1),
    );
    assert_eq!(decision.ended, Some(Ended::Succeeded));
    assert_eq!(
        get(&decision.status.conditions, ConditionType::Evaluated),
        None
    );
}

#[test]
fn what_the_status_remembers_outlives_the_jobs() {
    let decision = after(&run(), vec![prepared(), built()], vec![]);
    assert!(
        line(&decision).starts_with("create search-g0-a1 x3"),
        "{}",
        line(&decision)
    );
    let mid = job("search-g0-a1").running().says_generation(1);
    let decision = after(&run(), vec![prepared(), built(), mid], vec![]);
    assert!(
        line(&decision).starts_with("create search-g1-a1 x3"),
        "{}",
        line(&decision)
    );
}

#[test]
fn an_older_report_never_turns_the_generation_back() {
    let past = vec![
        prepared(),
        built(),
        job("search-g0-a1").running().says_generation(1),
    ];
    let now = vec![
        prepared(),
        built(),
        job("search-g0-a1").running().says_generation(0),
    ];
    let decision = after(&run(), past, now);
    assert_eq!(decision.status.progress.as_deref(), Some("1/6"));
}

#[test]
fn a_report_clears_nothing_that_it_does_not_speak_of() {
    let mut searched = searched();
    if let Some(report) = &mut searched.report {
        report.gpu_seconds = Some(GpuSeconds {
            useful: 7,
            starting: 1,
            waiting: 1,
            lost: 1,
        });
    }
    let known = decided(vec![prepared(), built(), searched]).status;
    assert!(known.search.is_some() && known.artifacts.is_some() && known.gpu_seconds.is_some());
    for silent in [
        job("evaluate-a1").running(),
        evaluated(),
        job("export-a1").running(),
        job("export-a1").complete().says_done(),
    ] {
        let mut silent = silent;
        silent.report = silent.report.or(Some(given::report(silent.key.task)));
        let observed = Observed {
            jobs: vec![silent],
            status: known.clone(),
            ..Observed::default()
        };
        let status = decide(&run(), &observed, at(2)).status;
        assert_eq!(status.search, known.search);
        assert_eq!(status.artifacts, known.artifacts);
        assert_eq!(status.gpu_seconds, known.gpu_seconds);
    }
}

#[test]
fn what_counts_in_latency_is_measured_by_one_worker_before_the_database_is_built() {
    let run = edited_run("level: 2", "speedupPercent: 150");
    let lines = |jobs: Vec<ObservedJob>| {
        let jobs = Observed {
            jobs,
            ..Observed::default()
        };
        line(&decide(&run, &jobs, at(1)))
    };
    assert_eq!(
        lines(vec![prepared()]),
        "create measure-a1 x1 | Measuring | Progressing True Starting | Succeeded Unknown InProgress"
    );
    assert_eq!(
        lines(vec![prepared(), job("measure-a1").running()]),
        "nothing | Measuring | Progressing True Measuring | Succeeded Unknown InProgress"
    );
    let measured = job("measure-a1").complete().says_done();
    assert_eq!(
        lines(vec![prepared(), measured]),
        "create build-database-a1 x2 | BuildingDatabase | Progressing True Starting | Succeeded Unknown InProgress"
    );
    let unreachable = failed_with("measure-a1", REASON_TARGET_UNREACHABLE);
    let status = decide(
        &run,
        &Observed {
            jobs: vec![prepared(), unreachable],
            ..Observed::default()
        },
        at(1),
    )
    .status;
    let accepted = get(&status.conditions, ConditionType::Accepted).unwrap();
    assert_eq!(
        (&*accepted.status, &*accepted.reason),
        ("False", "TargetUnreachable")
    );
}

/// A Job whose worker ended with 78 for this reason.
fn failed_with(name: &str, reason: &str) -> ObservedJob {
    let mut job = job(name).failed();
    let mut report = given::report(job.key.task);
    report.fail(ExitCode::BadSpec, reason, "it cannot be met");
    job.report = Some(report);
    job
}

#[test]
fn latency_is_told_as_medians_with_memory_and_speed_up() {
    use darwinlm_task::{
        EvaluationReport, LatencyReport, LatencyWorkload, Measured, Memory, ModelLatency, Spread,
    };
    let spread = |median| Spread {
        median,
        least: 1,
        most: 9_000_000,
    };
    let model = |prompt, token, bytes| ModelLatency {
        prompt_microseconds: spread(prompt),
        prompt_tokens_per_second: "1".into(),
        token_microseconds: Some(spread(token)),
        new_tokens_per_second: Some("1".into()),
        memory: Memory::AllocatorPeak { bytes },
    };
    let measured = Measured {
        parameters: 1,
        perplexity: "1".into(),
        kl: "0".into(),
        tokens_per_second: "1".into(),
    };
    let mut evaluated = evaluated();
    let report = evaluated.report.as_mut().unwrap();
    report.evaluation = Some(EvaluationReport {
        dense: measured.clone(),
        uniform: measured.clone(),
        pruned: measured,
        trained: None,
        latency: Some(LatencyReport {
            workload: LatencyWorkload {
                batch: 1,
                prompt_tokens: 2,
                new_tokens: 3,
            },
            pairs: 5,
            device: "d".into(),
            dense: model(300, 30, 2000),
            pruned: model(200, 20, 1000),
            speedup_percent: spread(150),
        }),
    });
    let status = decided(vec![prepared(), built(), searched(), evaluated]).status;
    let latency = status.evaluation.unwrap().latency.unwrap();
    assert_eq!(latency.speedup_percent, Some(150));
    let (dense, pruned) = (latency.dense.unwrap(), latency.pruned.unwrap());
    assert_eq!(
        (dense.prompt_microseconds, dense.token_microseconds),
        (300, 30)
    );
    assert_eq!(
        (pruned.prompt_microseconds, pruned.memory_bytes),
        (200, Some(1000))
    );
}

#[test]
fn survivors_that_a_report_has_no_room_for_are_not_forgotten() {
    let said = |survivors: usize| {
        let mut evaluating = job("evaluate-a1").running();
        let mut report = given::report(TaskKind::Evaluate);
        let mut search = given::search_report(6);
        search.survivors = (1..=6)
            .rev()
            .flat_map(|generation| given::search_report(generation).survivors)
            .take(survivors)
            .collect();
        report.search = Some(search);
        evaluating.report = Some(report);
        evaluating
    };
    for left in [3, 0] {
        let search = after(&run(), vec![said(6)], vec![said(left)]).status.search;
        let search = search.unwrap();
        assert_eq!(search.survivor, search.survivors.first().cloned());
        let born: Vec<_> = search
            .survivors
            .iter()
            .map(|s| s.born_in_generation)
            .collect();
        assert_eq!(born, [6, 5, 4, 3, 2, 1], "{left} were told");
    }
}

#[test]
fn the_workers_of_a_search_job_stop_at_its_last_generation() {
    let run = run();
    for (name, until) in [
        ("search-g0-a1", 2),
        ("search-g3-a1", 5),
        ("search-g5-a2", 6),
    ] {
        let spec = run
            .task_spec(given::key(name))
            .expect("the chain has a search");
        let Task::Search {
            until_generation, ..
        } = spec.task
        else {
            panic!("not a search")
        };
        assert_eq!(until_generation, until, "{name}");
    }
}

#[test]
fn a_failed_run_stays_failed_whatever_comes_later() {
    let past = vec![
        job("prepare-a1")
            .failed()
            .says_failed(ExitCode::BadData, "rope"),
    ];
    let decision = after(&run(), past, vec![prepared()]);
    let message = "prepare: rope".to_owned();
    let reason = darwinlm_api::conditions::Reason::BadData;
    assert_eq!(decision.ended, Some(Ended::Failed { reason, message }));
    assert_eq!(decision.actions, []);
    assert_eq!(decision.requeue_after, None);
}

#[test]
fn what_only_prepare_can_find_wrong_with_a_spec_is_said_in_accepted() {
    for found in [REASON_STORE_IN_USE, REASON_TARGET_UNREACHABLE] {
        let mut job = job("prepare-a1").failed().exited(Some(78));
        let mut said = given::report(TaskKind::Prepare);
        said.fail(ExitCode::BadSpec, found, "what would do");
        job.report = Some(said);
        let decision = decided(vec![job]);
        let expected = (format!("False {found}"), "what would do".to_owned());
        assert_eq!(accepted(&decision), expected);
        assert_eq!(
            line(&decision),
            format!("nothing | Failed | Progressing False {found} | Succeeded False {found}")
        );
    }
}

/// What `Accepted` says: status and reason, and the message.
fn accepted(decision: &Decision) -> (String, String) {
    let condition = get(&decision.status.conditions, ConditionType::Accepted).unwrap();
    let holds = format!("{} {}", condition.status, condition.reason);
    (holds, condition.message.clone())
}

fn with_claim(run: &ValidatedRun, jobs: Vec<ObservedJob>, claim: ObservedClaim) -> Decision {
    let claims = BTreeMap::from([("data".to_owned(), claim)]);
    let observed = Observed {
        jobs,
        claims,
        ..Observed::default()
    };
    assert!(asks_for_claims(run, &observed), "nobody would look at it");
    decide(run, &observed, at(1))
}

#[test]
fn every_row_of_claims_is_decided_as_it_says() {
    let one = ValidatedRun {
        pruning_workers: 1,
        search_workers: 1,
        ..run()
    };
    let growing = || job("search-g0-a1").running().sized(1);
    let table = [
        (
            "a claim that is missing is waited for",
            run(),
            vec![],
            ObservedClaim::Missing,
            "False ReferenceNotFound",
            "nothing | Pending | Progressing False ReferenceNotFound | Succeeded Unknown InProgress",
        ),
        (
            "a claim of one node is not shared by several workers, not even prepared on",
            run(),
            vec![],
            claim("ReadWriteOnce"),
            "False VolumeNotShared",
            "nothing | Pending | Progressing False VolumeNotShared | Succeeded Unknown InProgress",
        ),
        (
            "a claim that is only read does not serve where workers write",
            run(),
            vec![],
            claim("ReadOnlyMany"),
            "False VolumeNotShared",
            "nothing | Pending | Progressing False VolumeNotShared | Succeeded Unknown InProgress",
        ),
        (
            "one worker shares with nobody",
            one,
            vec![],
            claim("ReadWriteOnce"),
            "True Valid",
            "create prepare-a1 x1 | Pending | Progressing True Starting | Succeeded Unknown InProgress",
        ),
        (
            "a claim of many nodes is shared",
            run(),
            vec![],
            claim("ReadWriteMany"),
            "True Valid",
            "create prepare-a1 x1 | Pending | Progressing True Starting | Succeeded Unknown InProgress",
        ),
        (
            "what only one worker does after the search needs no sharing",
            run(),
            vec![prepared(), built(), searched()],
            claim("ReadWriteOnce"),
            "True Valid",
            "create post-train-a1 x1 | PostTraining | Progressing True Starting | Succeeded Unknown InProgress",
        ),
        (
            "a Job at work does not grow beyond what its claim serves, and goes on",
            run(),
            vec![prepared(), built(), growing()],
            claim("ReadWriteOnce"),
            "False VolumeNotShared",
            "nothing | Searching | Progressing True Searching | Succeeded Unknown InProgress",
        ),
        (
            "a Job at work grows where its claim serves",
            run(),
            vec![prepared(), built(), growing()],
            claim("ReadWriteMany"),
            "True Valid",
            "size search-g0-a1 x3 | Searching | Progressing True Searching | Succeeded Unknown InProgress",
        ),
    ];
    for (what, run, jobs, claim, expected, expected_line) in table {
        let decision = with_claim(&run, jobs, claim);
        assert_eq!(line(&decision), expected_line, "{what}");
        assert_eq!(accepted(&decision).0, expected, "{what}");
        assert!(
            decision.requeue_after.is_some(),
            "{what}: nobody looks again"
        );
        assert_eq!(decision.ended, None, "{what}");
    }
}

#[test]
fn a_claim_is_spoken_of_by_its_field_its_name_and_what_would_serve() {
    let missing = with_claim(&run(), vec![], ObservedClaim::Missing);
    assert_eq!(
        accepted(&missing).1,
        "spec.artifacts.store names the claim \"data\", and namespace team has none of this name; \
         the run goes on once it is there"
    );
    let once = with_claim(&run(), vec![prepared(), built()], claim("ReadWriteOnce"));
    assert_eq!(
        accepted(&once).1,
        "spec.artifacts.store names the claim \"data\", which is ReadWriteOnce, and \
         spec.search.workers is 3; several workers share a claim that is ReadWriteMany: replace it \
         by such a claim, or ask for 1 worker"
    );
}

#[test]
fn a_claim_that_is_only_a_source_may_be_read_only() {
    let mut run = run();
    for usage in run.claims.values_mut() {
        usage.is_written = false;
    }
    let decision = with_claim(&run, vec![], claim("ReadOnlyMany"));
    assert_eq!(accepted(&decision).0, "True Valid");
}

#[test]
fn claims_are_looked_at_only_where_they_decide_something() {
    let asked = |jobs| {
        let observed = Observed {
            jobs,
            ..Observed::default()
        };
        asks_for_claims(&run(), &observed)
    };
    assert!(!asked(vec![job("prepare-a1").running()]));
    assert!(!asked(vec![job("build-database-a1").running()]));
    assert!(asked(vec![job("build-database-a1").running().sized(1)]));
    assert!(asked(vec![job("prepare-a1").complete().says_done()]));
    let on_one_machine = ValidatedRun {
        claims: BTreeMap::new(),
        ..run()
    };
    assert!(!asks_for_claims(&on_one_machine, &Observed::default()));
    let past = vec![
        job("prepare-a1")
            .failed()
            .says_failed(ExitCode::BadData, ""),
    ];
    let ended = Observed {
        status: decided(past).status,
        ..Observed::default()
    };
    assert!(!asks_for_claims(&run(), &ended));
}

/// Decides for a run whose spec has changed since its Jobs were made.
fn edited(from: &str, to: &str, jobs: Vec<ObservedJob>) -> Decision {
    let observed = Observed {
        jobs,
        ..Observed::default()
    };
    decide(&edited_run(from, to), &observed, at(1))
}

#[test]
fn every_row_of_late_changes_is_decided_as_it_says() {
    let worker = ("device: Cpu", "device: Cuda");
    let evaluation = ("  evaluation: {}\n", "");
    let export = ("data/out", "data/elsewhere");
    let exporting = || {
        vec![
            prepared(),
            built(),
            searched(),
            trained(),
            evaluated(),
            job("export-a1").running(),
        ]
    };
    let table = [
        (
            "before any Job everything may change",
            worker,
            vec![],
            "True Valid",
            "create prepare-a1 x1 | Pending | Progressing True Starting | Succeeded Unknown InProgress",
        ),
        (
            "a Job at work goes on with the old value",
            worker,
            vec![job("prepare-a1").running()],
            "False ChangedTooLate",
            "nothing | Preparing | Progressing True Preparing | Succeeded Unknown InProgress",
        ),
        (
            "no Job is made from another worker than the first",
            worker,
            vec![prepared()],
            "False ChangedTooLate",
            "nothing | BuildingDatabase | Progressing False ChangedTooLate | Succeeded Unknown InProgress",
        ),
        (
            "what is exported may change until its own Job is made",
            export,
            vec![prepared(), built(), searched(), trained(), evaluated()],
            "True Valid",
            "create export-a1 x1 | Exporting | Progressing True Starting | Succeeded Unknown InProgress",
        ),
        (
            "an export at work goes on with the old value",
            export,
            exporting(),
            "False ChangedTooLate",
            "nothing | Exporting | Progressing True Exporting | Succeeded Unknown InProgress",
        ),
        (
            "a second attempt is not made from another value than the first",
            export,
            vec![
                prepared(),
                built(),
                searched(),
                trained(),
                evaluated(),
                job("export-a1").failed(),
            ],
            "False ChangedTooLate",
            "nothing | Exporting | Progressing False ChangedTooLate | Succeeded Unknown InProgress",
        ),
        (
            "a task that is left out before its first Job is left out",
            evaluation,
            vec![prepared(), built(), searched(), trained()],
            "True Valid",
            "create export-a1 x1 | Exporting | Progressing True Starting | Succeeded Unknown InProgress",
        ),
        (
            "a task that is left out too late holds no other back",
            evaluation,
            vec![prepared(), built(), searched(), trained(), evaluated()],
            "False ChangedTooLate",
            "create export-a1 x1 | Exporting | Progressing True Starting | Succeeded Unknown InProgress",
        ),
        (
            "no later task looks for weights that were never trained",
            ("tokens: 4096", "tokens: 8192"),
            vec![prepared(), built(), searched(), trained()],
            "False ChangedTooLate",
            "nothing | Evaluating | Progressing False ChangedTooLate | Succeeded Unknown InProgress",
        ),
        (
            "how many work, how long and whether at all may always change",
            ("generationsPerJob: 2", "generationsPerJob: 3"),
            vec![job("prepare-a1").running()],
            "True Valid",
            "nothing | Preparing | Progressing True Preparing | Succeeded Unknown InProgress",
        ),
    ];
    for (what, (from, to), jobs, expected, expected_line) in table {
        let decision = edited(from, to, jobs);
        assert_eq!(line(&decision), expected_line, "{what}");
        assert_eq!(accepted(&decision).0, expected, "{what}");
        assert_eq!(decision.ended, None, "{what}");
        assert!(decision.requeue_after.is_some(), "{what}");
    }
}

#[test]
fn a_late_change_is_named_with_the_job_it_is_too_late_for_and_ends_when_it_is_put_back() {
    let jobs = || vec![prepared(), job("build-database-a1").running()];
    let late = edited("device: Cpu", "device: Cuda", jobs());
    assert_eq!(
        accepted(&late).1,
        "spec.worker was changed after Job tiny-prepare-a1 had been made from it; what is at work \
         goes on with the old value and nothing is started with the new one: put it back, or create \
         another run"
    );
    let observed = Observed {
        jobs: jobs(),
        status: late.status,
        ..Observed::default()
    };
    let put_back = decide(&run(), &observed, at(2));
    assert_eq!(
        accepted(&put_back),
        ("True Valid".to_owned(), String::new())
    );
}

#[test]
fn a_job_that_does_not_say_what_it_was_made_from_binds_nobody() {
    let mut silent = job("prepare-a1").running();
    silent.made_from = Default::default();
    let decision = edited("device: Cpu", "device: Cuda", vec![silent]);
    assert_eq!(accepted(&decision).0, "True Valid");
}

#[test]
fn finished_search_jobs_beyond_three_go_once_the_status_remembers_them() {
    let many = || {
        let mut jobs = vec![prepared(), built()];
        for generation in 0..5 {
            let name = format!("search-g{generation}-a1");
            jobs.push(
                given::job(&name)
                    .complete()
                    .says_generation(generation + 1)
                    .says_done(),
            );
        }
        jobs
    };
    let first = decided(many());
    assert_eq!(
        first.actions.len(),
        1,
        "only the next Job is made: {}",
        line(&first)
    );
    let second = decide(
        &run(),
        &Observed {
            jobs: many(),
            status: first.status,
            ..Observed::default()
        },
        at(2),
    );
    let actions: Vec<_> = second.actions.iter().map(given::phrase).collect();
    assert_eq!(
        actions,
        [
            "create search-g5-a1 x3",
            "delete search-g1-a1",
            "delete search-g0-a1"
        ]
    );
}

#[test]
fn a_rejected_spec_says_so_and_lets_what_runs_run() {
    let rejection = Rejection {
        reason: darwinlm_api::conditions::Reason::NotYetSupported,
        message: "spec.budget is not yet supported; leave it out".into(),
    };
    let decision = reject(&rejection, Some(4), &PruningRunStatus::default(), at(1));
    assert_eq!(decision.status.stage.as_deref(), Some("Rejected"));
    assert_eq!(decision.status.observed_generation, Some(4));
    let accepted = get(&decision.status.conditions, ConditionType::Accepted).unwrap();
    assert_eq!(accepted.message, rejection.message);
    assert_eq!(decision.actions, []);
    // Once the field is gone, the run goes on as if nothing had been.
    let observed = Observed {
        status: decision.status,
        ..Observed::default()
    };
    let accepted = decide(&run(), &observed, at(2));
    assert!(is_true(
        &accepted.status.conditions,
        ConditionType::Accepted
    ));
    assert!(line(&accepted).starts_with("create prepare-a1 x1"));
}

#[test]
fn the_status_tells_loss_and_checkpoint_of_a_training() {
    let mut training = job("post-train-a1").running();
    let mut said = given::report(TaskKind::PostTrain);
    said.training = Some(TrainingReport {
        tokens: 2048,
        total_tokens: 4096,
        loss: Some("2.5".into()),
        checkpoint: Some("runs/team.tiny/checkpoints/ab/00000004".into()),
    });
    training.report = Some(said);
    let status = decided(vec![prepared(), built(), searched(), training]).status;
    assert_eq!(
        status.artifacts.unwrap().checkpoint.as_deref(),
        Some("pvc://data/store/runs/team.tiny/checkpoints/ab/00000004")
    );
    let training = status.post_training.unwrap();
    assert_eq!(
        (training.tokens, training.loss.as_deref()),
        (2048, Some("2.5"))
    );
}

#[test]
fn the_status_names_database_and_digest() {
    let decision = decided(vec![prepared(), built(), searched()]);
    let status = decision.status;
    assert_eq!(
        status.artifacts.unwrap().level_database.as_deref(),
        Some("pvc://data/store/databases/abc")
    );
    let search = status.search.unwrap();
    assert_eq!(search.generation, 6);
    assert_eq!(search.digest, Some(format!("sha256:{:064x}", 6)));
    assert_eq!(search.survivor.unwrap().genome.attention, "2222");
}

/// The run with a budget, and a search that ended with it after two of six generations (two hours).
fn with_budget(hours: u64) -> ValidatedRun {
    ValidatedRun {
        budget_gpu_seconds: Some(hours * 3600),
        ..run()
    }
}

fn spent_after_two() -> ObservedJob {
    let mut job = job("search-g0-a1").complete().says_generation(2);
    if let Some(report) = &mut job.report {
        report.outcome = Outcome::BudgetSpent;
    }
    job
}

fn look(run: &ValidatedRun, status: &PruningRunStatus, jobs: Vec<ObservedJob>) -> Decision {
    let observed = Observed {
        jobs,
        status: status.clone(),
        ..Observed::default()
    };
    decide(run, &observed, at(1))
}

#[test]
fn a_spent_budget_ends_the_search_and_the_tasks_after_it_go_on() {
    let jobs = vec![prepared(), built(), spent_after_two()];
    let decision = look(&with_budget(2), &PruningRunStatus::default(), jobs);
    assert_eq!(
        line(&decision),
        "create post-train-a1 x1 | PostTraining | Progressing True Starting | Succeeded Unknown InProgress"
    );
    let search = get(&decision.status.conditions, ConditionType::SearchComplete);
    let search = search.expect("it is said");
    assert_eq!(
        (search.status.as_str(), search.reason.as_str()),
        ("True", "BudgetSpent")
    );
    assert_eq!(
        search.message,
        "the budget of 2 GPU hours was spent after 2 of 6 generations"
    );
    // The Jobs may go: the status remembers it.
    let later = look(&with_budget(1), &decision.status, vec![]);
    assert!(
        line(&later).starts_with("create post-train-a1"),
        "{}",
        line(&later)
    );
}

#[test]
fn a_job_that_ended_between_generations_is_the_last_one_once_the_budget_is_spent() {
    let ended = job("search-g0-a1")
        .complete()
        .says_done()
        .says_generation(2);
    let jobs = |job: &ObservedJob| vec![prepared(), built(), job.clone()];
    let new = PruningRunStatus::default();
    let rich = look(&with_budget(3), &new, jobs(&ended));
    assert!(
        line(&rich).starts_with("create search-g2-a1"),
        "{}",
        line(&rich)
    );
    let poor = look(&with_budget(2), &new, jobs(&ended));
    assert!(
        line(&poor).starts_with("create post-train-a1"),
        "{}",
        line(&poor)
    );
}

#[test]
fn a_raised_budget_starts_the_next_job_even_after_the_end() {
    let all = || {
        vec![
            prepared(),
            built(),
            spent_after_two(),
            trained(),
            evaluated(),
            job("export-a1").complete().says_done(),
        ]
    };
    let ended = look(&with_budget(2), &PruningRunStatus::default(), all());
    assert_eq!(ended.ended, Some(Ended::Succeeded));
    // Less, or more that is spent, too: nothing happens.
    for hours in [1, 2] {
        let still = look(&with_budget(hours), &ended.status, all());
        assert_eq!(
            (still.actions, still.ended),
            (vec![], Some(Ended::Succeeded))
        );
    }
    let raised = look(&with_budget(3), &ended.status, all());
    assert_eq!(
        line(&raised),
        "create search-g2-a1 x3, delete post-train-a1, delete evaluate-a1, delete export-a1 | Searching | \
         Progressing True Starting | Succeeded Unknown InProgress"
    );
    for task in [
        ConditionType::Trained,
        ConditionType::Evaluated,
        ConditionType::Exported,
    ] {
        assert!(!is_true(&raised.status.conditions, task), "{task}");
    }
    // Of a run that has ended no Job may be left.
    let raised = look(&with_budget(3), &ended.status, vec![]);
    assert!(
        line(&raised).starts_with("create search-g2-a1"),
        "{}",
        line(&raised)
    );
    let done = job("search-g2-a1")
        .complete()
        .says_done()
        .says_generation(6);
    let done = look(&with_budget(3), &raised.status, vec![done]);
    assert!(
        line(&done).starts_with("create post-train-a1"),
        "{}",
        line(&done)
    );
}

#[test]
fn a_task_at_work_on_the_survivor_of_a_search_that_goes_on_is_stopped_first() {
    let jobs = || {
        vec![
            prepared(),
            built(),
            spent_after_two(),
            job("post-train-a1").running(),
        ]
    };
    let working = look(&with_budget(2), &PruningRunStatus::default(), jobs());
    let raised = look(&with_budget(3), &working.status, jobs());
    let actions: Vec<_> = raised.actions.iter().map(given::phrase).collect();
    assert_eq!(actions, ["withdraw post-train-a1"]);
    let mut leaving = jobs();
    leaving[3].deleting = true;
    let waits = look(&with_budget(3), &raised.status, leaving);
    assert_eq!(waits.actions, []);
}

#[test]
fn a_budget_that_is_found_spent_any_number_of_times_is_no_failure() {
    let mut jobs = vec![prepared(), built(), spent_after_two()];
    for attempt in 1..=5 {
        let mut job = job(&format!("search-g2-a{attempt}"))
            .complete()
            .says_generation(2);
        if let Some(report) = &mut job.report {
            report.outcome = Outcome::BudgetSpent;
        }
        jobs.push(job);
        let raised = look(&with_budget(9), &PruningRunStatus::default(), jobs.clone());
        let next = format!("create search-g2-a{}", attempt + 1);
        assert!(line(&raised).starts_with(&next), "{}", line(&raised));
    }
}

#[test]
fn a_run_that_failed_after_its_budget_stays_failed() {
    let failed = job("post-train-a1")
        .failed()
        .says_failed(ExitCode::BadData, "bad");
    let jobs = vec![prepared(), built(), spent_after_two(), failed];
    let ended = look(&with_budget(2), &PruningRunStatus::default(), jobs.clone());
    assert!(matches!(ended.ended, Some(Ended::Failed { .. })));
    let raised = look(&with_budget(3), &ended.status, jobs);
    assert_eq!((raised.actions, raised.ended), (vec![], ended.ended));
}
