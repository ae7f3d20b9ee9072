//! The golden list of names: what the operator serves, what is documented, what dashboards and alerts may ask for.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::{Metrics, runs::gauges};

/// Every name. Somebody's dashboard or alert breaks when one of them goes.
const NAMES: [&str; 36] = [
    "darwinlm_api_requests_total",
    "darwinlm_build_info",
    "darwinlm_definition_missing_fields",
    "darwinlm_leader",
    "darwinlm_lease_transitions",
    "darwinlm_reconcile_active",
    "darwinlm_reconcile_duration_seconds",
    "darwinlm_reconcile_errors_total",
    "darwinlm_reconcile_total",
    "darwinlm_reconcile_wait_seconds",
    "darwinlm_reconcile_waiting",
    "darwinlm_run_budget_gpu_seconds",
    "darwinlm_run_condition",
    "darwinlm_run_evaluated_kl",
    "darwinlm_run_evaluated_parameters",
    "darwinlm_run_fitness",
    "darwinlm_run_forecast_error_ratio",
    "darwinlm_run_forecast_gpu_seconds",
    "darwinlm_run_generation",
    "darwinlm_run_generations",
    "darwinlm_run_gpu_seconds",
    "darwinlm_run_info",
    "darwinlm_run_post_training_tokens",
    "darwinlm_run_post_training_tokens_asked",
    "darwinlm_run_prompt_seconds",
    "darwinlm_run_spent_gpu_seconds",
    "darwinlm_run_stalled",
    "darwinlm_run_survivor_level",
    "darwinlm_run_survivor_parameters",
    "darwinlm_run_survivor_perplexity",
    "darwinlm_run_token_seconds",
    "darwinlm_run_training_loss",
    "darwinlm_run_trials",
    "darwinlm_run_validation_kl",
    "darwinlm_run_validation_perplexity",
    "darwinlm_watch_errors_total",
];

/// Those of workers are the runner's; its own test holds them against their list.
const WORKERS: &str = "darwinlm_worker_";

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Every word of a text that looks like the name of a metric.
fn words(text: &str) -> BTreeSet<&str> {
    text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
        .filter(|word| word.starts_with("darwinlm_"))
        // A worker's labels that come from its pod's.
        .filter(|word| !word.starts_with("darwinlm_io_"))
        .collect()
}

#[test]
fn the_names_are_these() {
    let metrics = Metrics::new();
    metrics.reconciled(Some("observe"), std::time::Duration::from_millis(3));
    metrics
        .api_requests
        .with_label_values(&["get", "200"])
        .inc();
    let text = metrics.text(&[]);
    let own = text.lines().filter_map(|line| {
        let line = line.strip_prefix("# TYPE ")?;
        Some(line.split_once(' ')?.0)
    });
    let served: BTreeSet<&str> = own.chain(gauges::NAMES.iter().copied()).collect();
    assert_eq!(served, BTreeSet::from(NAMES));
}

#[test]
fn the_guide_explains_every_name() {
    let guide = include_str!("../../guides/reference.md");
    for name in NAMES {
        assert!(guide.contains(&format!("`{name}`")), "{name}");
    }
}

#[test]
fn dashboards_and_alerts_ask_for_names_that_there_are() {
    let chart = repository().join("charts/darwinlm");
    for file in [
        "alerts/operator.yaml",
        "dashboards/fleet.json",
        "dashboards/run.json",
    ] {
        let text = fs::read_to_string(chart.join(file)).expect("the chart has it");
        let asked = words(&text);
        assert!(!asked.is_empty(), "{file} asks for nothing");
        for word in asked.iter().filter(|word| !word.starts_with(WORKERS)) {
            let name = word.strip_suffix("_bucket").unwrap_or(word);
            assert!(NAMES.contains(&name), "{file} asks for {word}");
        }
    }
}
