use darwinlm_api::PruningRun;
use darwinlm_task::{
    DeviceClass, Dtype, MemoryForecast, RATES_VERSION, Rates, SearchForecast, StorageForecast,
};

use super::*;
use crate::run_controller::validate::{Placement, validate};

fn run(budget_gpu_hours: Option<u64>) -> ValidatedRun {
    let yaml = include_str!("../../../../tests/fixtures/cluster-run.yaml");
    let run: PruningRun = serde_saphyr::from_str(yaml).unwrap();
    ValidatedRun {
        budget_gpu_seconds: budget_gpu_hours.map(|hours| hours * 3600),
        ..validate(&run, &Placement::Pods).unwrap()
    }
}

fn time(workers: u32, seconds: f64) -> TimeForecast {
    let task = |task, workers, seconds| TaskTime {
        task,
        workers,
        seconds,
        idle_seconds: seconds / 10.0,
    };
    TimeForecast {
        pruning_workers: workers,
        search_workers: workers,
        tasks: vec![
            task(TaskKind::BuildDatabase, workers, seconds / 4.0),
            task(TaskKind::Search, workers, seconds),
            task(TaskKind::Evaluate, 1, 90.0),
        ],
    }
}

fn forecast() -> Forecast {
    let memory = |task, bytes, words: Option<&str>| MemoryForecast {
        task,
        bytes,
        does_not_fit: words.map(str::to_owned),
    };
    let storage = |what: &str, bytes, shared| StorageForecast {
        what: what.to_owned(),
        bytes,
        shared,
    };
    Forecast {
        blocks: 32,
        dense_parameters: 6_738_415_616,
        target_parameters: 2_607_026_176,
        search: SearchForecast {
            generations: 60,
            candidates: vec![16, 8, 4, 3],
            trials: 1860,
            tokens_trained: 95_040_000,
            tokens_scored: 3_686_400,
        },
        memory_available: Some(40 << 30),
        memory: vec![
            memory(TaskKind::BuildDatabase, 17 << 30, None),
            memory(TaskKind::Search, 61 << 30, Some("it takes 61.0 GiB")),
        ],
        storage: vec![
            storage("model", 13_476_831_232, true),
            storage("checkpoints", 700, false),
        ],
        rates: Rates {
            version: RATES_VERSION,
            device: "NVIDIA H100 80GB HBM3".to_owned(),
            device_class: DeviceClass::Cuda,
            dtype: Dtype::BFloat16,
            threads: 2,
            memory: Some(80 << 30),
            measured_on: "1 block".to_owned(),
            forward: 1.0,
            score: 1.0,
            train: 1.0,
            train_output: 1.0,
            optimizer: 1.0,
            hessian: 1.0,
            prune_attention: 1.0,
            prune_mlp: 1.0,
            copy: 1.0,
            read: 1.0,
            start_seconds: 1.0,
        },
        times: vec![time(4, 86_400.0), time(1, 345_600.0), time(8, 43_200.0)],
    }
}

#[test]
fn the_page_is_the_one_on_file() {
    insta::assert_snapshot!(page(&run(Some(100)), &forecast()));
}

#[test]
fn a_budget_says_how_far_it_reaches() {
    let said = |hours| budget(&run(Some(hours)), &forecast());
    // 24 GPU hours go into the database, 96 into sixty generations.
    assert!(
        said(20).contains("before the first generation ends"),
        "{}",
        said(20)
    );
    assert!(said(40).contains("after about 10 of 60"), "{}", said(40));
    assert!(
        said(121).contains("enough for the whole search"),
        "{}",
        said(121)
    );
    assert_eq!(budget(&run(None), &forecast()), "");
}

#[test]
fn amounts_are_said_in_units_that_fit_them() {
    assert_eq!(hours(36.0), "0.010");
    assert_eq!(hours(7200.0), "2.0");
    assert_eq!(hours(1e6), "278");
    assert_eq!(duration(0.2), "1 s");
}
