//! The table of fields: every field of the spec is in it, and every test that it names is there.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::Value;

/// Fields that are told as one: what lies below them is checked by the rules of the definition.
const DEPTH: usize = 2;

fn table() -> Vec<(BTreeSet<String>, BTreeSet<String>)> {
    let words = |cell: &str| {
        let quoted = cell.split('`').skip(1).step_by(2);
        quoted.map(str::to_owned).collect::<BTreeSet<_>>()
    };
    let rows = include_str!("../FIELDS.md").lines();
    let rows = rows.filter(|line| line.starts_with('|')).skip(2);
    rows.map(|line| {
        let cells: Vec<&str> = line.trim_matches('|').split('|').collect();
        assert_eq!(cells.len(), 3, "{line}");
        (words(cells[0]), words(cells[2]))
    })
    .collect()
}

/// The paths of all fields, two names deep.
fn fields(schema: &Value, path: &str, depth: usize, found: &mut BTreeSet<String>) {
    let properties = schema["properties"].as_object();
    match properties.filter(|own| depth > 0 && !own.is_empty()) {
        Some(properties) => {
            for (name, inner) in properties {
                let dot = if path.is_empty() { "" } else { "." };
                fields(inner, &format!("{path}{dot}{name}"), depth - 1, found);
            }
        }
        None => {
            found.insert(path.to_owned());
        }
    }
}

/// The names of all tests below a folder.
fn tests_below(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() && !name.starts_with('.') && !name.starts_with("target") {
            tests_below(&path, found);
        } else if name.ends_with(".rs") {
            let text = fs::read_to_string(&path).unwrap();
            let functions = text.split("fn ").skip(1);
            found.extend(functions.filter_map(|rest| Some(rest.split_once('(')?.0.to_owned())));
        }
    }
}

#[test]
fn every_field_of_the_spec_is_in_the_table_once() {
    let manifest = darwinlm_api::manifest();
    let schema = &manifest["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
    let mut declared = BTreeSet::new();
    fields(&schema["properties"]["spec"], "", DEPTH, &mut declared);
    let told: Vec<String> = table().into_iter().flat_map(|(fields, _)| fields).collect();
    assert_eq!(told.iter().cloned().collect::<BTreeSet<_>>(), declared);
    assert_eq!(told.len(), declared.len(), "a field is told twice");
}

#[test]
fn every_test_that_the_table_names_is_there() {
    let mut there = BTreeSet::new();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    for room in ["operator", "runner", "tests"] {
        tests_below(&root.join(room), &mut there);
    }
    for (fields, tests) in table() {
        assert!(!tests.is_empty(), "{fields:?} are shown by nothing");
        let missing: Vec<_> = tests.difference(&there).collect();
        assert!(missing.is_empty(), "{fields:?}: {missing:?}");
    }
}
