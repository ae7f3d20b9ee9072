//! Claims on a paused clock: sixty seconds pass at once, and exactly.

use darwinlm_task::RunIdentity;
use darwinlm_task::paths::RunPaths;
use tokio::time::advance;

use super::*;

const SUBJECT: &str = "g000001-s0-t000";

fn paths() -> RunPaths {
    let text = |text: &str| text.to_owned();
    RunPaths::new(&RunIdentity {
        namespace: text("n"),
        name: text("r"),
        uid: text("u"),
    })
}

fn observers(count: usize) -> Vec<Claims> {
    let store = Store::open("memory:///").unwrap();
    let new = |i| {
        Claims::new(
            &store,
            paths().prefix(),
            &format!("w{i}"),
            ClaimTimes::default(),
        )
    };
    (0..count).map(new).collect()
}

async fn mine(claims: &mut Claims) -> Claim {
    match claims.claim(SUBJECT, 3).await.unwrap() {
        Claimed::Mine(claim) => claim,
        other => panic!("not claimed: {other:?}"),
    }
}

async fn is_held(claims: &mut Claims) -> bool {
    matches!(claims.claim(SUBJECT, 3).await.unwrap(), Claimed::Held)
}

/// Lets time pass in steps short enough for every beat and every look.
async fn pass(seconds: u64) {
    for _ in 0..seconds {
        advance(Duration::from_secs(1)).await;
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn one_of_many_gets_the_claim() {
    let claims = observers(8);
    let tasks = claims
        .into_iter()
        .map(|mut claims| tokio::spawn(async move { claims.claim(SUBJECT, 3).await.unwrap() }));
    let claimed = futures::future::join_all(tasks.collect::<Vec<_>>()).await;
    let mine = claimed
        .iter()
        .filter(|c| matches!(c.as_ref().unwrap(), Claimed::Mine(_)))
        .count();
    assert_eq!(mine, 1);
}

#[tokio::test(start_paused = true)]
async fn a_claim_is_held_as_long_as_its_owner_beats() {
    let mut claims = observers(2);
    let claim = mine(&mut claims[0]).await;
    for _ in 0..100 {
        assert!(is_held(&mut claims[1]).await);
        pass(7).await;
    }
    claim.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_claim_is_retaken_sixty_seconds_after_the_observer_saw_it_stand_still() {
    let mut claims = observers(2);
    let claim = mine(&mut claims[0]).await;
    pass(35).await;
    drop(claim);
    // The owner stood still for an hour before this observer came: it cannot know.
    pass(3600).await;
    for second in 0..60 {
        assert!(is_held(&mut claims[1]).await, "retaken after {second} s");
        pass(1).await;
    }
    pass(2).await;
    let claim = mine(&mut claims[1]).await;
    assert_eq!(claim.attempt(), 2);
    let tally = claims[0].store.tally();
    assert_eq!((tally.claims_first, tally.claims_again), (1, 1));
    // And the first worker, back from the dead, sees that it is held.
    pass(2).await;
    assert!(is_held(&mut claims[0]).await);
}

#[tokio::test(start_paused = true)]
async fn a_stopped_owner_gives_its_claim_back_at_once() {
    let mut claims = observers(2);
    let claim = mine(&mut claims[0]).await;
    assert!(is_held(&mut claims[1]).await);
    claim.release().await;
    pass(2).await;
    assert_eq!(mine(&mut claims[1]).await.attempt(), 2);
}

#[tokio::test(start_paused = true)]
async fn exceptions_are_counted_over_all_workers_and_vanished_owners_are_not() {
    let mut claims = observers(3);
    mine(&mut claims[0]).await.fail("first").await;
    pass(3).await;
    mine(&mut claims[1]).await.release().await;
    pass(3).await;
    mine(&mut claims[1]).await.fail("second").await;
    pass(3).await;
    drop(mine(&mut claims[0]).await);
    assert!(is_held(&mut claims[2]).await);
    pass(63).await;
    let last = mine(&mut claims[2]).await;
    assert_eq!(last.attempt(), 5);
    last.fail("third").await;
    // Also a worker that was not there for any of it knows them all.
    let store = claims[0].store.clone();
    let mut late = Claims::new(&store, paths().prefix(), "late", ClaimTimes::default());
    match late.claim(SUBJECT, 3).await.unwrap() {
        Claimed::Failed { messages } => assert_eq!(messages, ["first", "second", "third"]),
        other => panic!("claimed a fourth time: {other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_damaged_beat_stands_still() {
    let mut claims = observers(2);
    let claim = mine(&mut claims[0]).await;
    pass(11).await;
    drop(claim);
    let key = paths::beat(paths().prefix(), SUBJECT, 1);
    assert!(claims[0].store.exists(&key).await.unwrap());
    claims[0]
        .store
        .put_overwrite(&key, "{\"cou".into())
        .await
        .unwrap();
    assert!(is_held(&mut claims[1]).await);
    pass(61).await;
    assert_eq!(mine(&mut claims[1]).await.attempt(), 2);
}

#[tokio::test(start_paused = true)]
async fn looking_at_a_held_claim_costs_one_look_in_two_seconds() {
    let mut claims = observers(2);
    let _claim = mine(&mut claims[0]).await;
    assert!(is_held(&mut claims[1]).await);
    // Nothing is read until then: even a second attempt goes unseen.
    let key = paths::claim(paths().prefix(), SUBJECT, 2);
    claims[0].store.put_create(&key, "{}".into()).await.unwrap();
    assert!(is_held(&mut claims[1]).await);
    assert_eq!(claims[1].observed.subject(SUBJECT).attempt, 1);
    pass(2).await;
    assert!(is_held(&mut claims[1]).await);
    assert_eq!(claims[1].observed.subject(SUBJECT).attempt, 2);
}
