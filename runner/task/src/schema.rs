//! The published JSON Schemas of what goes in and out of a worker.

use schemars::{JsonSchema, schema_for};

use crate::{TaskReport, TaskSpec};

/// Each schema's file name and text.
pub fn schemas() -> [(&'static str, String); 2] {
    [
        ("task-spec.json", text::<TaskSpec>()),
        ("task-report.json", text::<TaskReport>()),
    ]
}

fn text<T: JsonSchema>() -> String {
    let schema = schema_for!(T);
    let json = serde_json::to_string_pretty(&schema).expect("a schema is JSON");
    format!("{json}\n")
}
