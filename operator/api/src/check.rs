//! Checks a run without an API server, as an API server would, and reads it.

use std::{fmt, sync::LazyLock};

use kube::core::cel::{CompiledSchema, Validator, compile_schema};
use serde_json::Value;

use crate::{PruningRun, manifest};

mod schema;

/// One thing that an API server would refuse.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The field, such as `spec.search.steps[0].survivors`.
    pub path: String,
    /// What was found there and what would be accepted.
    pub problem: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.problem)
    }
}

/// What a run is held against, made once.
static RULES: LazyLock<(Value, CompiledSchema)> = LazyLock::new(|| {
    let schema = manifest()["spec"]["versions"][0]["schema"]["openAPIV3Schema"].take();
    let rules = compile_schema(&schema);
    (schema, rules)
});

/// Reads a run from what its file holds; strict, as `kubectl apply --validate=strict` is.
///
/// An explicit null is absent. Defaults are filled in.
///
/// # Errors
/// Everything an API server would refuse: another kind, unknown fields, wrong types, values out of
/// bounds; and where none of these is found, broken rules across fields.
pub fn check(resource: &Value) -> Result<PruningRun, Vec<Violation>> {
    let mut resource = resource.clone();
    schema::drop_nulls(&mut resource);
    let mut violations = identity(&resource);
    schema::violations(&RULES.0, &resource, "", &mut violations);
    if !violations.is_empty() {
        return Err(violations);
    }
    let run: PruningRun = serde_json::from_value(resource).map_err(|error| {
        vec![Violation {
            path: "metadata".to_owned(),
            problem: error.to_string(),
        }]
    })?;
    broken_rules(&run, None)?;
    Ok(run)
}

/// Whether a run may become another: the rules on what never changes.
///
/// # Errors
/// Every rule that the change breaks.
pub fn check_update(new: &PruningRun, old: &PruningRun) -> Result<(), Vec<Violation>> {
    broken_rules(new, Some(old))
}

fn broken_rules(new: &PruningRun, old: Option<&PruningRun>) -> Result<(), Vec<Violation>> {
    let value = |run| serde_json::to_value(run).expect("a run is plain data");
    Validator::new()
        .validate_compiled(&RULES.1, &value(new), old.map(value).as_ref())
        .map_err(|errors| {
            errors
                .into_vec()
                .into_iter()
                .map(|error| Violation {
                    path: if error.field_path.is_empty() {
                        "metadata.name".to_owned() // the only rule at the root
                    } else {
                        error.field_path
                    },
                    problem: error.message,
                })
                .collect()
        })
}

fn identity(resource: &Value) -> Vec<Violation> {
    [
        ("apiVersion", Some("darwinlm.io/v1alpha1")),
        ("kind", Some("PruningRun")),
        ("metadata.name", None),
    ]
    .into_iter()
    .filter_map(|(path, wanted)| {
        let accepted = wanted.unwrap_or("a name");
        let found = path
            .split('.')
            .try_fold(resource, |value, key| value.get(key));
        let problem = match found.map(Value::as_str) {
            None => format!("is missing, {accepted} is accepted"),
            Some(Some(found)) if wanted.is_none_or(|wanted| wanted == found) => return None,
            Some(_) => format!("is not what is accepted: {accepted}"),
        };
        Some(Violation {
            path: path.to_owned(),
            problem,
        })
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn minimal() -> Value {
        json!({
            "apiVersion": "darwinlm.io/v1alpha1",
            "kind": "PruningRun",
            "metadata": {"name": "minimal"},
            "spec": {
                "model": {"source": "file:///srv/model"},
                "data": {"calibration": {"source": "file:///srv/text.jsonl"}},
                "target": {"level": 5},
                "artifacts": {"store": "file:///srv/store"},
            },
        })
    }

    fn changed(pointer: &str, value: Value) -> Value {
        let mut run = minimal();
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        run.pointer_mut(parent).unwrap()[key] = value;
        run
    }

    #[test]
    fn a_minimal_run_is_read_with_its_defaults() {
        let run = check(&minimal()).unwrap();
        assert_eq!(run.spec.search.generations, 200);
        assert_eq!(run.spec.data.training.tokens, 500_000);
    }

    #[test]
    fn an_explicit_null_is_absent() {
        let run = check(&changed("/spec/budget", Value::Null)).unwrap();
        assert_eq!(run.spec.budget, None);
        let run = check(&changed("/spec/search", json!({"seed": null}))).unwrap();
        assert_eq!(run.spec.search.seed, 0);
        let run = check(&changed("/spec/worker", json!({"labels": null}))).unwrap();
        assert!(run.spec.worker.labels.is_empty());
    }

    #[test]
    fn every_kind_of_mistake_is_named_with_its_field() {
        for (pointer, value, expected) in [
            (
                "/kind",
                json!("Job"),
                "kind: is not what is accepted: PruningRun",
            ),
            (
                "/metadata/name",
                json!(null),
                "metadata.name: is missing, a name is accepted",
            ),
            (
                "/spec/serach",
                json!({}),
                "spec.serach: is no field of a run",
            ),
            (
                "/spec/suspend",
                json!("yes"),
                "spec.suspend: is \"yes\", a boolean is accepted",
            ),
            (
                "/spec/target/level",
                json!(5.5),
                "spec.target.level: is 5.5, an integer is accepted",
            ),
            (
                "/spec/target/level",
                json!(36),
                "spec.target.level: is 36, at most 35 is accepted",
            ),
            (
                "/spec/search",
                json!({"seed": -1}),
                "spec.search.seed: is -1, at least 0 is accepted",
            ),
            (
                "/spec/search",
                json!({"offspring": 1000}),
                "spec.search.offspring: is 1000, at most 999 is accepted",
            ),
            (
                "/spec/data/calibration/sequenceLength",
                json!(2),
                "spec.data.calibration.sequenceLength: is 2, at least 3 is accepted",
            ),
            (
                "/spec/search",
                json!({"steps": []}),
                "spec.search.steps: holds 0, at least 1 is accepted",
            ),
            (
                "/spec/search",
                json!({"steps": [{"survivors": 1}]}),
                "spec.search.steps[0].fitnessTokens: is missing",
            ),
            (
                "/spec/retain",
                json!("Some"),
                "spec.retain: is \"Some\", one of \"All\", \"Export\", \"None\" is accepted",
            ),
            (
                "/spec/queueName",
                json!("Big Queue"),
                "spec.queueName: is \"Big Queue\", what matches",
            ),
            (
                "/spec/worker",
                json!({"resources": {"limits": {"memory": "lots"}}}),
                "spec.worker.resources.limits.memory: is \"lots\", what matches",
            ),
            (
                "/spec/evaluation",
                json!({"tasks": ["piqa", "sciq", "piqa"]}),
                "spec.evaluation.tasks[2]: is \"piqa\" a second time",
            ),
            (
                "/spec/model/source",
                json!("x".repeat(1025)),
                "at most 1024 is accepted",
            ),
            (
                "/metadata/name",
                json!("Name"),
                "metadata.name: metadata.name must be a DNS label",
            ),
            (
                "/spec/target/level",
                json!(11),
                "spec.target.level: target.level must be at most",
            ),
        ] {
            let violations = check(&changed(pointer, value)).unwrap_err();
            let text: Vec<String> = violations.iter().map(ToString::to_string).collect();
            assert!(
                text.iter().any(|line| line.contains(expected)),
                "{expected}: {text:?}"
            );
        }
    }

    #[test]
    fn amounts_may_be_numbers_or_text() {
        let limits = json!({"nvidia.com/gpu": 1, "memory": "64Gi"});
        let run = check(&changed(
            "/spec/worker",
            json!({"resources": {"limits": limits}}),
        ));
        assert_eq!(
            run.unwrap().spec.worker.resources.limits["nvidia.com/gpu"].0,
            "1"
        );
    }

    #[test]
    fn a_change_of_the_seed_is_refused_and_one_of_workers_is_not() {
        let old = check(&minimal()).unwrap();
        let mut new = old.clone();
        new.spec.search.workers = 7;
        check_update(&new, &old).unwrap();
        new.spec.search.seed = 7;
        let violations = check_update(&new, &old).unwrap_err();
        assert_eq!(
            violations[0].to_string(),
            "spec.search.seed: search.seed is immutable: create another run instead"
        );
    }
}
