//! Schemas of fields that are passed on to pods: Kubernetes' own types, bounded, without their
//! pages of description.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Map, Value, json};

/// The schema of a Kubernetes type with bounds on everything in it.
///
/// Descriptions are left out because affinity alone brings 30 KB of them, four times over; the
/// field that uses the type says where to read on.
pub(crate) fn bounded<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    let mut schema = generator.subschema_for::<T>();
    if let Some(object) = schema.as_object_mut() {
        bound(object);
    }
    schema
}

fn bound(schema: &mut Map<String, Value>) {
    schema.remove("description");
    let is = |schema: &Map<String, Value>, wanted: &str| match schema.get("type") {
        Some(Value::String(found)) => found == wanted,
        Some(Value::Array(found)) => found.iter().any(|one| one == wanted),
        _ => false,
    };
    let mut limits: Vec<(&str, Value)> = Vec::new();
    if schema.contains_key("x-kubernetes-int-or-string") {
        limits.push(("maxLength", json!(32)));
    } else if is(schema, "string") {
        limits.push(("maxLength", json!(1024)));
    } else if is(schema, "integer") {
        limits.push(("minimum", json!(i32::MIN)));
        limits.push(("maximum", json!(i32::MAX)));
    } else if is(schema, "array") {
        limits.push(("maxItems", json!(32)));
    } else if schema.contains_key("additionalProperties") {
        limits.push(("maxProperties", json!(32)));
    }
    for (keyword, limit) in limits {
        schema.entry(keyword).or_insert(limit);
    }
    for keyword in ["items", "additionalProperties"] {
        if let Some(inner) = schema.get_mut(keyword).and_then(Value::as_object_mut) {
            bound(inner);
        }
    }
    if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) {
        properties
            .values_mut()
            .filter_map(Value::as_object_mut)
            .for_each(bound);
    }
}

/// A quantity: a string, or a whole number for convenience.
pub(crate) fn quantity(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "x-kubernetes-int-or-string": true,
        "pattern": crate::quantity::PATTERN,
        "maxLength": 32,
    })
}

/// Amounts by resource name.
pub(crate) fn amounts(generator: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": 32,
        "additionalProperties": quantity(generator),
    })
}

/// Labels, or a selector of labels.
pub(crate) fn labels(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": 64,
        "additionalProperties": {
            "type": "string",
            "maxLength": 63,
            "pattern": r"^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$",
        },
    })
}

/// Annotations.
pub(crate) fn annotations(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": 64,
        "additionalProperties": {"type": "string", "maxLength": 4096},
    })
}

/// `metav1.Condition` with the bounds of its Go markers, which its OpenAPI form has lost.
pub(crate) fn conditions(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": 16,
        "items": {
            "type": "object",
            "required": ["type", "status", "reason", "message", "lastTransitionTime"],
            "properties": {
                "type": {
                    "type": "string",
                    "maxLength": 316,
                    "pattern": "^[A-Z][A-Za-z0-9]*$",
                    "description": "What this says something about, in CamelCase.",
                },
                "status": {
                    "type": "string",
                    "enum": ["True", "False", "Unknown"],
                    "description": "Whether it holds.",
                },
                "reason": {
                    "type": "string",
                    "minLength": 1,
                    "maxLength": 1024,
                    "pattern": "^[A-Z][A-Za-z0-9]*$",
                    "description": "Why, as one CamelCase word.",
                },
                "message": {
                    "type": "string",
                    "maxLength": 32768,
                    "description": "Why, as a sentence.",
                },
                "lastTransitionTime": {
                    "type": "string",
                    "format": "date-time",
                    "description": "When the status changed last.",
                },
                "observedGeneration": {
                    "type": "integer",
                    "format": "int64",
                    "minimum": 0,
                    "description": "The spec revision that this speaks of.",
                },
            },
        },
    })
}
