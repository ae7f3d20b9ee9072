//! Every CEL rule of the resource, accepting and rejecting, as an API server evaluates it.

#![allow(clippy::unwrap_used, reason = "a panic in a test is its failure")]

use std::{collections::BTreeSet, sync::LazyLock};

use darwinlm_api::{PruningRun, manifest};
use kube::core::cel::{
    CompiledSchema, ValidationErrors, Validator, compile_schema, validate_cel, validate_cel_update,
};
use serde_json::{Value, json};

const FULL: &str = include_str!("full.yaml");
const MINIMAL: &str = include_str!("minimal.yaml");

const TARGET: &str =
    "target needs exactly one of level, parameters, sparsityPercent, speedupPercent";
const NAME: &str = "metadata.name must be a DNS label of at most 40 characters: lower-case \
                    letters, digits and hyphens, as the names of Jobs and pods begin with it";
const FALL: &str = "survivors must strictly fall from one selection step to the next";
const LAST: &str = "the last selection step must keep exactly one survivor";
const MODEL: &str =
    "a model comes from hf://, s3://, gs://, az://, http://, https://, pvc:// or file:///";
const DATA: &str =
    "data comes from hf-dataset://, s3://, gs://, az://, http://, https://, pvc:// or file:///";
const STORE: &str = "a store is s3://, gs://, az://, pvc://, file:/// or memory://";
const CACHE: &str = "cache needs exactly one of persistentVolumeClaim, emptyDir";
const CLAIM: &str =
    "each resource claim needs exactly one of resourceClaimName, resourceClaimTemplateName";

/// The rules of the installed manifest, compiled once: `validate_cel` compiles them at every call.
static RULES: LazyLock<CompiledSchema> = LazyLock::new(|| {
    compile_schema(&manifest()["spec"]["versions"][0]["schema"]["openAPIV3Schema"])
});

fn create(new: &PruningRun) -> Result<(), ValidationErrors> {
    Validator::new().validate_compiled(&RULES, &serde_json::to_value(new).unwrap(), None)
}

fn update(new: &PruningRun, old: &PruningRun) -> Result<(), ValidationErrors> {
    let (new, old) = (
        serde_json::to_value(new).unwrap(),
        serde_json::to_value(old).unwrap(),
    );
    Validator::new().validate_compiled(&RULES, &new, Some(&old))
}

fn run(yaml: &str) -> PruningRun {
    serde_saphyr::from_str(yaml).expect("the fixture is a run")
}

/// The full run with one value replaced; `null` removes it.
fn with(pointer: &str, value: &Value) -> PruningRun {
    let mut run: Value = serde_json::to_value(run(FULL)).unwrap();
    let (parent, key) = pointer
        .rsplit_once('/')
        .expect("a pointer starts with a slash");
    match run
        .pointer_mut(parent)
        .unwrap_or_else(|| panic!("{parent} is in the fixture"))
    {
        Value::Object(entries) if value.is_null() => {
            entries
                .remove(key)
                .unwrap_or_else(|| panic!("{pointer} is in the fixture"));
        }
        Value::Object(entries) => {
            entries.insert(key.to_owned(), value.clone());
        }
        Value::Array(values) => values[key.parse::<usize>().unwrap()] = value.clone(),
        other => panic!("{parent} holds {other}"),
    }
    serde_json::from_value(run).unwrap_or_else(|error| panic!("{pointer} = {value}: {error}"))
}

fn steps(survivors: &[i32]) -> Value {
    survivors
        .iter()
        .map(|s| json!({"survivors": s, "trainingTokens": 10, "fitnessTokens": 10}))
        .collect()
}

/// What creation refuses: where, what, and the whole message.
fn refused_at_creation() -> Vec<(&'static str, Value, &'static str)> {
    let spread = json!({"name": "gpu", "resourceClaimName": "a", "resourceClaimTemplateName": "b"});
    vec![
        ("/metadata/name", json!("a".repeat(41)), NAME),
        ("/metadata/name", json!("llama2.2-7b"), NAME),
        ("/metadata/name", json!("Llama2"), NAME),
        ("/metadata/name", json!("-llama2"), NAME),
        ("/spec/target", json!({}), TARGET),
        (
            "/spec/target",
            json!({"level": 5, "sparsityPercent": 50}),
            TARGET,
        ),
        (
            "/spec/target",
            json!({"level": 1, "parameters": 1, "speedupPercent": 150}),
            TARGET,
        ),
        (
            "/spec/target/level",
            json!(11),
            "target.level must be at most pruning.levels",
        ),
        ("/spec/search/steps", steps(&[8, 8, 1]), FALL),
        ("/spec/search/steps", steps(&[4, 8, 1]), FALL),
        ("/spec/search/steps", steps(&[8, 4, 2]), LAST),
        (
            "/spec/search/offspring",
            json!(7),
            "offspring must be at least the survivors of the first selection step",
        ),
        (
            "/spec/data/training/tokens",
            json!(199_999),
            "data.training.tokens must be at least the trainingTokens of every selection step",
        ),
        (
            "/spec/data/fitness/tokens",
            json!(8191),
            "data.fitness.tokens must be at least the fitnessTokens of every selection step",
        ),
        (
            "/spec/data/calibration/tokens",
            json!(4095),
            "tokens must be at least sequenceLength: one whole sequence",
        ),
        (
            "/spec/model/source",
            json!("meta-llama/Llama-2-7b-hf"),
            MODEL,
        ),
        ("/spec/model/source", json!("hf-dataset://a/b"), MODEL),
        ("/spec/model/source", json!("file://relative"), MODEL),
        ("/spec/data/calibration/source", json!("hf://a/b"), DATA),
        ("/spec/data/training/source", json!("ftp://a/b"), DATA),
        ("/spec/data/fitness/source", json!("s3:/a/b"), DATA),
        ("/spec/data/validation/source", json!("s3://"), DATA),
        ("/spec/artifacts/store", json!("https://host/path"), STORE),
        ("/spec/export/destination", json!("hf://a/b"), STORE),
        (
            "/spec/postTraining/workers",
            json!(1025),
            "workers must be at most batchSequences: each worker trains a part of every batch",
        ),
        (
            "/spec/postTraining/tokens",
            json!(50_000_001),
            "postTraining.tokens must be at most 100 times data.training.tokens: raise those, or \
             lower these",
        ),
        (
            "/spec/postTraining/sequenceLength",
            json!(4097),
            "postTraining.sequenceLength must be at most data.calibration.sequenceLength",
        ),
        (
            "/spec/queueName",
            json!(null),
            "queuePriorityClass needs queueName",
        ),
        (
            "/spec/queueName",
            json!(""),
            "queuePriorityClass needs queueName",
        ),
        ("/spec/worker/cache", json!({}), CACHE),
        (
            "/spec/worker/cache",
            json!({"emptyDir": {}, "persistentVolumeClaim": {"claimName": "cache"}}),
            CACHE,
        ),
        (
            "/spec/worker/resourceClaims",
            json!([{"name": "gpu"}]),
            CLAIM,
        ),
        ("/spec/worker/resourceClaims", json!([spread]), CLAIM),
        (
            "/spec/worker/labels",
            json!({"darwinlm.io/run": "other"}),
            "labels under darwinlm.io/ belong to the operator",
        ),
        (
            "/spec/worker/annotations",
            json!({"darwinlm.io/run": "other"}),
            "annotations under darwinlm.io/ belong to the operator",
        ),
        (
            "/spec/worker/env",
            json!([{"name": "A"}, {"name": "DARWINLM_TASK", "value": "{}"}]),
            "variables that start with DARWINLM_ belong to the operator",
        ),
    ]
}

/// What an update refuses: where, a value that creation accepts, and the field named.
fn refused_at_update() -> Vec<(&'static str, Value, &'static str)> {
    let optimizer = json!({"learningRate": "1e-4", "weightDecay": "0", "batchSequences": 2});
    vec![
        (
            "/spec/model/source",
            json!("hf://meta-llama/Llama-2-13b-hf"),
            "model",
        ),
        ("/spec/model/credentialsSecretRef", json!(null), "model"),
        ("/spec/data/calibration/tokens", json!(4096), "data"),
        ("/spec/data/validation/source", json!(null), "data"),
        ("/spec/pruning/levels", json!(9), "pruning.levels"),
        ("/spec/pruning/spacing", json!("Latency"), "pruning.spacing"),
        (
            "/spec/pruning/mlpGranularity",
            json!(64),
            "pruning.mlpGranularity",
        ),
        (
            "/spec/pruning/attentionUnit",
            json!("KeyValueGroup"),
            "pruning.attentionUnit",
        ),
        (
            "/spec/pruning/dampingPermille",
            json!(100),
            "pruning.dampingPermille",
        ),
        ("/spec/target/level", json!(4), "target"),
        ("/spec/target", json!({"parameters": "2.7G"}), "target"),
        ("/spec/search/seed", json!(1), "search.seed"),
        ("/spec/search/generations", json!(201), "search.generations"),
        ("/spec/search/offspring", json!(17), "search.offspring"),
        (
            "/spec/search/exchange",
            json!("AcrossKinds"),
            "search.exchange",
        ),
        (
            "/spec/search/fitness",
            json!("Perplexity"),
            "search.fitness",
        ),
        (
            "/spec/search/continueTraining",
            json!(true),
            "search.continueTraining",
        ),
        ("/spec/search/steps", steps(&[8, 1]), "search.steps"),
        ("/spec/search/optimizer", optimizer, "search.optimizer"),
        (
            "/spec/artifacts/store",
            json!("s3://bucket/other"),
            "artifacts",
        ),
        (
            "/spec/artifacts/caBundleConfigMapRef",
            json!(null),
            "artifacts",
        ),
    ]
}

fn immutable(field: &str) -> String {
    format!("{field} is immutable: create another run instead")
}

#[test]
fn the_full_and_the_minimal_run_break_no_rule() {
    for yaml in [FULL, MINIMAL] {
        let run = run(yaml);
        validate_cel(&run).unwrap();
        validate_cel_update(&run, &run).unwrap();
    }
}

#[test]
fn the_installed_rules_are_those_of_the_types() {
    let old = run(FULL);
    let new = with("/spec/search/seed", &json!(1));
    assert_eq!(validate_cel_update(&new, &old), update(&new, &old));
    let broken = with("/spec/target", &json!({}));
    assert_eq!(validate_cel(&broken), create(&broken));
}

#[test]
fn what_breaks_a_rule_is_refused_with_its_message_alone() {
    for (pointer, value, message) in refused_at_creation() {
        let errors = create(&with(pointer, &value))
            .expect_err(&format!("{pointer} = {value} breaks a rule"));
        for error in errors.as_slice() {
            assert_eq!(error.message, message, "{pointer} = {value}");
        }
    }
}

#[test]
fn what_keeps_the_rules_is_accepted() {
    for (pointer, value) in [
        ("/metadata/name", json!("a".repeat(40))),
        ("/metadata/name", json!("0")),
        ("/spec/target", json!({"level": 10})),
        ("/spec/target", json!({"parameters": 78_700_000})),
        ("/spec/target", json!({"parameters": "2.7G"})),
        ("/spec/target", json!({"sparsityPercent": 60})),
        ("/spec/target", json!({"speedupPercent": 200})),
        ("/spec/search/steps", steps(&[1])),
        ("/spec/search/steps", steps(&[16, 3, 2, 1])),
        ("/spec/search/offspring", json!(8)),
        ("/spec/data/training/tokens", json!(200_000)),
        ("/spec/data/fitness/tokens", json!(8192)),
        ("/spec/data/calibration/tokens", json!(4096)),
        ("/spec/model/source", json!("https://example.org/models/a")),
        ("/spec/model/source", json!("pvc://models/llama")),
        ("/spec/model/source", json!("file:///srv/models/llama")),
        (
            "/spec/data/calibration/source",
            json!("az://container/text.txt"),
        ),
        ("/spec/data/training/source", json!("gs://bucket/*.jsonl")),
        ("/spec/data/fitness", json!({"tokens": 8192})),
        (
            "/spec/data/validation/source",
            json!("http://example.org/text.txt"),
        ),
        ("/spec/artifacts/store", json!("pvc://store/runs")),
        ("/spec/artifacts/store", json!("memory://")),
        ("/spec/export/destination", json!("file:///srv/export")),
        ("/spec/postTraining/workers", json!(1024)),
        ("/spec/postTraining/tokens", json!(50_000_000)),
        ("/spec/postTraining/sequenceLength", json!(null)),
        ("/spec/queuePriorityClass", json!(null)),
        ("/spec/queuePriorityClass", json!("")),
        (
            "/spec/worker/cache",
            json!({"emptyDir": {"sizeLimit": "100Gi"}}),
        ),
        (
            "/spec/worker/resourceClaims",
            json!([{"name": "gpu", "resourceClaimName": "a"}]),
        ),
        ("/spec/worker/labels", json!({"team": "nlp"})),
        ("/spec/worker/annotations", json!({"team": "nlp"})),
        (
            "/spec/worker/env",
            json!([{"name": "HF_HOME", "value": "/cache"}]),
        ),
    ] {
        create(&with(pointer, &value))
            .unwrap_or_else(|errors| panic!("{pointer} = {value}: {errors:?}"));
    }
}

#[test]
fn what_the_search_depends_on_never_changes() {
    let old = run(FULL);
    for (pointer, value, field) in refused_at_update() {
        let new = with(pointer, &value);
        create(&new).unwrap_or_else(|errors| panic!("{pointer} = {value}: {errors:?}"));
        let errors =
            update(&new, &old).expect_err(&format!("{pointer} = {value} is a change of {field}"));
        for error in errors.as_slice() {
            assert_eq!(error.message, immutable(field), "{pointer} = {value}");
        }
    }
}

#[test]
fn what_the_search_does_not_depend_on_may_change() {
    let old = run(FULL);
    for (pointer, value) in [
        ("/spec/pruning/workers", json!(3)),
        ("/spec/search/workers", json!(16)),
        ("/spec/search/generationsPerJob", json!(1)),
        ("/spec/suspend", json!(true)),
        ("/spec/budget/gpuHours", json!(200)),
        ("/spec/budget", json!(null)),
        ("/spec/retain", json!("None")),
        ("/spec/ttlSecondsAfterFinished", json!(0)),
        ("/spec/ttlSecondsAfterFinished", json!(null)),
        ("/spec/postTraining", json!(null)),
        ("/spec/evaluation", json!({"tasks": []})),
        ("/spec/export/destination", json!("s3://models/elsewhere")),
        ("/spec/worker", json!({"device": "Cpu"})),
        ("/spec/queuePriorityClass", json!(null)),
    ] {
        update(&with(pointer, &value), &old)
            .unwrap_or_else(|errors| panic!("{pointer} = {value}: {errors:?}"));
    }
}

#[test]
fn writing_a_default_out_is_no_change() {
    let minimal = run(MINIMAL);
    let mut spelled_out = minimal.clone();
    spelled_out.spec.search = darwinlm_api::Search::default();
    spelled_out.spec.pruning = darwinlm_api::Pruning::default();
    update(&spelled_out, &minimal).unwrap();
    assert_eq!(spelled_out, minimal);
}

#[test]
fn every_rule_has_a_message_and_a_case_that_breaks_it() {
    fn messages(value: &Value, found: &mut BTreeSet<String>) {
        match value {
            Value::Object(entries) => {
                for rule in entries
                    .get("x-kubernetes-validations")
                    .and_then(Value::as_array)
                    .into_iter()
                    .flatten()
                {
                    let message = rule["message"].as_str();
                    found.insert(
                        message
                            .unwrap_or_else(|| panic!("{rule} has none"))
                            .to_owned(),
                    );
                }
                entries.values().for_each(|value| messages(value, found));
            }
            Value::Array(values) => values.iter().for_each(|value| messages(value, found)),
            _ => {}
        }
    }
    let mut declared = BTreeSet::new();
    messages(&manifest(), &mut declared);
    let broken: BTreeSet<String> = refused_at_creation()
        .into_iter()
        .map(|(_, _, message)| message.to_owned())
        .chain(
            refused_at_update()
                .into_iter()
                .map(|(_, _, field)| immutable(field)),
        )
        .collect();
    assert_eq!(declared, broken);
}
