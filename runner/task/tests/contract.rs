//! The contract between operator and runner, as both rely on it.

use std::path::Path;

use darwinlm_search::{
    AttentionUnit, Exchange, FitnessKind, Genome, Level, Optimizer, SelectionStep,
};
use darwinlm_task::{
    DeviceRequest, EvaluationSpec, ExitCode, GpuSeconds, Outcome, Progress, PruningSpec,
    REPORT_LIMIT_BYTES, RunIdentity, SearchReport, SearchSettings, Spacing, SurvivorReport,
    TargetSpec, Task, TaskKind, TaskReport, TaskSpec, TrialCounts, VERSION, schemas,
};
use proptest::prelude::*;

fn run() -> RunIdentity {
    RunIdentity {
        namespace: "models".into(),
        name: "n".repeat(40),
        uid: "0b7c1f9e-5a37-4ed4-9f0c-2f6d1b1f6c11".into(),
    }
}

fn task() -> TaskSpec {
    TaskSpec {
        version: VERSION,
        run: run(),
        store: "file:///var/lib/darwinlm/volumes/data/store".into(),
        device: DeviceRequest::Cpu,
        devices: 1,
        task: Task::Search {
            pruning: PruningSpec {
                levels: 10,
                spacing: Spacing::Parameters,
                mlp_granularity: 32,
                attention_unit: AttentionUnit::QueryHead,
                damping_permille: 10,
            },
            target: TargetSpec::Parameters(2_700_000_000),
            settings: SearchSettings {
                seed: 0,
                generations: 200,
                offspring: 16,
                exchange: Exchange::WithinKind,
                fitness: FitnessKind::KullbackLeibler,
                continue_training: false,
                steps: vec![SelectionStep {
                    survivors: 1,
                    training_tokens: 10_000,
                    fitness_tokens: 1024,
                }],
                optimizer: Optimizer {
                    learning_rate: "1e-5".into(),
                    weight_decay: "0.01".into(),
                    batch_sequences: 1,
                },
            },
            until_generation: 25,
            budget_gpu_seconds: None,
        },
    }
}

/// A report of the largest model that DESIGN names: 80 blocks, ten survivors, the longest numbers.
fn large_report() -> TaskReport {
    let level = Level::new(7).expect("the level is small");
    let survivor = SurvivorReport {
        genome: Genome::uniform(80, level),
        fitness: "0.24130712345678901".into(),
        validation_kl: Some("0.25300712345678901".into()),
        validation_perplexity: None,
        parameters: 70_553_706_496,
        born_in_generation: 999_999,
    };
    let mut survivors = vec![survivor; 10];
    survivors[0].validation_perplexity = Some("12.345607123456789".into());
    let mut report = TaskReport::running(&run(), &run().uid, TaskKind::Search);
    report.progress = Some(Progress {
        done: 31,
        total: 31,
        unit: "trials".into(),
    });
    report.search = Some(SearchReport {
        generation: 999_999,
        generations: 999_999,
        digest: format!("sha256:{}", "a".repeat(64)),
        survivors,
        trials: TrialCounts {
            done: 9_999_999,
            failed: 99_999,
            repeated: 99_999,
        },
        spent_gpu_seconds: 99_999_999,
    });
    report.gpu_seconds = Some(GpuSeconds {
        useful: 9_999_999,
        starting: 9_999_999,
        waiting: 9_999_999,
        lost: 9_999,
    });
    report.page = Some(format!("runs/models.{}/report.html", "n".repeat(40)));
    report
}

#[test]
fn a_report_with_ten_genomes_of_eighty_blocks_fits_a_termination_message() {
    let report = large_report();
    let text = report.to_json();
    assert!(text.len() <= REPORT_LIMIT_BYTES, "{} bytes", text.len());
    assert_eq!(
        serde_json::from_str::<TaskReport>(&text).unwrap(),
        report,
        "nothing was dropped"
    );
}

#[test]
fn a_report_that_would_not_fit_loses_its_message_first_and_stays_readable() {
    let mut report = large_report();
    report.fail(ExitCode::BadData, "BadData", &"zu groß: ".repeat(1000));
    let text = report.to_json();
    assert!(text.len() <= REPORT_LIMIT_BYTES, "{} bytes", text.len());
    let read: TaskReport = serde_json::from_str(&text).unwrap();
    assert_eq!(read.search.unwrap().survivors.len(), 10);
    assert!(matches!(read.outcome, Outcome::Failed { code: 65, .. }));
}

#[test]
fn a_task_reads_back_as_itself() {
    assert_eq!(TaskSpec::from_json(&task().to_json()).unwrap(), task());
}

#[test]
fn only_what_counts_in_latency_reads_the_table() {
    let with = |spacing, target| {
        let mut task = task().task;
        if let Task::Search {
            pruning,
            target: asked,
            ..
        } = &mut task
        {
            (pruning.spacing, *asked) = (spacing, target);
        }
        task
    };
    let speedup = TargetSpec::SpeedupPercent(150);
    assert!(!with(Spacing::Parameters, TargetSpec::SparsityPercent(50)).reads_latency());
    assert!(with(Spacing::Latency, TargetSpec::Level(2)).reads_latency());
    let Task::Search {
        pruning, target, ..
    } = with(Spacing::Parameters, speedup)
    else {
        panic!("no search")
    };
    // The database of even ladders is the same whatever the target counts in.
    let build = Task::BuildDatabase {
        pruning: pruning.clone(),
        workers: 1,
    };
    assert!(!build.reads_latency());
    let measure = Task::Measure { pruning, target };
    assert!(!measure.reads_latency(), "it writes the table");
    let kind = measure.kind();
    assert_eq!(kind.name(), "measure");
    assert!(kind.needs_device() && !kind.is_work_queue());
    let spec = TaskSpec {
        task: measure,
        ..task()
    };
    let text = spec.to_json();
    assert!(
        text.contains(r#""target":{"speedupPercent":150}"#),
        "{text}"
    );
    assert_eq!(TaskSpec::from_json(&text).unwrap(), spec);
}

#[test]
fn an_evaluation_without_latency_is_written_as_ever() {
    let text = serde_json::to_string(&EvaluationSpec::default()).unwrap();
    assert_eq!(text, "{}");
}

#[test]
fn a_task_of_another_version_is_refused_by_its_version() {
    let text = task()
        .to_json()
        .replacen(r#""version":1"#, r#""version":2,"new":true"#, 1);
    let error = TaskSpec::from_json(&text).unwrap_err().to_string();
    assert!(error.contains("version is 2"), "{error}");
}

#[test]
fn a_field_that_is_not_known_is_refused_by_name() {
    let text = task()
        .to_json()
        .replacen(r#""store""#, r#""stroe":"x","store""#, 1);
    let error = TaskSpec::from_json(&text).unwrap_err().to_string();
    assert!(error.contains("stroe"), "{error}");
}

#[test]
fn a_report_of_a_newer_worker_is_read_without_what_is_not_known() {
    fn add(value: &mut serde_json::Value) {
        match value {
            serde_json::Value::Object(fields) => {
                fields.values_mut().for_each(add);
                fields.insert("new".into(), "x".into());
            }
            serde_json::Value::Array(items) => items.iter_mut().for_each(add),
            _ => {}
        }
    }
    let report = large_report();
    let mut told = serde_json::to_value(&report).unwrap();
    // A genome is no field of a report's own.
    let survivors = told["search"]["survivors"].take();
    add(&mut told);
    told["search"]["survivors"] = survivors;
    told["search"]["survivors"][0]["new"] = 1.into();
    assert!(told.to_string().matches("\"new\"").count() > 4, "{told}");
    assert_eq!(serde_json::from_value::<TaskReport>(told).unwrap(), report);
}

#[test]
fn the_published_schemas_are_those_of_the_code() {
    for (name, text) in schemas() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("schemas")
            .join(name);
        let published = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            published == text,
            "{} is stale: run `cargo run -p darwinlm-task --example schemas`",
            path.display()
        );
    }
}

proptest! {
    #[test]
    fn any_message_leaves_a_report_that_fits(message in ".{0,6000}") {
        let mut report = large_report();
        report.fail(ExitCode::Bug, "WorkerFailed", &message);
        let text = report.to_json();
        prop_assert!(text.len() <= REPORT_LIMIT_BYTES);
        prop_assert!(serde_json::from_str::<TaskReport>(&text).is_ok());
    }
}
