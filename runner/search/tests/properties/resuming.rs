//! A search that was stopped anywhere goes on as if it had not been.

use darwinlm_search::{Entry, Outcome, Search, Told};
use proptest::prelude::*;

use crate::problems::{Sketch, finished, run, score, sketches};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_search_resumed_from_any_prefix_of_its_ledger_ends_the_same(sketch in sketches(), at: u16) {
        let problem = sketch.problem(4);
        let (whole, entries) = finished(&problem);
        let kept = usize::from(at) % (entries.len() + 1);
        let mut resumed = Search::resume(problem, &entries[..kept]).unwrap();
        prop_assert_eq!(resumed.generation() as usize, kept.saturating_sub(1));
        let rest = run(&mut resumed, score);
        prop_assert_eq!(&rest[1..], &entries[kept.max(1)..]);
        prop_assert_eq!(resumed, whole);
    }

    #[test]
    fn a_search_follows_an_entry_from_anywhere_in_its_generation(sketch in sketches(), at: u16) {
        let problem = sketch.problem(2);
        let (whole, entries) = finished(&problem);
        let mut search = Search::new(problem).unwrap();
        for entry in &entries[1..] {
            let Entry::Generation(entry) = entry else { panic!("only entry 0 is the problem") };
            let trials = entry.trials().count();
            for _ in 0..usize::from(at) % trials {
                let trial = search.ask().swap_remove(0);
                search.tell(trial.id, score(&trial)).unwrap();
            }
            search.follow(entry).unwrap();
        }
        prop_assert_eq!(search, whole);
    }

    #[test]
    fn a_search_stored_between_any_two_outcomes_ends_the_same(sketch in sketches(), at: u16) {
        let problem = sketch.problem(3);
        let (whole, entries) = finished(&problem);
        let mut search = Search::new(problem).unwrap();
        let mut seen: Vec<Entry> = vec![search.genesis()];
        for _ in 0..at % 60 {
            // The last open trial first: the stored outcomes need no order.
            let Some(trial) = search.ask().pop() else { break };
            if let Told::GenerationComplete(entry) = search.tell(trial.id, score(&trial)).unwrap() {
                seen.push(entry);
            }
        }
        let stored = serde_json::to_vec(&search).unwrap();
        let mut read: Search = serde_json::from_slice(&stored).unwrap();
        prop_assert_eq!(&read, &search);
        seen.extend(run(&mut read, score).split_off(1));
        prop_assert_eq!(seen, entries);
        prop_assert_eq!(read, whole);
    }
}

#[test]
fn a_search_that_was_told_otherwise_does_not_follow_and_stays_as_it_was() {
    let problem = Sketch::plain().problem(2);
    let (_, entries) = finished(&problem);
    let [_, Entry::Generation(first), Entry::Generation(second)] = &entries[..] else {
        panic!("two generations make three entries")
    };
    let mut search = Search::new(problem).unwrap();
    let id = search.ask()[0].id;
    search.tell(id, Outcome::of(123.0)).unwrap();
    let before = search.clone();
    assert!(search.follow(first).is_err());
    assert!(search.follow(second).is_err());
    assert_eq!(search, before);
}
