//! Creates whose answers lie: what can be read back decides.

use darwinlm_store::{Claimed, Claims, Tally, WorkEnd};
use darwinlm_task::ExitCode;

use crate::broken::{Broken, Fault};
use crate::setting::{PATIENT, paths, run};
use crate::table::{Table, problem, reference, trials};

#[tokio::test(start_paused = true)]
async fn a_claim_whose_answer_was_lost_is_still_mine() {
    for fault in [
        Fault::AnswerLost,
        Fault::RequestLost,
        Fault::RetriedBelow,
        Fault::Forgotten,
    ] {
        let broken = Broken::new(fault, "claims", 1);
        let store = broken.store();
        let mut claims = Claims::new(&store, paths().prefix(), "a", PATIENT);
        let claimed = claims.claim("g000001-s0-t000", 3).await.unwrap();
        assert!(
            matches!(claimed, Claimed::Mine(_)),
            "{fault:?}: {claimed:?}"
        );
        assert_eq!(broken.left(), 0);
        let wrote = matches!(fault, Fault::AnswerLost | Fault::RetriedBelow);
        assert_eq!(broken.creates(), if wrote { 1 } else { 2 }, "{fault:?}");
        let told = matches!(fault, Fault::AnswerLost | Fault::RequestLost);
        let expected = Tally {
            claims_first: 1,
            errors: u64::from(told),
            retries: u64::from(!wrote),
            ..Tally::default()
        };
        assert_eq!(store.tally(), expected, "{fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_stays_away_is_an_error_after_five_attempts() {
    let broken = Broken::new(Fault::RequestLost, "claims", 100);
    let store = broken.store();
    let mut claims = Claims::new(&store, paths().prefix(), "a", PATIENT);
    let error = claims.claim("g000001-s0-t000", 3).await.unwrap_err();
    assert_eq!(error.exit_code(), ExitCode::StoreUnavailable);
    assert!(
        error.to_string().contains("connection reset by peer"),
        "{error}"
    );
    assert_eq!(broken.creates(), 5);
    assert_eq!((store.tally().errors, store.tally().retries), (5, 4));
}

#[tokio::test]
async fn a_search_over_lying_answers_is_the_same_search_and_computes_no_trial_twice() {
    let problem = problem(2);
    let digest = reference(&problem).digest().to_string();
    for fault in [Fault::AnswerLost, Fault::RetriedBelow] {
        let store = Broken::new(fault, "", 10_000).store();
        let table = Table::new(Default::default());
        let worked = run(&store, &problem, "a", table.clone()).await.unwrap();
        assert_eq!(
            (worked.end, &worked.report.digest),
            (WorkEnd::Done, &digest),
            "{fault:?}"
        );
        assert_eq!(
            table.ran.lock().unwrap().len(),
            trials(&problem),
            "{fault:?}"
        );
    }
    for fault in [Fault::RequestLost, Fault::Forgotten] {
        for keys in ["trials", "ledger"] {
            let broken = Broken::new(fault, keys, 2);
            let table = Table::new(Default::default());
            let worked = run(&broken.store(), &problem, "a", table.clone())
                .await
                .unwrap();
            assert_eq!(
                (broken.left(), &worked.report.digest),
                (0, &digest),
                "{fault:?} {keys}"
            );
            assert_eq!(
                table.ran.lock().unwrap().len(),
                trials(&problem),
                "{fault:?} {keys}"
            );
        }
    }
}
