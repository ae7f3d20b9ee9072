//! One operator's view of a lease, as tables.

use super::*;

fn at(seconds: u64) -> BootTime {
    BootTime::after_boot(Duration::from_secs(seconds))
}

fn wall(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap()
}

fn contender(me: &str) -> Contender {
    let settings = Settings::new(15, 10, 2).unwrap();
    Contender::new("lease".to_owned(), me.to_owned(), settings)
}

/// The lease as the API server stores it.
fn stored(mut lease: Lease, version: u32) -> Lease {
    lease.metadata.resource_version = Some(version.to_string());
    lease
}

fn leading(me: &str, now: BootTime) -> Contender {
    let mut leader = contender(me);
    leader.see(None, now);
    let bid = stored(leader.bid(wall(0)), 1);
    leader.won(bid, now, now);
    leader
}

fn lease_of(contender: &Contender) -> Lease {
    contender.seen.clone().unwrap().lease
}

#[test]
fn a_lease_that_nobody_has_is_taken() {
    let mut a = contender("a");
    a.see(None, at(0));
    assert_eq!(a.step(at(0)), Step::Take);
    let bid = a.bid(wall(7));
    assert_eq!(bid.metadata.name.as_deref(), Some("lease"));
    assert_eq!(bid.metadata.resource_version, None);
    let spec = bid.spec.unwrap();
    assert_eq!(spec.holder_identity.as_deref(), Some("a"));
    assert_eq!(
        (spec.lease_duration_seconds, spec.lease_transitions),
        (Some(15), Some(0))
    );
    assert_eq!(spec.acquire_time, spec.renew_time);
}

#[test]
fn another_s_lease_is_taken_when_it_has_stood_still_for_its_duration_and_no_sooner() {
    let lease = lease_of(&leading("a", at(0)));
    let mut b = contender("b");
    // A clock of its own: what it reads has nothing to do with a's.
    b.see(Some(lease.clone()), at(1000));
    for now in [1000, 1014] {
        b.see(Some(lease.clone()), at(now));
        assert_eq!(b.step(at(now)), Step::Wait);
    }
    b.see(Some(lease), at(1015));
    assert_eq!(b.step(at(1015)), Step::Take);
    let bid = b.bid(wall(0));
    assert_eq!(bid.metadata.resource_version.as_deref(), Some("1"));
    assert_eq!(bid.spec.unwrap().lease_transitions, Some(1));
}

#[test]
fn the_holders_own_promise_counts_not_ours() {
    let mut lease = lease_of(&leading("a", at(0)));
    lease.spec.as_mut().unwrap().lease_duration_seconds = Some(60);
    let mut b = contender("b");
    b.see(Some(lease), at(0));
    assert_eq!(b.step(at(59)), Step::Wait);
    assert_eq!(b.step(at(60)), Step::Take);
}

#[test]
fn a_renewal_begins_the_wait_anew_and_a_label_does_not() {
    let mut a = leading("a", at(0));
    let mut b = contender("b");
    b.see(Some(lease_of(&a)), at(0));
    let renewal = stored(a.bid(wall(9)), 2);
    a.won(renewal.clone(), at(9), at(9));
    b.see(Some(renewal.clone()), at(9));
    assert_eq!(b.step(at(23)), Step::Wait);
    b.see(Some(stored(renewal, 3)), at(20));
    assert_eq!(b.step(at(24)), Step::Take);
    assert_eq!(
        b.bid(wall(0)).metadata.resource_version.as_deref(),
        Some("3")
    );
}

#[test]
fn the_holder_stops_before_anybody_may_take_over() {
    let a = leading("a", at(100));
    let claim = a.claim().unwrap();
    assert!(claim.permits(at(109)));
    assert!(!claim.permits(at(110)));
    assert_eq!(claim.expiry, at(115));
    assert_eq!(a.lost(at(109)), None);
    let within = Duration::from_secs(10);
    assert_eq!(a.lost(at(110)), Some(Lost::NotRenewed { within }));
}

#[test]
fn a_claim_counts_from_before_its_renewal_was_sent() {
    let mut a = contender("a");
    a.see(None, at(0));
    let bid = stored(a.bid(wall(0)), 1);
    a.won(bid, at(1), at(6));
    assert!(!a.claim().unwrap().permits(at(11)));
}

#[test]
fn a_holder_that_sees_another_s_name_has_lost_at_once() {
    let mut a = leading("a", at(0));
    let mut others = lease_of(&a);
    others.spec.as_mut().unwrap().holder_identity = Some("b".to_owned());
    a.see(Some(others), at(1));
    assert_eq!(a.lost(at(1)), Some(Lost::Taken { by: "b".to_owned() }));
}

#[test]
fn a_lease_that_was_deleted_is_made_again_by_its_holder_and_waited_for_by_others() {
    let mut a = leading("a", at(0));
    let mut b = contender("b");
    b.see(Some(lease_of(&a)), at(0));
    a.see(None, at(5));
    b.see(None, at(5));
    assert_eq!((a.step(at(5)), a.lost(at(5))), (Step::Take, None));
    assert_eq!(a.bid(wall(0)).metadata.resource_version, None);
    assert_eq!(b.step(at(14)), Step::Wait);
    assert_eq!(b.step(at(15)), Step::Take);
}

#[test]
fn a_lease_that_was_released_is_taken_at_once() {
    let mut a = leading("a", at(0));
    let released = a.release(wall(1)).unwrap();
    assert!(a.claim().is_none());
    assert_eq!(released.metadata.resource_version.as_deref(), Some("1"));
    let mut b = contender("b");
    b.see(Some(lease_of(&leading("a", at(0)))), at(0));
    b.see(Some(stored(released, 2)), at(1));
    assert_eq!(b.step(at(1)), Step::Take);
}

#[test]
fn who_does_not_hold_the_lease_has_nothing_to_release() {
    let mut b = contender("b");
    assert_eq!(b.release(wall(0)), None);
    b.see(Some(lease_of(&leading("a", at(0)))), at(0));
    assert_eq!(b.release(wall(0)), None);
}

#[test]
fn a_renewal_differs_from_the_last_even_if_the_wall_clock_stands() {
    let a = leading("a", at(0));
    let renewal = a.bid(wall(0)).spec.unwrap();
    assert_ne!(renewal.renew_time, lease_of(&a).spec.unwrap().renew_time);
    assert_eq!(
        renewal.acquire_time,
        lease_of(&a).spec.unwrap().acquire_time
    );
    assert_eq!(renewal.lease_transitions, Some(0));
}
