//! The state machine in a world where anything may happen in any order.

#[path = "fixtures/given.rs"]
mod given;
#[path = "fixtures/world.rs"]
mod world;

use darwinlm_operator::run_controller::decide::{Action, Ended};
use darwinlm_operator::run_controller::queue::Queue;
use darwinlm_operator::run_controller::validate::ValidatedRun;
use darwinlm_task::Task;
use proptest::prelude::*;

use world::{Event, World};

/// A run whose target counts in parameters or in latency, with its Jobs in a queue or not.
fn run(measures: bool, queues: bool) -> ValidatedRun {
    let run = match measures {
        true => given::edited_run("level: 2", "speedupPercent: 150"),
        false => given::run(),
    };
    let queue = Queue {
        name: "gpus".into(),
        priority_class: None,
    };
    ValidatedRun {
        queue: queues.then_some(queue),
        ..run
    }
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        8 => Just(Event::Look),
        2 => Just(Event::LookAndForget),
        2 => Just(Event::LookAndDie),
        12 => Just(Event::Work),
        2 => Just(Event::LoseWorker),
        2 => Just(Event::Evict),
        1 => Just(Event::GiveUp),
        1 => any::<u8>().prop_map(Event::LoseReport),
        1 => any::<u8>().prop_map(Event::Vanish),
        1 => any::<u8>().prop_map(Event::Resize),
        1 => Just(Event::ToggleSuspend),
        1 => any::<u8>().prop_map(Event::Claim),
        1 => any::<u8>().prop_map(Event::Edit),
    ]
}

fn any_event() -> impl Strategy<Value = Event> {
    prop_oneof![40 => event(), 1 => Just(Event::MeetTheEnd)]
}

fn without_deletes(actions: Vec<Action>) -> Vec<Action> {
    actions
        .into_iter()
        .filter(|action| !matches!(action, Action::Delete(_)))
        .collect()
}

/// What must hold after every event.
fn check(world: &World) {
    assert!(world.live().len() <= 1, "two live Jobs: {:?}", world.live());
    let decision = world.decide();
    assert_eq!(
        decision,
        world.decide(),
        "the same observation gives the same decision"
    );
    let mut next = world.clone();
    next.look();
    let again = next.decide();
    assert_eq!(
        without_deletes(again.actions),
        [],
        "what was carried out needs nothing more"
    );
    assert_eq!(again.ended, decision.ended);
    let mut later = next.clone();
    later.look();
    let last = later.decide();
    assert_eq!(last.actions, []);
    assert_eq!(
        last.status, later.status,
        "what was written needs no second write"
    );
    if decision.ended == Some(Ended::Succeeded) {
        let stored: Vec<_> = world.stored.iter().copied().collect();
        let chain: Vec<_> = world.run.chain.iter().map(Task::kind).collect();
        assert_eq!(
            stored, chain,
            "a run succeeds only when the store has everything"
        );
        assert_eq!(world.ledger, world.run.generations);
    }
}

/// Looks and works until the run ends, which a fair world leads to soon; true if it does.
fn ends(world: &mut World, after_each: impl Fn(&World)) -> bool {
    for _ in 0..100 {
        if world.look().ended.is_some() {
            return true;
        }
        world.work();
        after_each(world);
    }
    false
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn a_fair_world_always_ends_the_run(
        events in prop::collection::vec(event(), 0..80),
        (measures, queues) in any::<(bool, bool)>(),
    ) {
        let mut world = World::new(run(measures, queues));
        for event in events {
            world.happen(event);
            check(&world);
        }
        // From here on workers work and the operator lives, too.
        world.be_fair();
        prop_assert!(ends(&mut world, check), "the run is stuck: {:?}", world.status);
    }

    #[test]
    fn what_has_ended_stays_ended(
        before in prop::collection::vec(any_event(), 0..80),
        after in prop::collection::vec(any_event(), 0..40),
        queues: bool,
    ) {
        let mut world = World::new(run(false, queues));
        before.into_iter().for_each(|event| world.happen(event));
        world.be_fair();
        prop_assert!(ends(&mut world, |_| ()), "the run is stuck: {:?}", world.status);
        let ended = world.decide().ended;
        for event in after {
            world.happen(event);
            let decision = world.decide();
            prop_assert_eq!(&decision.ended, &ended);
            prop_assert_eq!(decision.actions, []);
        }
    }

    #[test]
    fn without_failures_every_run_succeeds(
        waits in prop::collection::vec(prop_oneof![
            Just(Event::Look), Just(Event::Work), Just(Event::LookAndForget),
            Just(Event::LookAndDie), Just(Event::LoseWorker), Just(Event::ToggleSuspend), Just(Event::Evict),
            any::<u8>().prop_map(Event::Resize), any::<u8>().prop_map(Event::Claim),
            any::<u8>().prop_map(Event::Edit),
        ], 0..80),
        (measures, queues) in any::<(bool, bool)>(),
    ) {
        let mut world = World::new(run(measures, queues));
        waits.into_iter().for_each(|event| world.happen(event));
        world.be_fair();
        prop_assert!(ends(&mut world, |_| ()), "the run is stuck: {:?}", world.status);
        prop_assert_eq!(world.decide().ended, Some(Ended::Succeeded));
    }
}
