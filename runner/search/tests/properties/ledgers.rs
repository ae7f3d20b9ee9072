//! Ledgers that were damaged or rewritten do not pass.

use darwinlm_search::{Entry, Part, Problem, ReplayError, Search, replay, verify_chain};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::problems::{Sketch, finished, sketches};

fn problem() -> Problem {
    Sketch {
        blocks: 3,
        offspring: 4,
        survivors: vec![2, 1],
        ..Sketch::plain()
    }
    .problem(3)
}

/// An entry with one value replaced, as someone would who then sealed it anew.
fn rewritten(entry: &Entry, pointer: &str, change: impl Fn(&Value) -> Value) -> Entry {
    let mut value = serde_json::to_value(entry).unwrap();
    let place = value
        .pointer_mut(pointer)
        .unwrap_or_else(|| panic!("{pointer} is there"));
    *place = change(place);
    serde_json::from_value(value).unwrap()
}

fn differing(error: ReplayError) -> (u32, Part) {
    match error {
        ReplayError::Differs {
            generation, part, ..
        } => (generation, part),
        other => panic!("{other}"),
    }
}

#[test]
fn every_changed_byte_of_every_entry_is_noticed() {
    let (_, entries) = finished(&problem());
    for entry in &entries {
        let bytes = entry.to_bytes();
        assert_eq!(&Entry::from_bytes(&bytes).unwrap(), entry);
        for at in 0..bytes.len() {
            for flip in [0x01, 0x20, 0x80] {
                let mut damaged = bytes.clone();
                damaged[at] ^= flip;
                assert!(
                    Entry::from_bytes(&damaged).is_err(),
                    "byte {at} flipped by {flip:#x}"
                );
            }
        }
        assert!(Entry::from_bytes(&bytes[..bytes.len() - 1]).is_err());
        assert!(Entry::from_bytes(&[&bytes[..], b" "].concat()).is_err());
    }
}

#[test]
fn a_spelling_that_means_the_same_is_no_entry() {
    let bytes = finished(&problem()).1[1].to_bytes();
    let text = String::from_utf8(bytes).unwrap();
    for other in [
        text.replacen(":", ": ", 1),
        text.replacen("\"entry\"", "\"ent\\u0072y\"", 1),
    ] {
        assert_ne!(other, text);
        assert!(Entry::from_bytes(other.as_bytes()).is_err());
    }
}

#[test]
fn a_rewritten_entry_is_named_with_what_differs() {
    let (_, entries) = finished(&problem());
    let zero = || json!(darwinlm_search::Digest::of(b"else").to_string());
    let cases = [
        ("/Generation/previous", Part::Previous, zero()),
        ("/Generation/parent/mlp", Part::Parent, json!("013")),
        ("/Generation/offspring/1/mlp", Part::Offspring, json!("000")),
        ("/Generation/steps/1/minibatches", Part::Minibatches, zero()),
        ("/Generation/steps/1/trials/0/slot", Part::Trials, json!(9)),
        ("/Generation/survivor/parameters", Part::Survivor, json!(1)),
        (
            "/Generation/survivor/bornInGeneration",
            Part::Survivor,
            json!(77),
        ),
        ("/Generation/generation", Part::Generation, json!(3)),
    ];
    for (pointer, part, value) in cases {
        let mut entries = entries.clone();
        entries[2] = rewritten(&entries[2], pointer, |_| value.clone());
        let error = replay(&entries).unwrap_err();
        assert!(
            error.to_string().starts_with("ledger entry 2: its "),
            "{error}"
        );
        assert_eq!(differing(error), (2, part), "{pointer}");
    }
}

#[test]
fn a_rewritten_outcome_breaks_the_selection_or_the_chain() {
    let (whole, entries) = finished(&problem());
    let at = "/Generation/steps/0/trials/0/outcome";
    let worse = |_: &Value| json!({"Scored": {"fitness": "1e300"}});
    let better = |_: &Value| json!({"Scored": {"fitness": "-1.0"}});
    for (number, entry) in entries.iter().enumerate().skip(1) {
        for changed in [rewritten(entry, at, worse), rewritten(entry, at, better)] {
            let mut entries = entries.clone();
            entries[number] = changed;
            match replay(&entries) {
                Err(_) => {}
                // The newest entry has no successor: whoever knows the digest sees it.
                Ok(replayed) => {
                    assert_eq!(number + 1, entries.len());
                    assert_ne!(replayed.search.digest(), whole.digest());
                }
            }
        }
    }
}

#[test]
fn a_ledger_of_another_problem_is_refused() {
    let (_, entries) = finished(&problem());
    let mut other = problem();
    other.pins.level_database = darwinlm_search::Digest::of(b"another database");
    let error = Search::resume(other, &entries).unwrap_err();
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert!(
        source.starts_with("ledger entry 0: its problem should be sha256:"),
        "{source}"
    );
}

#[test]
fn entries_that_are_missing_doubled_or_too_many_are_noticed() {
    let (_, entries) = finished(&problem());
    assert!(matches!(replay(&[]), Err(ReplayError::Empty)));
    assert!(matches!(verify_chain(&[]), Err(ReplayError::Empty)));
    let without = |number: usize| {
        let mut entries = entries.clone();
        entries.remove(number);
        entries
    };
    for broken in [
        without(0),
        without(1),
        without(2),
        [&entries[..2], &entries[1..]].concat(),
    ] {
        assert_eq!(differing(replay(&broken).unwrap_err()).1, Part::Generation);
        assert_eq!(
            differing(verify_chain(&broken).unwrap_err()).1,
            Part::Generation
        );
    }
    let mut beyond = entries.clone();
    beyond.push(rewritten(&entries[3], "/Generation/generation", |_| {
        json!(4)
    }));
    let error = replay(&beyond).unwrap_err();
    assert_eq!(
        error.to_string(),
        "ledger entry 4: the search ends before it"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn every_ledger_replays_from_its_bytes(sketch in sketches()) {
        let (search, entries) = finished(&sketch.problem(3));
        let read: Vec<Entry> =
            entries.iter().map(|entry| Entry::from_bytes(&entry.to_bytes()).unwrap()).collect();
        prop_assert_eq!(verify_chain(&read).unwrap(), search.digest());
        let replayed = replay(&read).unwrap();
        prop_assert_eq!(replayed.survivors.len(), entries.len());
        prop_assert_eq!(replayed.survivors.last(), Some(search.survivor()));
        prop_assert_eq!(replayed.search, search);
    }
}
