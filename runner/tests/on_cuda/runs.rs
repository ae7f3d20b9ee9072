//! Whole runs: a CUDA device leaves in the store what the CPU leaves, byte by byte.

use std::collections::BTreeMap;

use darwinlm_task::DeviceRequest::{self, Cpu, Cuda};
use darwinlm_task::Memory;
use serde_json::Value;

use crate::world::World;

/// All tasks of a run: the first plans for one device, the others work on another.
fn run(
    model: &'static str,
    unit: &'static str,
    planned: DeviceRequest,
    on: DeviceRequest,
) -> World {
    let world = World::new(model, unit);
    world.finish(planned, &world.prepare());
    let tasks = [
        world.build_database(),
        world.search(2),
        world.search(3),
        world.post_train(),
        world.evaluate(),
        world.export(),
    ];
    for task in tasks {
        world.finish(on, &task);
    }
    world
}

/// What a run left, without what tells of time and place: the claims, the costs, the workers and the page.
fn left(world: &World) -> BTreeMap<String, Value> {
    // the sha256 of a trial's record is over the others
    const OF_TIME: [&str; 5] = [
        "milliseconds",
        "token",
        "device",
        "tokensPerSecond",
        "sha256",
    ];
    let mut left = BTreeMap::new();
    for (name, bytes) in world.files("store") {
        let tells_of_time = ["/claims/", "/workers/", ".cost.json", "/report.html"];
        if tells_of_time.iter().any(|part| name.contains(part)) {
            continue;
        }
        let mut value = match name.contains("/trials/") || name.ends_with("/evaluation.json") {
            true => serde_json::from_slice(&bytes).unwrap(),
            false => Value::from(bytes),
        };
        forget(&mut value, &OF_TIME);
        left.insert(name, value);
    }
    left
}

fn forget(value: &mut Value, names: &[&str]) {
    if let Value::Object(fields) = value {
        fields.retain(|name, _| !names.contains(&name.as_str()));
        fields.values_mut().for_each(|field| forget(field, names));
    }
}

/// Every exported file but the model cards and records, which tell of devices and of speed.
fn exports(world: &World) -> BTreeMap<String, Vec<u8>> {
    let mut files = world.files("out");
    files.retain(|name, _| !name.ends_with("README.md") && !name.ends_with("darwinlm.json"));
    assert!(files.contains_key("/transformers/model.safetensors"));
    files
}

/// The device that each trial says it ran on.
fn devices(world: &World) -> Vec<String> {
    let trials = world.files("store/runs/local.tiny/trials");
    let device = |bytes: &Vec<u8>| {
        let trial: Value = serde_json::from_slice(bytes).unwrap();
        trial["record"]["device"].as_str().unwrap().to_owned()
    };
    trials.values().map(device).collect()
}

fn assert_alike(model: &'static str, unit: &'static str, planned: DeviceRequest) {
    let (cpu, cuda) = (
        run(model, unit, planned, Cpu),
        run(model, unit, planned, Cuda),
    );
    let (on_cpu, on_cuda) = (left(&cpu), left(&cuda));
    let names = |left: &BTreeMap<String, Value>| left.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&on_cuda), names(&on_cpu), "{model}");
    let kinds = [
        "databases/",
        "teachers/",
        "ledger/",
        "trials/",
        "evaluation.json",
    ];
    for kind in kinds {
        assert!(on_cpu.keys().any(|name| name.contains(kind)), "no {kind}");
    }
    for (name, value) in &on_cpu {
        assert!(on_cuda[name] == *value, "{model}: {name} differs");
    }
    assert!(
        exports(&cuda) == exports(&cpu),
        "{model}: the exports differ"
    );
    assert!(devices(&cpu).iter().all(|device| device == "Cpu"));
    assert!(devices(&cuda).iter().all(|device| device == "Cuda"));
}

#[test]
fn a_run_planned_for_cuda_leaves_there_what_it_leaves_on_the_cpu() {
    let _figures = fake_cuda::exclusive();
    assert_alike("tiny-gqa", "QueryHead", Cuda);
    assert_alike("tiny-qwen3", "KeyValueGroup", Cuda);
}

#[test]
fn a_run_planned_for_the_cpu_leaves_on_cuda_what_it_leaves_there() {
    let _figures = fake_cuda::exclusive();
    assert_alike("tiny-mistral", "QueryHead", Cpu);
}

#[test]
fn modules_and_whole_models_are_timed_there_and_their_memory_is_counted() {
    let _figures = fake_cuda::exclusive();
    let world = run("tiny-qwen2", "QueryHead", Cuda, Cuda);
    let measured = world.finish(Cuda, &world.measure()).measured.unwrap();
    assert_eq!(
        world.finish(Cuda, &world.measure()).measured.unwrap(),
        measured
    );
    let mut task = world.evaluate();
    task["evaluation"] =
        serde_json::json!({"latency": {"batch": 2, "promptTokens": 12, "newTokens": 4}});
    let report = world.finish(Cuda, &task).evaluation.unwrap();
    let latency = report.latency.unwrap();
    let counted = |memory: &Memory| match memory {
        Memory::AllocatorPeak { bytes } => *bytes,
        Memory::WeightsAndCache { .. } => panic!("nobody counted: {memory:?}"),
    };
    let [dense, pruned] = [&latency.dense, &latency.pruned].map(|model| counted(&model.memory));
    assert!(0 < pruned && pruned < dense, "{pruned} {dense}");
}
