//! Timing modules and models: that every size is timed and what is counted, not how long it takes.

use std::sync::atomic::AtomicBool;

use darwinlm_runner::latency::{PAIRS, compare, sizes, time_modules};
use darwinlm_search::{Genome, Level, PerKind};

use crate::tiny::{UNITS, dense, sequences};

#[test]
fn modules_are_timed_at_every_size_and_two_models_in_turn() {
    let dense = dense("tiny-gqa");
    let go_on = AtomicBool::new(false);
    for unit in UNITS {
        let shape = dense.config.shape(unit);
        let sizes: PerKind<Vec<u32>> = sizes(&shape, 8);
        let ids_BT = sequences(2, 16, 3).batch(&[0, 1], 16, dense.model.device());
        let mut heard = (0, 0);
        let timed = time_modules(&dense, &shape, &sizes, &ids_BT, &go_on, |done, all| {
            heard = (done, all);
        })
        .unwrap();
        assert_eq!(heard.0, heard.1);
        assert!(timed.whole_nanoseconds > 0);
        let ladders = PerKind::of(|kind| timed.table.ladder(kind, 4).unwrap());
        let costs = timed.table.costs(&ladders).unwrap();
        let whole = costs.of_genome(&Genome::uniform(shape.blocks, Level::DENSE));
        assert!(
            whole
                > costs.of_genome(&Genome::of(shape.blocks, |module| {
                    ladders[module.kind].deepest()
                }))
        );
    }
    let ids_BT = sequences(2, 16, 3).batch(&[0, 1], 16, dense.model.device());
    let pairs = compare([&dense.model; 2], &ids_BT, 3, &go_on, |_, _| {}).unwrap();
    assert_eq!(pairs.len(), PAIRS as usize);
    for pass in pairs.iter().flatten() {
        assert!(pass.prompt > 0 && pass.tokens > 0 && pass.cache_bytes > 0);
        assert_eq!(pass.peak_bytes, None, "nobody counts bytes on the CPU");
    }
    let stop = AtomicBool::new(true);
    assert!(compare([&dense.model; 2], &ids_BT, 3, &stop, |_, _| {}).is_err());
}
