//! The installed manifest: current, small enough, bounded, without floats.

#![allow(clippy::unwrap_used, reason = "a panic in a test is its failure")]

use darwinlm_api::{GENERATED_BY, PruningRun, manifest};
use serde_json::{Map, Value};

const INSTALLED: &str = include_str!("../../../crds/pruningruns.darwinlm.io.yaml");

/// Calls `visit` on every schema of the resource, with its path.
fn walk(
    schema: &Map<String, Value>,
    path: &str,
    visit: &mut impl FnMut(&str, &Map<String, Value>),
) {
    visit(path, schema);
    for (name, property) in schema
        .get("properties")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
    {
        walk(
            property.as_object().unwrap(),
            &format!("{path}.{name}"),
            visit,
        );
    }
    for (keyword, mark) in [("items", "[]"), ("additionalProperties", "{}")] {
        if let Some(inner) = schema.get(keyword).and_then(Value::as_object) {
            walk(inner, &format!("{path}{mark}"), visit);
        }
    }
}

fn every_schema(mut visit: impl FnMut(&str, &Map<String, Value>)) {
    let manifest = manifest();
    let schema = manifest["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
        .as_object()
        .unwrap();
    walk(schema, "", &mut visit);
}

#[test]
fn the_installed_manifest_is_what_the_types_say() {
    let current = format!(
        "{GENERATED_BY}\n{}",
        serde_saphyr::to_string(&manifest()).unwrap()
    );
    assert!(
        INSTALLED == current,
        "crds/pruningruns.darwinlm.io.yaml is stale: run `make crds`"
    );
}

#[test]
fn the_installed_manifest_fits_client_side_apply() {
    assert!(INSTALLED.len() < 256 * 1024, "{} bytes", INSTALLED.len());
}

#[test]
fn the_manifest_reads_back_as_it_was_written() {
    let read: Value = serde_saphyr::from_str(INSTALLED).unwrap();
    assert_eq!(read, manifest());
}

#[test]
fn everything_is_bounded() {
    every_schema(|path, schema| {
        let has = |keyword: &str| schema.contains_key(keyword);
        if has("x-kubernetes-int-or-string") {
            assert!(has("maxLength"), "{path} has no maxLength");
            return;
        }
        match schema["type"].as_str().unwrap() {
            "string" => assert!(
                has("maxLength")
                    || has("enum")
                    || schema.get("format") == Some(&"date-time".into()),
                "{path} has no maxLength"
            ),
            "integer" => assert!(has("minimum"), "{path} has no minimum"),
            "array" => {
                assert!(has("maxItems"), "{path} has no maxItems");
                assert!(
                    has("x-kubernetes-list-type"),
                    "{path} does not say how it merges"
                );
            }
            "object" if has("additionalProperties") => {
                assert!(has("maxProperties"), "{path} has no maxProperties");
            }
            "object" => assert!(has("properties"), "{path} accepts anything"),
            "boolean" => {}
            other => panic!("{path} is a {other}"),
        }
        if path.starts_with(".spec") && schema["type"] == "integer" {
            assert!(has("maximum"), "{path} has no maximum");
        }
    });
}

#[test]
fn nothing_is_a_float_or_nullable_or_of_a_format_that_servers_do_not_know() {
    every_schema(|path, schema| {
        assert_ne!(schema.get("type"), Some(&"number".into()), "{path}");
        assert_eq!(schema.get("nullable"), None, "{path}");
        assert_eq!(
            schema.get("x-kubernetes-preserve-unknown-fields"),
            None,
            "{path}"
        );
        let format = schema.get("format").map(|format| format.as_str().unwrap());
        assert!(
            matches!(format, None | Some("int32" | "int64" | "date-time")),
            "{path} has format {format:?}"
        );
    });
    fn floats(value: &Value) -> bool {
        match value {
            Value::Number(number) => number.is_f64(),
            Value::Array(values) => values.iter().any(floats),
            Value::Object(entries) => entries.values().any(floats),
            Value::Null | Value::Bool(_) | Value::String(_) => false,
        }
    }
    assert!(!floats(&manifest()));
}

#[test]
fn every_field_of_ours_is_described() {
    // What stands below these is Kubernetes' own; the field itself says so.
    let foreign = [
        ".affinity",
        ".tolerations",
        ".topologySpreadConstraints",
        ".worker.env",
        ".worker.resourceClaims",
    ];
    every_schema(|path, schema| {
        let below_foreign = foreign.iter().any(|field| {
            path.split_once(field)
                .is_some_and(|(_, below)| !below.is_empty())
        });
        if !below_foreign && !path.is_empty() && !path.ends_with(['}', ']']) {
            assert!(
                schema.contains_key("description"),
                "{path} has no description"
            );
        }
    });
}

#[test]
fn defaults_in_the_schema_are_the_defaults_of_the_types() {
    let minimal: PruningRun = serde_saphyr::from_str(include_str!("minimal.yaml")).unwrap();
    let spec = serde_json::to_value(&minimal).unwrap();
    let mut checked = 0;
    every_schema(|path, schema| {
        if let (Some(default), Some(found)) =
            (schema.get("default"), spec.pointer(&path.replace('.', "/")))
        {
            // Slices and steps are checked as a whole; deeper paths repeat their parents.
            assert_eq!(found, default, "{path}");
            checked += 1;
        }
    });
    assert!(checked >= 30, "only {checked} defaults were compared");
}

#[test]
fn users_find_the_columns_and_names_that_the_documentation_shows() {
    let manifest = manifest();
    let version = &manifest["spec"]["versions"][0];
    let columns: Vec<&str> = version["additionalPrinterColumns"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|column| column.get("priority").is_none())
        .map(|column| column["name"].as_str().unwrap())
        .collect();
    assert_eq!(
        columns,
        ["Stage", "Progress", "Fitness", "Params", "GPU-h", "Age"]
    );
    let names = &manifest["spec"]["names"];
    assert_eq!(names["plural"], "pruningruns");
    assert_eq!(names["shortNames"][0], "prun");
    assert_eq!(names["categories"][0], "darwinlm");
    assert!(version["subresources"]["status"].is_object());
}

#[test]
fn the_fixtures_are_accepted_as_an_api_server_would() {
    for (name, yaml) in [
        ("full.yaml", include_str!("full.yaml")),
        ("minimal.yaml", include_str!("minimal.yaml")),
    ] {
        let resource: Value = serde_saphyr::from_str(yaml).unwrap();
        let run = darwinlm_api::check(&resource).unwrap_or_else(|v| panic!("{name}: {v:?}"));
        // What the types write is what they read: nothing of the file is lost.
        let written = serde_json::to_value(&run).unwrap();
        assert_eq!(darwinlm_api::check(&written), Ok(run), "{name}");
    }
}

#[test]
fn nothing_in_the_full_fixture_is_lost_by_the_types() {
    fn missing(read: &Value, written: &Value, path: &str, lost: &mut Vec<String>) {
        match (read, written) {
            (Value::Object(read), Value::Object(_)) => {
                for (key, value) in read {
                    missing(value, &written[key], &format!("{path}.{key}"), lost);
                }
            }
            (Value::Array(read), Value::Array(_)) => {
                for (index, value) in read.iter().enumerate() {
                    missing(value, &written[index], &format!("{path}[{index}]"), lost);
                }
            }
            // An amount given as a number is written as text.
            (Value::Number(number), Value::String(text)) if number.to_string() == *text => {}
            (read, written) if read == written => {}
            _ => lost.push(format!("{path}: {read} became {written}")),
        }
    }
    let read: Value = serde_saphyr::from_str(include_str!("full.yaml")).unwrap();
    let run: PruningRun = serde_json::from_value(read.clone()).unwrap();
    let mut lost = Vec::new();
    missing(&read, &serde_json::to_value(&run).unwrap(), "", &mut lost);
    assert_eq!(lost, Vec::<String>::new());
    // And the fixture leaves nothing out: each field of the spec stands in it.
    every_schema(|path, _| {
        let unset = [
            ".spec.target.parameters",
            ".spec.target.sparsityPercent",
            ".spec.target.speedupPercent",
            ".spec.worker.cache.emptyDir",
        ];
        let shown = path
            .strip_prefix(".spec.")
            .is_some_and(|rest| rest.split('.').count() <= 2);
        if shown && !path.contains(['[', '{']) && !unset.contains(&path) {
            let value = read.pointer(&path.replace('.', "/"));
            assert!(value.is_some(), "{path} is not in full.yaml");
        }
    });
}
