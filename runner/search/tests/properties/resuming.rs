//! A search that was stopped anywhere goes on as if it had not been.

use darwinlm_search::{Entry, Search, Told};
use proptest::prelude::*;

use crate::problems::{finished, run, score, sketches};

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
