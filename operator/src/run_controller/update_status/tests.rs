//! When a status is written, and how large it may be.

use darwinlm_api::{
    EvaluationStatus, GenomeStatus, SearchStatus, Survivor, TaskScore,
    conditions::{self, ConditionStatus, ConditionType, Finding, Reason},
};
use k8s_openapi::jiff::Timestamp;

use super::*;

const INTERVAL: Duration = Duration::from_secs(5);

fn progressing(message: &str, reason: Reason) -> PruningRunStatus {
    let status = PruningRunStatus::default();
    let type_ = ConditionType::Progressing;
    with(status, type_, ConditionStatus::True, reason, message)
}

fn with(
    mut status: PruningRunStatus,
    type_: ConditionType,
    holds: ConditionStatus,
    reason: Reason,
    message: &str,
) -> PruningRunStatus {
    let finding = Finding {
        type_,
        status: holds,
        reason,
        message: message.to_owned(),
    };
    conditions::set(
        &mut status.conditions,
        finding,
        Some(1),
        Timestamp::UNIX_EPOCH,
    );
    status
}

#[test]
fn a_status_that_says_nothing_new_is_not_written() {
    let status = progressing("a", Reason::Searching);
    assert_eq!(
        due(&status, &status, None, Instant::now(), INTERVAL),
        Due::Never
    );
}

#[test]
fn progress_is_written_at_most_once_in_the_interval() {
    let known = progressing("1 worker is at work", Reason::Searching);
    let new = progressing("2 workers are at work", Reason::Searching);
    let last = Instant::now();
    let after = |seconds| {
        due(
            &known,
            &new,
            Some(last),
            last + Duration::from_secs(seconds),
            INTERVAL,
        )
    };
    assert_eq!(after(2), Due::In(Duration::from_secs(3)));
    assert_eq!(after(5), Due::Now);
    assert_eq!(due(&known, &new, None, last, INTERVAL), Due::Now);
}

#[test]
fn a_condition_that_turns_and_a_new_revision_are_written_at_once() {
    let known = progressing("a", Reason::Searching);
    let last = Instant::now();
    let now = |new: &PruningRunStatus| due(&known, new, Some(last), last, INTERVAL);
    for type_ in ConditionType::ALL {
        let (holds, reason) = (ConditionStatus::False, Reason::Failed);
        let turned = with(known.clone(), *type_, holds, reason, "why");
        let expected = match type_ {
            ConditionType::Progressing => Due::In(INTERVAL),
            _ => Due::Now,
        };
        assert_eq!(now(&turned), expected, "{type_}");
    }
    let mut revised = known.clone();
    revised.observed_generation = Some(2);
    assert_eq!(now(&revised), Due::Now);
}

#[test]
fn workers_that_come_and_go_all_the_time_are_told_of_at_most_once_in_the_interval() {
    let mut written = progressing("3 workers are at work", Reason::Searching);
    let failing = with(
        written.clone(),
        ConditionType::Progressing,
        ConditionStatus::False,
        Reason::WorkerFailing,
        "worker w ended with exit code 70 and is replaced",
    );
    let states = [failing, written.clone()];
    let start = Instant::now();
    let (mut last, mut writes) = (start, 0);
    // Ten looks a second for a minute, each of which finds another state than the last.
    for look in 0..600_u32 {
        let now = start + Duration::from_millis(100) * look;
        let new = &states[look as usize % 2];
        if due(&written, new, Some(last), now, INTERVAL) == Due::Now {
            (written, last) = (new.clone(), now);
            writes += 1;
        }
    }
    assert!((10..=12).contains(&writes), "{writes} writes in a minute");
}

#[test]
fn a_status_never_outgrows_its_cap_and_keeps_the_survivor() {
    let genome = GenomeStatus {
        attention: "z".repeat(20_000),
        mlp: "z".repeat(20_000),
    };
    let survivor = Survivor {
        genome,
        ..Survivor::default()
    };
    let search = SearchStatus {
        generation: 7,
        survivor: Some(Survivor {
            genome: GenomeStatus::default(),
            ..survivor.clone()
        }),
        survivors: vec![survivor; 10],
        ..SearchStatus::default()
    };
    let score = TaskScore {
        name: "n".repeat(2000),
        ..TaskScore::default()
    };
    let evaluation = EvaluationStatus {
        tasks: vec![score; 64],
        ..EvaluationStatus::default()
    };
    let status = PruningRunStatus {
        search: Some(search),
        evaluation: Some(evaluation),
        ..PruningRunStatus::default()
    };
    let capped = capped(status);
    assert!(bytes(&capped) <= STATUS_BYTES, "{}", bytes(&capped));
    let search = capped.search.unwrap();
    assert_eq!(search.generation, 7);
    assert!(search.survivor.is_some());
}
