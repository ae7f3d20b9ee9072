//! What becomes of a spec: carried out as written, or refused with the field's name.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "fixtures/given.rs"]
mod given;

use std::collections::BTreeMap;

use darwinlm_api::conditions::Reason;
use darwinlm_operator::run_controller::validate::{ClaimUse, Placement, Secrets, validate};
use darwinlm_task::{DeviceRequest, ExportFormat, LatencyWorkload, Task, TaskKind};

use given::{RUN, parsed, run};

/// Validates [`RUN`] with some text replaced.
fn edited(from: &str, to: &str) -> Result<Vec<Task>, (Reason, String)> {
    assert!(RUN.contains(from), "the run has no {from:?}");
    validate(&parsed(&RUN.replacen(from, to, 1)), &Placement::Pods)
        .map(|run| run.chain)
        .map_err(|rejection| (rejection.reason, rejection.message))
}

fn digest(chain: &[Task]) -> String {
    match &chain[0] {
        Task::Prepare { search_digest, .. } => search_digest.clone(),
        other => panic!("the chain starts with {}", other.kind()),
    }
}

#[test]
fn a_claim_is_a_mounted_folder_in_a_pod() {
    let run = run();
    assert_eq!(run.store, "file:///var/lib/darwinlm/volumes/data/store");
    let store = ClaimUse {
        field: "spec.artifacts.store".to_owned(),
        is_written: true,
    };
    assert_eq!(run.claims, BTreeMap::from([("data".to_owned(), store)]));
    let Task::Prepare {
        model,
        data,
        threads,
        ..
    } = &run.chain[0]
    else {
        panic!("no prepare")
    };
    assert_eq!(model, "file:///var/lib/darwinlm/volumes/data/model");
    let calibration = data.calibration.source.as_ref().unwrap();
    assert_eq!(
        calibration.url,
        "file:///var/lib/darwinlm/volumes/data/tokens.safetensors"
    );
    assert_eq!(data.training.source, None);
    assert_eq!(*threads, Some(2), "1500m is rounded up");
    assert_eq!(run.device, DeviceRequest::Cpu);
    let kinds: Vec<_> = run.chain.iter().map(Task::kind).collect();
    let mut all = whole_chain();
    all.retain(|kind| *kind != TaskKind::Measure);
    assert_eq!(kinds, all);
}

/// Every task but the one after a run's end.
fn whole_chain() -> Vec<TaskKind> {
    let mut all = TaskKind::ALL.to_vec();
    all.retain(|kind| *kind != TaskKind::CleanUp);
    all
}

#[test]
fn latency_is_measured_before_the_database_is_built_and_only_where_something_counts_in_it() {
    for (from, to) in [
        ("levels: 4", "levels: 4, spacing: Latency"),
        ("level: 2", "speedupPercent: 150"),
    ] {
        let chain = edited(from, to).unwrap();
        let kinds: Vec<_> = chain.iter().map(Task::kind).collect();
        assert_eq!(kinds, whole_chain(), "{to}");
        let Task::Measure { pruning, target } = &chain[1] else {
            panic!("no measure")
        };
        let Task::Search {
            pruning: searched,
            target: kept_to,
            ..
        } = &chain[3]
        else {
            panic!("no search")
        };
        assert_eq!((pruning, target), (searched, kept_to));
        assert!(chain[3].reads_latency(), "{to}");
        let by_level = to.contains("spacing");
        assert_eq!(chain[2].reads_latency(), by_level, "{to}");
        let mut run = validate(&parsed(&RUN.replacen(from, to, 1)), &Placement::Pods).unwrap();
        run.search_workers = 7;
        assert_eq!(run.workers(TaskKind::Measure), 1);
    }
}

#[test]
fn the_workload_of_latency_is_passed_on() {
    let chain = edited(
        "evaluation: {}",
        "evaluation: {latency: {batch: 2, promptTokens: 16, newTokens: 0}}",
    );
    let chain = chain.unwrap();
    let evaluation = chain.iter().find_map(|task| match task {
        Task::Evaluate { evaluation, .. } => evaluation.latency,
        _ => None,
    });
    let workload = LatencyWorkload {
        batch: 2,
        prompt_tokens: 16,
        new_tokens: 0,
    };
    assert_eq!(evaluation, Some(workload));
}

#[test]
fn a_claim_is_a_named_folder_on_one_machine() {
    let volumes = BTreeMap::from([("data".to_owned(), "/srv/my data".into())]);
    let here = Placement::Local {
        volumes,
        store: Some("file:///tmp/s".to_owned()),
    };
    let run = validate(&parsed(RUN), &here).unwrap();
    assert_eq!(run.store, "file:///tmp/s");
    assert!(run.claims.is_empty());
    let Task::Prepare { model, .. } = &run.chain[0] else {
        panic!("no prepare")
    };
    assert_eq!(model, "file:///srv/my data/model");
    let nowhere = Placement::Local {
        volumes: BTreeMap::new(),
        store: None,
    };
    let rejection = validate(&parsed(RUN), &nowhere).unwrap_err();
    assert_eq!(
        rejection.message,
        "spec.model.source lies in the claim \"data\"; say which folder stands for it on this \
         machine: --volume data=DIR"
    );
}

#[test]
fn a_training_is_as_long_as_data_and_sequences_allow() {
    let Some(Task::PostTrain { training, .. }) = validate(&parsed(RUN), &Placement::Pods)
        .unwrap()
        .chain
        .into_iter()
        .find(|task| task.kind() == TaskKind::PostTrain)
    else {
        panic!("no post-train")
    };
    assert_eq!((training.tokens, training.batch_sequences), (4096, 8));
    assert_eq!(training.sequence_length, 32, "as long as the data's");
    assert_eq!(training.distillation_percent, 0);
    assert_eq!(training.checkpoint_every_tokens, 205, "a twentieth");
    let edited = |to: &str| {
        let run = parsed(&RUN.replacen("{tokens: 4096, batchSequences: 8}", to, 1));
        validate(&run, &Placement::Pods)
            .map(|_| ())
            .map_err(|error| error.message)
    };
    for (to, message) in [
        (
            "{tokens: 204801}",
            "spec.postTraining.tokens is 204801; at most 100 times spec.data.training.tokens, 2048, is accepted",
        ),
        (
            "{tokens: 4096, sequenceLength: 33}",
            "spec.postTraining.sequenceLength is 33; at most spec.data.calibration.sequenceLength, 32, is accepted",
        ),
        (
            "{tokens: 4096, workers: 2}",
            "spec.postTraining.workers: 2 is not yet supported; use 1",
        ),
        (
            "{tokens: 4096, gradientNorm: \"0\"}",
            "spec.postTraining.gradientNorm is \"0\"; a positive decimal number is accepted",
        ),
        (
            "{tokens: 4096, distillationPercent: 101}",
            "spec.postTraining.distillationPercent is 101; 0 to 100 are accepted",
        ),
    ] {
        assert_eq!(edited(to), Err(message.to_owned()), "{to}");
    }
    assert_eq!(edited("{tokens: 204800, sequenceLength: 16}"), Ok(()));
}

#[test]
fn what_is_not_yet_supported_is_refused_by_name() {
    let replaced = [
        (
            "evaluation: {}",
            "evaluation: {tasks: [sciq]}",
            "spec.evaluation.tasks",
        ),
        (
            "pvc://data/store",
            "memory:///",
            "spec.artifacts.store: memory://",
        ),
        (
            "pvc://data/out",
            "s3://bucket/out",
            "spec.export.destination: s3://",
        ),
        ("out}", "out, formats: [Gguf]}", "spec.export.formats: Gguf"),
    ];
    for (from, to, field) in replaced {
        let (reason, message) = edited(from, to).unwrap_err();
        assert_eq!(reason, Reason::NotYetSupported, "{to}: {message}");
        assert!(
            message.starts_with(&format!("{field} is not yet supported; ")),
            "{message}"
        );
    }
}

#[test]
fn an_address_elsewhere_is_passed_on_and_needs_no_claim() {
    let model = "hf://organisation/name@v1, credentialsSecretRef: {name: hub}";
    let text = RUN
        .replacen("pvc://data/model", model, 1)
        .replacen(
            "pvc://data/tokens.safetensors",
            "\"hf-dataset://a/b/*.parquet\"",
            1,
        )
        .replacen("pvc://data/out", "pvc://exports/out", 1)
        .replacen(
            "store: pvc://data/store",
            "store: s3://bucket/a, credentialsSecretRef: {name: keys}",
            1,
        );
    let run = validate(&parsed(&text), &Placement::Pods).unwrap();
    assert_eq!(run.store, "s3://bucket/a");
    assert_eq!(run.claims.keys().collect::<Vec<_>>(), ["exports"]);
    let secrets = Secrets {
        sources: Some("hub".to_owned()),
        store: Some("keys".to_owned()),
    };
    assert_eq!(run.secrets, secrets);
    let Task::Prepare { model, data, .. } = &run.chain[0] else {
        panic!("no prepare")
    };
    assert_eq!(model, "hf://organisation/name@v1");
    let source = data.calibration.source.as_ref().unwrap();
    assert_eq!(source.url, "hf-dataset://a/b/*.parquet");
    for scheme in ["s3", "gs", "az", "https", "http"] {
        let address = format!("{scheme}://place/model");
        edited("pvc://data/model", &address).unwrap();
    }
}

#[test]
fn formats_are_exported_in_the_order_they_are_named_in() {
    let chain = edited("out}", "out, formats: [MaskedDense, Transformers]}").unwrap();
    let Some(Task::Export { export, .. }) = chain.last() else {
        panic!("no export")
    };
    let formats = [ExportFormat::MaskedDense, ExportFormat::Transformers];
    assert_eq!(export.formats, formats);
}

#[test]
fn what_is_wrong_is_refused_with_what_would_be_accepted() {
    let wrong = [
        (
            "name: tiny",
            "name: Tiny",
            "metadata.name is \"Tiny\"; a DNS label",
        ),
        (
            "level: 2",
            "level: 5",
            "spec.target.level is 5; at most spec.pruning.levels, 4,",
        ),
        (
            "level: 2",
            "speedupPercent: 100",
            "spec.target.speedupPercent is 100; 101 to 10000 are accepted",
        ),
        (
            "evaluation: {}",
            "evaluation: {latency: {promptTokens: 0}}",
            "spec.evaluation.latency.promptTokens is 0; at least 1 is accepted",
        ),
        (
            "evaluation: {}",
            "evaluation: {latency: {newTokens: -1}}",
            "spec.evaluation.latency.newTokens is -1; at least 0 is accepted",
        ),
        (
            "level: 2",
            "level: 2, sparsityPercent: 3",
            "spec: target names 2 measures",
        ),
        (
            "pvc://data/model",
            "file:///srv/m",
            "spec.model.source is \"file:///srv/m\", a path on your",
        ),
        (
            "pvc://data/model",
            "pvc://data/../m",
            "spec.model.source \"pvc://data/../m\" has a part",
        ),
        (
            "offspring: 6",
            "offspring: 2",
            "spec.search: 2 offspring are fewer than the 3",
        ),
        (
            "survivors: 1",
            "survivors: 3",
            "spec.search.steps: selection step 1 leaves 3",
        ),
        (
            "fitnessTokens: 256",
            "fitnessTokens: 4096",
            "spec.search.steps[1].fitnessTokens is 4096",
        ),
        ("seed: 3", "seed: -3", "spec.search.seed is -3; at least 0"),
        (
            "offspring: 6",
            "offspring: 1000",
            "spec.search.offspring is 1000; at most 999 is accepted",
        ),
        (
            "sequenceLength: 32",
            "sequenceLength: 2",
            "spec.data.calibration.sequenceLength is 2; at least 3 is accepted",
        ),
        (
            "seed: 3",
            "optimizer: {learningRate: fast}",
            "spec.search.optimizer:",
        ),
        (
            "cpu: 1500m",
            "cpu: 0",
            "spec.worker.resources.limits.cpu is \"0\"",
        ),
        (
            "training: {tokens: 2048}",
            "training: {tokens: 2048, textField: t}",
            "spec.data.training.textField differs",
        ),
    ];
    for (from, to, start) in wrong {
        let (reason, message) = edited(from, to).unwrap_err();
        assert_eq!(reason, Reason::InvalidSpec, "{to}: {message}");
        assert!(message.starts_with(start), "{message}");
    }
}

/// The schema of a field, by the names that lead to it.
fn schema(path: &[&str]) -> serde_json::Value {
    let definition = darwinlm_api::manifest();
    let root = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone();
    path.iter().fold(root, |schema, name| {
        let within = schema.get("items").unwrap_or(&schema);
        within["properties"][name].clone()
    })
}

#[test]
fn the_schema_accepts_no_more_than_the_search_can_hold() {
    use darwinlm_search::{MOST_GENERATIONS, MOST_OFFSPRING, SHORTEST_SEQUENCE};
    let most = |path: &[&str]| schema(path)["maximum"].as_u64().unwrap();
    let most_offspring = u64::from(MOST_OFFSPRING);
    assert_eq!(most(&["spec", "search", "offspring"]), most_offspring);
    assert_eq!(
        most(&["spec", "search", "steps", "survivors"]),
        most_offspring,
        "a step never keeps more than there are offspring"
    );
    assert!(most(&["spec", "search", "generations"]) <= u64::from(MOST_GENERATIONS));
    for pool in [
        &["spec", "data", "calibration"][..],
        &["spec", "postTraining"],
    ] {
        let length = schema(&[pool, &["sequenceLength"]].concat());
        assert_eq!(length["minimum"], SHORTEST_SEQUENCE, "{pool:?}");
    }
}

#[test]
fn the_search_digest_depends_on_the_search_alone() {
    let own = digest(&run().chain);
    assert_eq!(own.len(), 71);
    let same = [
        ("name: tiny", "name: other"),
        ("workers: 3", "workers: 1"),
        ("generationsPerJob: 2", "generationsPerJob: 1"),
        ("pvc://data/store", "pvc://elsewhere"),
        ("device: Cpu", "device: Auto"),
        ("  evaluation: {}\n", ""),
    ];
    for (from, to) in same {
        assert_eq!(digest(&edited(from, to).unwrap()), own, "{to}");
    }
    let other = [
        ("seed: 3", "seed: 4"),
        ("level: 2", "level: 1"),
        ("pvc://data/model", "pvc://data/model2"),
        ("fitness: {tokens: 2048}", "fitness: {tokens: 1024}"),
        ("levels: 4", "levels: 3"),
        ("offspring: 6", "offspring: 7"),
    ];
    for (from, to) in other {
        assert_ne!(digest(&edited(from, to).unwrap()), own, "{to}");
    }
}

#[test]
fn prepare_is_told_what_the_ladders_and_the_target_are() {
    let chain = run().chain;
    let Task::Prepare {
        pruning, target, ..
    } = &chain[0]
    else {
        panic!("the chain starts with {}", chain[0].kind())
    };
    let Task::Search {
        pruning: searched,
        target: kept_to,
        ..
    } = &chain[2]
    else {
        panic!("no search")
    };
    assert_eq!((pruning, target), (searched, kept_to));
}

#[test]
fn a_device_that_is_asked_for_by_name_or_by_resource_is_used() {
    let device = |worker: &str| {
        let yaml = RUN.replacen(
            "worker: {device: Cpu, resources: {limits: {cpu: 1500m, nvidia.com/gpu: 1}}}",
            &format!("worker: {worker}"),
            1,
        );
        validate(&parsed(&yaml), &Placement::Pods).unwrap().device
    };
    for (worker, expected) in [
        (
            "{device: Cpu, resources: {limits: {nvidia.com/gpu: 1}}}",
            DeviceRequest::Cpu,
        ),
        ("{device: Cuda}", DeviceRequest::Cuda),
        (
            "{resources: {limits: {nvidia.com/gpu: 1}}}",
            DeviceRequest::Cuda,
        ),
        (
            "{resourceClaims: [{name: a, resourceClaimName: b}]}",
            DeviceRequest::Cuda,
        ),
        ("{resources: {limits: {memory: 1Gi}}}", DeviceRequest::Cpu),
    ] {
        assert_eq!(device(worker), expected, "{worker}");
    }
}

#[test]
fn a_task_without_a_device_asks_for_no_gpu() {
    let pods = run().pods;
    assert!(
        pods.of(TaskKind::Search)
            .resources
            .limits
            .contains_key("nvidia.com/gpu")
    );
    let prepare = pods.of(TaskKind::Prepare).resources;
    assert_eq!(prepare.limits.keys().collect::<Vec<_>>(), ["cpu"]);
}

#[test]
fn a_worker_is_given_one_gpu_and_no_more() {
    let given = |limits: &str| {
        edited("nvidia.com/gpu: 1", limits).map_err(|(reason, message)| {
            assert_eq!(reason, Reason::InvalidSpec);
            message
        })
    };
    for accepted in [
        "nvidia.com/gpu: 0",
        "nvidia.com/gpu: \"1\"",
        "rdma/hca: 4",
        "amd.com/gpu: 1",
    ] {
        assert!(given(accepted).is_ok(), "{accepted}");
    }
    assert_eq!(
        given("nvidia.com/gpu: 4").unwrap_err(),
        "spec.worker.resources.limits[nvidia.com/gpu] is 4, and a worker computes on one GPU; 1 is \
         accepted: for more GPUs ask for more workers, as in spec.search.workers"
    );
    assert!(
        given("amd.com/gpu: 2")
            .unwrap_err()
            .contains("limits[amd.com/gpu] is 2")
    );
    assert_eq!(
        given("nvidia.com/gpu: 1, nvidia.com/mig-1g.5gb: 1").unwrap_err(),
        "spec.worker.resources.limits asks for nvidia.com/gpu and nvidia.com/mig-1g.5gb, and a worker \
         computes on one GPU; one of them is accepted"
    );
}
