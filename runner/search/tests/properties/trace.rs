//! A whole search, byte by byte.

use darwinlm_search::Exchange;

use crate::problems::{Sketch, finished};

fn ledger(cost_permille: Option<u64>, exchange: Exchange) -> String {
    let sketch = Sketch {
        cost_permille,
        exchange,
        ..Sketch::plain()
    };
    let (_, entries) = finished(&sketch.problem(4));
    let bytes: Vec<u8> = entries.iter().flat_map(|entry| entry.to_bytes()).collect();
    String::from_utf8(bytes).unwrap()
}

#[test]
fn the_ledger_of_a_seed_with_a_level_target_never_changes() {
    insta::assert_snapshot!(ledger(None, Exchange::WithinKind));
}

#[test]
fn the_ledger_of_a_seed_with_a_cost_target_never_changes() {
    insta::assert_snapshot!(ledger(Some(450), Exchange::AcrossKinds));
}
