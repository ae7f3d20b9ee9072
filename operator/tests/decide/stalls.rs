//! Why a run does not move, and when it does again.

use super::*;

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
        message.contains("Remedy: correct the Secret (spec.model.credentialsSecretRef"),
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
