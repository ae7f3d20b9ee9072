//! A value held against a structural schema: types, bounds, enums, patterns, unknown fields.

use regex::Regex;
use serde_json::{Map, Value};

use super::Violation;

/// Removes explicit nulls, as an API server does where a field is not nullable.
pub(super) fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(entries) => {
            entries.retain(|_, value| !value.is_null());
            entries.values_mut().for_each(drop_nulls);
        }
        Value::Array(values) => values.iter_mut().for_each(drop_nulls),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Adds everything in which a value differs from its schema.
pub(super) fn violations(schema: &Value, value: &Value, path: &str, found: &mut Vec<Violation>) {
    let mut report = |problem: String| {
        found.push(Violation {
            path: path.to_owned(),
            problem,
        });
    };
    let either = schema.get("x-kubernetes-int-or-string").is_some();
    match (schema["type"].as_str(), value) {
        (Some("object"), Value::Object(entries)) => object(schema, entries, path, found),
        (Some("array"), Value::Array(values)) => array(schema, values, path, found),
        (Some("string"), Value::String(text)) => string(schema, text, &mut report),
        (None, Value::String(text)) if either => string(schema, text, &mut report),
        (Some("integer"), Value::Number(number)) if !number.is_f64() => {
            bounds(
                schema,
                "minimum",
                "maximum",
                number.as_i64(),
                "is",
                &mut report,
            );
        }
        (None, Value::Number(number)) if either && !number.is_f64() => {}
        (Some("boolean"), Value::Bool(_)) => {}
        (Some("object"), _) => report(format!("is {value}, an object is accepted")),
        (Some("array"), _) => report(format!("is {value}, a list is accepted")),
        (Some("integer"), _) => report(format!("is {value}, an integer is accepted")),
        (Some(other), _) => report(format!("is {value}, a {other} is accepted")),
        (None, _) => report(format!("is {value}, an integer or a string is accepted")),
    }
}

fn object(schema: &Value, entries: &Map<String, Value>, path: &str, found: &mut Vec<Violation>) {
    let inner = |key: &str| {
        if path.is_empty() {
            key.to_owned()
        } else {
            format!("{path}.{key}")
        }
    };
    for required in schema["required"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
    {
        if !entries.contains_key(required) {
            found.push(Violation {
                path: inner(required),
                problem: "is missing".to_owned(),
            });
        }
    }
    let at_root = path.is_empty();
    for (key, value) in entries {
        if let Some(property) = schema["properties"].get(key) {
            violations(property, value, &inner(key), found);
        } else if schema["additionalProperties"].is_object() {
            violations(&schema["additionalProperties"], value, &inner(key), found);
        } else if !(at_root && ["apiVersion", "kind", "metadata"].contains(&key.as_str())) {
            let problem = "is no field of a run".to_owned();
            found.push(Violation {
                path: inner(key),
                problem,
            });
        }
    }
    let count = i64::try_from(entries.len()).ok();
    bounds(
        schema,
        "minProperties",
        "maxProperties",
        count,
        "holds",
        &mut |problem| {
            found.push(Violation {
                path: path.to_owned(),
                problem,
            });
        },
    );
}

fn array(schema: &Value, values: &[Value], path: &str, found: &mut Vec<Violation>) {
    let count = i64::try_from(values.len()).ok();
    bounds(
        schema,
        "minItems",
        "maxItems",
        count,
        "holds",
        &mut |problem| {
            found.push(Violation {
                path: path.to_owned(),
                problem,
            });
        },
    );
    let is_set = schema["x-kubernetes-list-type"] == "set";
    for (index, value) in values.iter().enumerate() {
        let path = format!("{path}[{index}]");
        if is_set && values[..index].contains(value) {
            let problem = format!("is {value} a second time, once is accepted");
            found.push(Violation {
                path: path.clone(),
                problem,
            });
        }
        violations(&schema["items"], value, &path, found);
    }
}

fn string(schema: &Value, text: &str, report: &mut impl FnMut(String)) {
    let length = i64::try_from(text.chars().count()).ok();
    bounds(
        schema,
        "minLength",
        "maxLength",
        length,
        "has a length of",
        report,
    );
    if let Some(accepted) = schema["enum"].as_array()
        && !accepted.iter().any(|one| one == text)
    {
        let accepted: Vec<String> = accepted.iter().map(Value::to_string).collect();
        report(format!(
            "is {text:?}, one of {} is accepted",
            accepted.join(", ")
        ));
    }
    if let Some(pattern) = schema["pattern"].as_str() {
        let matcher = Regex::new(pattern).expect("a test reads every pattern of the schema");
        if !matcher.is_match(text) {
            report(format!("is {text:?}, what matches {pattern} is accepted"));
        }
    }
}

/// Reports a size outside its bounds; none is a number beyond 64 bits.
fn bounds(
    schema: &Value,
    least: &str,
    most: &str,
    size: Option<i64>,
    verb: &str,
    report: &mut impl FnMut(String),
) {
    let Some(size) = size else {
        return report(format!(
            "{verb} too large, at most {} is accepted",
            schema[most]
        ));
    };
    if let Some(least) = schema[least].as_i64().filter(|least| size < *least) {
        report(format!("{verb} {size}, at least {least} is accepted"));
    }
    if let Some(most) = schema[most].as_i64().filter(|most| size > *most) {
        report(format!("{verb} {size}, at most {most} is accepted"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest;

    #[test]
    fn every_pattern_of_the_schema_can_be_read() {
        fn patterns(value: &Value, count: &mut usize) {
            match value {
                Value::Object(entries) => {
                    if let Some(pattern) = entries.get("pattern").and_then(Value::as_str) {
                        Regex::new(pattern).unwrap();
                        *count += 1;
                    }
                    entries.values().for_each(|value| patterns(value, count));
                }
                Value::Array(values) => values.iter().for_each(|value| patterns(value, count)),
                _ => {}
            }
        }
        let mut count = 0;
        patterns(&manifest(), &mut count);
        assert!(count > 30, "only {count} patterns were read");
    }
}
