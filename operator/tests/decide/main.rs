//! The state machine as a table: what there is, and what is decided.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod budget;
mod changed;
mod claims;
#[path = "../fixtures/given.rs"]
mod given;
mod queue;
mod stalls;
mod status;

use std::collections::BTreeMap;

use darwinlm_api::PruningRunStatus;
use darwinlm_api::conditions::{ConditionType, Stall, get, is_true, stalled};
use darwinlm_operator::run_controller::decide::{
    Action, Decision, Ended, asks_for_claims, decide, reject,
};
use darwinlm_operator::run_controller::observed::{
    Held, JobState, Observed, ObservedClaim, ObservedJob, Waiting,
};
use darwinlm_operator::run_controller::validate::{Rejection, ValidatedRun};
use darwinlm_task::{ExitCode, FailureReason, GpuSeconds, Outcome, Task, TaskKind, TrainingReport};

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

/// What `Progressing` says, with its message.
fn progressing(decision: &Decision) -> (String, String) {
    let condition = get(&decision.status.conditions, ConditionType::Progressing).unwrap();
    (
        format!("{} {}", condition.status, condition.reason),
        condition.message.clone(),
    )
}

/// A Job whose worker ended with 78 for this reason.
fn failed_with(name: &str, reason: &str) -> ObservedJob {
    let mut job = job(name).failed();
    let mut report = given::report(job.key.task);
    report.fail(ExitCode::BadSpec, reason, "it cannot be met");
    job.report = Some(report);
    job
}

/// What `Accepted` says: status and reason, and the message.
fn accepted(decision: &Decision) -> (String, String) {
    let condition = get(&decision.status.conditions, ConditionType::Accepted).unwrap();
    let holds = format!("{} {}", condition.status, condition.reason);
    (holds, condition.message.clone())
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
    let unreachable = failed_with("measure-a1", FailureReason::TargetUnreachable.as_str());
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
    for found in [
        FailureReason::StoreInUse.as_str(),
        FailureReason::TargetUnreachable.as_str(),
    ] {
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

#[test]
fn a_rejected_spec_rests_when_it_is_suspended() {
    let rejection = Rejection {
        reason: darwinlm_api::conditions::Reason::InvalidSpec,
        message: "spec.export.formats: Gguf".to_owned(),
    };
    let rejected = |suspend, job| {
        let observed = Observed {
            jobs: vec![prepared(), built(), job],
            ..Observed::default()
        };
        reject(&rejection, suspend, Some(4), &observed, at(1))
    };
    let search = || job("search-g0-a1").running();
    assert!(rejected(false, search()).actions.is_empty());
    let rests = rejected(true, search());
    assert_eq!(rests.actions, [Action::Suspend(search().key)]);
    assert!(is_true(&rests.status.conditions, ConditionType::Suspended));
    assert_eq!(accepted(&rests).0, "False InvalidSpec");
    let queued = rejected(true, job("search-g0-a1").queued());
    assert_eq!(queued.actions, [Action::Withdraw(search().key)]);
    assert!(rejected(true, search().suspended()).actions.is_empty());
}

#[test]
fn what_others_have_suspended_is_theirs_to_resume() {
    let mut search = job("search-g0-a1").running();
    search.state = JobState::SuspendedByOthers;
    let words = "somebody has suspended Job tiny-search-g0-a1";
    search.waiting = Some(Waiting {
        stall: Stall::JobSuspended,
        words: words.to_owned(),
    });
    let decision = decided(vec![prepared(), built(), search]);
    assert!(decision.actions.is_empty(), "{:?}", decision.actions);
    let (holds, message) = progressing(&decision);
    assert_eq!(holds, "False JobSuspended");
    assert!(message.starts_with(words), "{message}");
}

#[test]
fn a_worker_of_a_job_that_is_gone_holds_the_next_one_up() {
    let there = |stray: Option<&str>| Observed {
        jobs: vec![prepared()],
        stray: stray.map(ToOwned::to_owned),
        ..Observed::default()
    };
    let decision = decide(&run(), &there(Some("tiny-build-database-a1-x")), at(1));
    assert!(decision.actions.is_empty(), "{:?}", decision.actions);
    let (holds, message) = progressing(&decision);
    assert_eq!(holds, "False JobDeleted");
    assert!(message.contains("tiny-build-database-a1-x"), "{message}");
    assert!(decision.requeue_after.is_some());
    let free = decide(&run(), &there(None), at(1));
    assert!(matches!(free.actions[..], [Action::Create(_)]), "{free:?}");
}

#[test]
fn a_suspended_run_is_looked_at_as_long_as_its_workers_hold_devices() {
    let mut search = job("search-g0-a1").suspended();
    search.held = vec![Held {
        worker: "w".to_owned(),
        is_over: false,
        starting_seconds: 1,
        seconds: 9,
    }];
    let mut rests = run();
    rests.suspend = true;
    let look = |search: &ObservedJob| {
        let observed = Observed {
            jobs: vec![prepared(), built(), search.clone()],
            ..Observed::default()
        };
        decide(&rests, &observed, at(1)).requeue_after
    };
    assert!(look(&search).is_some());
    search.held[0].is_over = true;
    assert_eq!(look(&search), None);
}

#[test]
fn a_rejected_spec_says_so_and_lets_what_runs_run() {
    let rejection = Rejection {
        reason: darwinlm_api::conditions::Reason::NotYetSupported,
        message: "spec.budget is not yet supported; leave it out".into(),
    };
    let decision = reject(&rejection, false, Some(4), &Observed::default(), at(1));
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
