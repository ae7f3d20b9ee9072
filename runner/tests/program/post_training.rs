//! `post-train`, as a Job runs it: killed, started again, evaluated and exported.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use darwinlm_runner::weights::MappedTensors;
use darwinlm_task::{EvaluationReport, Outcome};
use serde_json::{Value, json};

use crate::stops::{await_path, command, finish, prepare, pruning, report, settings, start, stop};
use crate::world::World;

/// A run with a searched ledger.
fn searched() -> World {
    let world = World::new();
    let tokens = world.tokens("tokens.safetensors", 200, 16);
    finish(&world, prepare(&tokens));
    let build = json!({"kind": "build-database", "pruning": pruning(), "workers": 1});
    finish(&world, build);
    let search = json!({
        "kind": "search", "pruning": pruning(), "target": {"level": 2}, "settings": settings(),
        "untilGeneration": 2, "budgetGpuSeconds": null,
    });
    finish(&world, search);
    world
}

/// 200 steps of two sequences; a checkpoint after every tenth.
fn training() -> Value {
    json!({
        "tokens": 6400, "sequenceLength": 16, "batchSequences": 2, "learningRate": "1e-3",
        "warmupPercent": 5, "finalLearningRatePercent": 10, "weightDecay": "0.01",
        "gradientNorm": "1.0", "distillationPercent": 50, "checkpointEveryTokens": 320,
    })
}

fn post_train(training: &Value) -> Value {
    json!({
        "kind": "post-train", "pruning": pruning(), "target": {"level": 2}, "settings": settings(),
        "training": training,
    })
}

fn checkpoints(world: &World) -> PathBuf {
    let all = world.path("store/runs/local.tiny/checkpoints");
    let mut found: Vec<_> = std::fs::read_dir(all)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    assert_eq!(found.len(), 1, "{found:?}");
    found.remove(0)
}

/// The loss of every step, and the sha256 of what is in the folder with the trained weights.
fn trained(world: &World) -> (Vec<f64>, String) {
    let folder = checkpoints(world).join("trained");
    let manifest: Value =
        serde_json::from_slice(&std::fs::read(folder.join("manifest.json")).unwrap()).unwrap();
    let losses = manifest["files"]["losses.safetensors"]["stored"].as_str();
    let losses = MappedTensors::open(&folder.join(losses.unwrap()))
        .unwrap()
        .doubles("losses")
        .unwrap();
    (losses, manifest.to_string())
}

#[test]
fn a_training_that_is_killed_and_stopped_goes_on_to_the_same_bits() {
    let undisturbed = searched();
    finish(&undisturbed, post_train(&training()));
    let (losses, manifest) = trained(&undisturbed);
    assert_eq!(losses.len(), 200);

    let world = searched();
    // SIGKILL after some checkpoint, then SIGTERM after a later one.
    let mut killed = start(&world, post_train(&training()));
    let folder = || world.path("store/runs/local.tiny/checkpoints");
    await_path(&folder());
    await_path(&checkpoints(&world).join("newest.json"));
    killed.kill().unwrap();
    killed.wait().unwrap();
    let newest = || -> u64 {
        let path = checkpoints(&world).join("newest.json");
        let newest: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        newest["step"].as_u64().unwrap()
    };
    let first = newest();
    assert!((10..200).contains(&first), "killed too late: step {first}");
    let started = Instant::now();
    let stopped = command(&world, post_train(&training()))
        .env("DARWINLM_CLAIM_STALE_SECONDS", "2")
        .spawn()
        .unwrap();
    while newest() == first {
        assert!(
            started.elapsed() < Duration::from_secs(120),
            "it does not go on"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
    stop(&world, stopped);
    assert!(newest() > first);
    finish(&world, post_train(&training()));
    assert_eq!(trained(&world), (losses, manifest));
    let left: Vec<_> = std::fs::read_dir(checkpoints(&world))
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .filter(|name| name != "trained")
        .flat_map(|name| std::fs::read_dir(checkpoints(&world).join(name)).unwrap())
        .collect();
    assert!(left.is_empty(), "old checkpoints stay: {left:?}");
}

#[test]
fn the_trained_survivor_is_found_again_measured_and_exported() {
    let world = searched();
    finish(&world, post_train(&training()));
    let said = report(&world).training.unwrap();
    assert_eq!((said.tokens, said.total_tokens), (6400, 6400));
    let started = Instant::now();
    finish(&world, post_train(&training()));
    assert_eq!(report(&world).training.unwrap(), said);
    assert!(
        started.elapsed() < Duration::from_secs(20),
        "it trained again"
    );

    let with = |kind: &str, training: &Value, field: &str, value: Value| {
        json!({
            "kind": kind, "pruning": pruning(), "target": {"level": 2}, "settings": settings(),
            "training": training, field: value,
        })
    };
    let evaluation = |world: &World| -> EvaluationReport { report(world).evaluation.unwrap() };
    finish(
        &world,
        with("evaluate", &training(), "evaluation", json!({})),
    );
    let measured = evaluation(&world);
    let after = measured.trained.clone().unwrap();
    assert_eq!(after.parameters, measured.pruned.parameters);
    // Random tokens all look alike: what is learnt of some holds for others.
    let number = |text: &str| text.parse::<f64>().unwrap();
    assert!(
        number(&after.perplexity) < number(&measured.pruned.perplexity),
        "{measured:?}"
    );
    // Asked without training, it is another evaluation; and again the first one is computed anew.
    finish(
        &world,
        with("evaluate", &Value::Null, "evaluation", json!({})),
    );
    assert_eq!(evaluation(&world).trained, None);
    finish(
        &world,
        with("evaluate", &training(), "evaluation", json!({})),
    );
    assert_eq!(evaluation(&world).trained.unwrap().kl, after.kl);

    let export = |training: &Value| {
        let out = json!({
            "destination": format!("file://{}", world.path("out").display()),
            "formats": ["Transformers", "MaskedDense"], "queryHeadLayout": "Gather",
        });
        with("export", training, "export", out)
    };
    let embeddings = || {
        let file = MappedTensors::open(&world.path("out/transformers/model.safetensors"));
        file.unwrap().float("model.embed_tokens.weight").unwrap()
    };
    finish(&world, export(&Value::Null));
    let untrained = embeddings();
    finish(&world, export(&training()));
    assert!(
        !embeddings().equal(&untrained),
        "the untrained weights were exported"
    );
    let folder = checkpoints(&world).join("trained");
    let stored = std::fs::read_dir(folder).unwrap().find_map(|entry| {
        let path = entry.unwrap().path();
        let name = path.file_name()?.to_str()?.to_owned();
        (name.starts_with("model.") && name.ends_with(".safetensors")).then_some(path)
    });
    let stored = MappedTensors::open(&stored.unwrap()).unwrap();
    assert!(embeddings().equal(&stored.float("model.embed_tokens.weight").unwrap()));
}

#[test]
fn whoever_needs_the_trained_weights_says_that_they_are_missing() {
    let world = searched();
    let destination = format!("file://{}", world.path("out").display());
    let export = json!({
        "destination": destination, "formats": ["Transformers"], "queryHeadLayout": "Gather",
    });
    for (kind, field, value) in [
        ("evaluate", "evaluation", json!({})),
        ("export", "export", export),
    ] {
        let mut task = post_train(&training());
        task["kind"] = json!(kind);
        task[field] = value;
        let status = start(&world, task).wait().unwrap();
        assert_eq!(status.code(), Some(66), "{kind}");
        let Outcome::Failed { message, .. } = report(&world).outcome else {
            panic!("{:?}", report(&world).outcome)
        };
        assert!(message.contains("post-train has to run first"), "{message}");
    }
    assert!(!world.path("out/transformers").exists());
}

#[test]
fn a_training_without_its_newest_checkpoint_goes_on_from_the_one_before() {
    let undisturbed = searched();
    finish(&undisturbed, post_train(&training()));
    let world = searched();
    let mut killed = start(&world, post_train(&training()));
    await_path(&world.path("store/runs/local.tiny/checkpoints"));
    let newest = || -> Value {
        let bytes = std::fs::read(checkpoints(&world).join("newest.json"));
        bytes.map_or(Value::Null, |bytes| serde_json::from_slice(&bytes).unwrap())
    };
    let deadline = Instant::now() + Duration::from_secs(60);
    while newest()["before"].is_null() {
        assert!(Instant::now() < deadline, "no second checkpoint");
        std::thread::sleep(Duration::from_millis(20));
    }
    killed.kill().unwrap();
    killed.wait().unwrap();
    let step = newest()["step"].as_u64().unwrap();
    let folder = checkpoints(&world).join(format!("{step:08}"));
    let damaged = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.to_string_lossy().contains("means."))
        .unwrap();
    std::fs::write(&damaged, "short").unwrap();
    let mut again = command(&world, post_train(&training()));
    again.env("DARWINLM_CLAIM_STALE_SECONDS", "1");
    assert!(again.status().unwrap().success());
    assert_eq!(trained(&world), trained(&undisturbed));
}

#[test]
fn numbers_that_cannot_be_trained_with_are_refused_by_field() {
    let world = searched();
    for (field, value, expected) in [
        (
            "sequenceLength",
            json!(17),
            "at most data.calibration.sequenceLength, 16",
        ),
        ("learningRate", json!("0"), "learningRate"),
        (
            "gradientNorm",
            json!("none"),
            "spec.postTraining.gradientNorm is none",
        ),
        ("warmupPercent", json!(101), "0 to 100"),
    ] {
        let mut wrong = training();
        wrong[field] = value;
        let status = start(&world, post_train(&wrong)).wait().unwrap();
        assert_eq!(status.code(), Some(78), "{field}");
        let Outcome::Failed { message, .. } = report(&world).outcome else {
            panic!("{:?}", report(&world).outcome)
        };
        assert!(message.contains(expected), "{message}");
    }
}
