//! Every CEL rule of the resource, accepting and rejecting, as an API server evaluates it.

#![allow(clippy::unwrap_used, reason = "a panic in a test is its failure")]

use std::{collections::BTreeSet, sync::LazyLock};

use darwinlm_api::{PruningRun, manifest};
use kube::core::cel::{
    CompiledSchema, ValidationErrors, Validator, compile_schema, validate_cel, validate_cel_update,
};
use serde::Deserialize;
use serde_json::{Value, json};

const FULL: &str = include_str!("full.yaml");
const MINIMAL: &str = include_str!("minimal.yaml");

/// The table that the stories on real API servers read, too.
static TABLE: LazyLock<Table> =
    LazyLock::new(|| serde_saphyr::from_str(include_str!("rules.yaml")).expect("it is the table"));

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    rules: Vec<Rule>,
    immutable: Vec<Immutable>,
    changeable: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rule {
    message: String,
    refused: Vec<Case>,
    accepted: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Immutable {
    field: String,
    refused: Vec<Case>,
}

/// The full run with the value of one place replaced.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    at: String,
    is: Value,
}

impl Case {
    fn run(&self) -> PruningRun {
        with(&self.at, &self.is)
    }
}

impl std::fmt::Display for Case {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} = {}", self.at, self.is)
    }
}

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
    for rule in &TABLE.rules {
        for case in &rule.refused {
            let errors = create(&case.run()).expect_err(&format!("{case} breaks a rule"));
            for error in errors.as_slice() {
                assert_eq!(error.message, rule.message, "{case}");
            }
        }
    }
}

#[test]
fn what_keeps_the_rules_is_accepted() {
    for case in TABLE.rules.iter().flat_map(|rule| &rule.accepted) {
        create(&case.run()).unwrap_or_else(|errors| panic!("{case}: {errors:?}"));
    }
}

#[test]
fn what_the_search_depends_on_never_changes() {
    let old = run(FULL);
    for Immutable { field, refused } in &TABLE.immutable {
        for case in refused {
            let new = case.run();
            create(&new).unwrap_or_else(|errors| panic!("{case}: {errors:?}"));
            let errors = update(&new, &old).expect_err(&format!("{case} changes {field}"));
            for error in errors.as_slice() {
                assert_eq!(error.message, immutable(field), "{case}");
            }
        }
    }
}

#[test]
fn what_the_search_does_not_depend_on_may_change() {
    let old = run(FULL);
    for case in &TABLE.changeable {
        update(&case.run(), &old).unwrap_or_else(|errors| panic!("{case}: {errors:?}"));
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
fn every_rule_has_a_message_and_cases_that_break_and_keep_it() {
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
    let rules = TABLE.rules.iter().map(|rule| {
        assert!(
            !rule.refused.is_empty() && !rule.accepted.is_empty(),
            "{}",
            rule.message
        );
        rule.message.clone()
    });
    let changes = TABLE.immutable.iter().map(|rule| {
        assert!(!rule.refused.is_empty(), "{}", rule.field);
        immutable(&rule.field)
    });
    let told: BTreeSet<String> = rules.chain(changes).collect();
    assert_eq!(declared, told);
}
