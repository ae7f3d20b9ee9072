//! Claims that a run names.

use super::*;

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
