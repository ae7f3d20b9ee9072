//! The golden list of names, and what stands behind them.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use darwinlm_store::{ClaimTimes, Claimed, Claims, Tally};

use crate::device::Held;
use crate::process::Resident;

use super::*;

/// The golden list: somebody's dashboard breaks when one of them goes.
const NAMES: [&str; 16] = [
    "darwinlm_worker_claims_lost_total",
    "darwinlm_worker_claims_total",
    "darwinlm_worker_device_memory_bytes",
    "darwinlm_worker_device_memory_peak_bytes",
    "darwinlm_worker_generation",
    "darwinlm_worker_model_flops_total",
    "darwinlm_worker_modules_total",
    "darwinlm_worker_peak_flops_per_second",
    "darwinlm_worker_resident_memory_bytes",
    "darwinlm_worker_resident_memory_peak_bytes",
    "darwinlm_worker_store_errors_total",
    "darwinlm_worker_store_retries_total",
    "darwinlm_worker_tokens_scored_total",
    "darwinlm_worker_tokens_trained_total",
    "darwinlm_worker_trial_seconds",
    "darwinlm_worker_trials_total",
];

fn on_a_gpu() -> Now {
    Now {
        held: Some(Held { now: 5, most: 7 }),
        resident: Some(Resident { now: 11, most: 13 }),
        tally: Tally {
            claims_first: 4,
            claims_again: 3,
            claims_lost: 2,
            errors: 9,
            retries: 8,
        },
    }
}

fn names(text: &str) -> BTreeSet<&str> {
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    types
        .filter_map(|line| Some(line.split_once(' ')?.0))
        .collect()
}

#[test]
fn the_names_are_these() {
    let metrics = Metrics::new();
    metrics.computes_on("NVIDIA L4", Dtype::BFloat16);
    metrics.searches(1);
    assert_eq!(names(&metrics.text_of(on_a_gpu())), BTreeSet::from(NAMES));
    let on_file = include_str!("../../metrics.txt");
    assert_eq!(names(on_file), BTreeSet::from(NAMES));
    for name in NAMES {
        assert!(include_str!("../../README.md").contains(name), "{name}");
    }
}

#[test]
fn what_nobody_knows_is_not_told() {
    let metrics = Metrics::new();
    metrics.computes_on(device::UNKNOWN, Dtype::Float32);
    let text = metrics.text_of(Now {
        held: None,
        resident: None,
        tally: Tally::default(),
    });
    let told = names(&text);
    for name in NAMES {
        let unknown = name.contains("_memory_") || name.contains("_peak_");
        let of_searches = name == "darwinlm_worker_trials_total";
        assert_eq!(told.contains(name), !unknown && !of_searches, "{name}");
    }
}

#[test]
fn every_figure_is_told_under_its_own_name() {
    let metrics = Metrics::new();
    metrics.computes_on("NVIDIA L4", Dtype::BFloat16);
    metrics.searches(2);
    metrics.tried(1, Tried::OutOfMemory);
    let work = |tokens, flops| Work { tokens, flops };
    metrics.trained(work(10, 600));
    metrics.scored(work(20, 400));
    metrics.passed(work(30, 50));
    let text = metrics.text_of(on_a_gpu());
    for line in [
        r#"claims_lost_total 2"#,
        r#"claims_total{attempt="again"} 3"#,
        r#"claims_total{attempt="first"} 4"#,
        r#"device_memory_bytes 5"#,
        r#"device_memory_peak_bytes 7"#,
        r#"model_flops_total 1050"#,
        r#"peak_flops_per_second{device="NVIDIA L4",dtype="BFloat16"} 121000000000000"#,
        r#"resident_memory_bytes 11"#,
        r#"resident_memory_peak_bytes 13"#,
        r#"store_errors_total 9"#,
        r#"store_retries_total 8"#,
        r#"tokens_scored_total 20"#,
        r#"tokens_trained_total 10"#,
        r#"trials_total{outcome="done",step="0"} 0"#,
        r#"trials_total{outcome="out_of_memory",step="1"} 1"#,
    ] {
        let line = format!("\ndarwinlm_worker_{line}\n");
        assert!(text.contains(&line), "{line} is not in {text}");
    }
}

#[tokio::test]
async fn what_a_store_counts_is_told() {
    let (metrics, store) = (Metrics::new(), Store::open("memory:///").unwrap());
    metrics.works_with(&store);
    let mut claims = Claims::new(&store, "runs/r", "w", ClaimTimes::default());
    let claimed = claims.claim("g000001-s0-t000", 3).await.unwrap();
    assert!(matches!(claimed, Claimed::Mine(_)), "{claimed:?}");
    let line = r#"darwinlm_worker_claims_total{attempt="first"} 1"#;
    assert!(metrics.text().contains(line), "{}", metrics.text());
}

#[test]
fn the_runs_dashboard_asks_workers_for_names_that_there_are() {
    let file = "../charts/darwinlm/dashboards/run.json";
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file));
    let text = text.expect("the chart has it");
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    let asked: BTreeSet<&str> = words
        .filter(|word| word.starts_with("darwinlm_worker_"))
        .map(|word| word.strip_suffix("_bucket").unwrap_or(word))
        .collect();
    assert_eq!(asked, BTreeSet::from(NAMES), "asked and served");
}
