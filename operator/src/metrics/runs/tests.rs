//! What a scrape says of runs.

use std::sync::Arc;

use darwinlm_api::{Budget, PruningRun};

use crate::metrics::Metrics;

fn run(name: &str) -> Arc<PruningRun> {
    let text = include_str!("../../../tests/fixtures/cluster-run.yaml");
    let mut run: PruningRun = serde_saphyr::from_str(text).unwrap();
    run.metadata.name = Some(name.to_owned());
    run.spec.budget = Some(Budget { gpu_hours: 2 });
    run.status = Some(
        serde_json::from_value(serde_json::json!({
            "stage": "Searching",
            "conditions": [{"type": "Prepared", "status": "True", "reason": "Complete",
                "message": "", "lastTransitionTime": "2026-01-01T12:00:00Z"}],
            "search": {
                "generation": 57,
                "survivor": {"genome": {"attention": "5a", "mlp": "45"}, "fitness": "0.2413",
                    "validationKl": "0.2530", "validationPerplexity": "14.5", "parameters": 2_607_415_296_i64,
                    "bornInGeneration": 55},
                "trials": {"done": 1767, "failed": 2, "repeated": 5},
                "spentGpuSeconds": 16,
            },
            "gpuSeconds": {"useful": 10, "starting": 1, "waiting": 2, "lost": 3},
            "forecast": {"gpuSeconds": 20, "errorPercent": -20},
            "postTraining": {"tokens": 4096, "loss": "2.5"},
            "evaluation": {
                "validation": {"pruned": {"perplexity": "12.5", "kl": "0.25", "parameters": 7}},
                "latency": {"dense": {"promptMicroseconds": 1500, "tokenMicroseconds": 250}},
            },
        }))
        .unwrap(),
    );
    Arc::new(run)
}

#[test]
fn a_runs_series_are_these() {
    let text = Metrics::new().text(&[run("a")]);
    for line in [
        r#"darwinlm_run_info{name="a",namespace="research",stage="Searching"} 1"#,
        r#"darwinlm_run_condition{name="a",namespace="research",type="Prepared"} 1"#,
        r#"darwinlm_run_generation{name="a",namespace="research"} 57"#,
        r#"darwinlm_run_generations{name="a",namespace="research"} 60"#,
        r#"darwinlm_run_fitness{name="a",namespace="research"} 0.2413"#,
        r#"darwinlm_run_validation_kl{name="a",namespace="research"} 0.253"#,
        r#"darwinlm_run_survivor_perplexity{name="a",namespace="research"} 14.5"#,
        r#"darwinlm_run_validation_perplexity{model="pruned",name="a",namespace="research"} 12.5"#,
        r#"darwinlm_run_training_loss{name="a",namespace="research"} 2.5"#,
        r#"darwinlm_run_survivor_parameters{name="a",namespace="research"} 2607415296"#,
        r#"darwinlm_run_survivor_level{block="1",module="attention",name="a",namespace="research"} 10"#,
        r#"darwinlm_run_survivor_level{block="0",module="mlp",name="a",namespace="research"} 4"#,
        r#"darwinlm_run_trials{name="a",namespace="research",outcome="done"} 1767"#,
        r#"darwinlm_run_gpu_seconds{cause="lost",name="a",namespace="research"} 3"#,
        r#"darwinlm_run_budget_gpu_seconds{name="a",namespace="research"} 7200"#,
        r#"darwinlm_run_spent_gpu_seconds{name="a",namespace="research"} 16"#,
        r#"darwinlm_run_forecast_gpu_seconds{name="a",namespace="research"} 20"#,
        r#"darwinlm_run_forecast_error_ratio{name="a",namespace="research"} -0.2"#,
        r#"darwinlm_run_post_training_tokens{name="a",namespace="research"} 4096"#,
        r#"darwinlm_run_post_training_tokens_asked{name="a",namespace="research"} 1048576"#,
        r#"darwinlm_run_evaluated_kl{model="pruned",name="a",namespace="research"} 0.25"#,
        r#"darwinlm_run_evaluated_parameters{model="pruned",name="a",namespace="research"} 7"#,
        r#"darwinlm_run_prompt_seconds{model="dense",name="a",namespace="research"} 0.0015"#,
        r#"darwinlm_run_token_seconds{model="dense",name="a",namespace="research"} 0.00025"#,
    ] {
        assert!(text.contains(line), "{line} is missing from\n{text}");
    }
}

#[test]
fn a_run_that_does_not_move_says_why_until_it_does() {
    let waits = |status: &str, reason: &str| {
        let mut run = (*run("a")).clone();
        run.status = serde_json::from_value(serde_json::json!({"conditions": [
            {"type": "Progressing", "status": status, "reason": reason, "message": "",
             "lastTransitionTime": "2026-01-01T12:00:00Z"}]}))
        .unwrap();
        Metrics::new().text(&[Arc::new(run)])
    };
    let line = r#"darwinlm_run_stalled{name="a",namespace="research",reason="NoProgress"} 1"#;
    assert!(waits("False", "NoProgress").contains(line));
    for (status, reason) in [
        ("True", "Searching"),
        ("False", "Suspended"),
        ("False", "Finished"),
    ] {
        assert!(
            !waits(status, reason).contains("darwinlm_run_stalled{"),
            "{reason}"
        );
    }
}

#[test]
fn a_runs_series_vanish_with_the_run() {
    let metrics = Metrics::new();
    assert!(metrics.text(&[run("a"), run("b")]).contains("name=\"b\""));
    let text = metrics.text(&[run("a")]);
    assert!(
        text.contains("name=\"a\"") && !text.contains("name=\"b\""),
        "{text}"
    );
    assert!(!metrics.text(&[]).contains("darwinlm_run_"));
}

#[test]
fn a_run_that_has_ended_tells_no_levels() {
    for (status, told) in [("Unknown", true), ("True", false), ("False", false)] {
        let mut run = (*run("a")).clone();
        let known = run.status.as_mut().expect("it has one");
        known.conditions[0].type_ = "Succeeded".to_owned();
        known.conditions[0].status = status.to_owned();
        let text = Metrics::new().text(&[Arc::new(run)]);
        assert_eq!(
            text.contains("darwinlm_run_survivor_level{"),
            told,
            "{status}"
        );
    }
}
