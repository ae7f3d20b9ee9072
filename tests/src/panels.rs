//! What the chart's dashboards and alerts ask of Prometheus, read from the files that the chart carries.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;

use crate::programs::repository;

/// One question, and who asks it.
#[derive(Clone, Debug)]
pub struct Question {
    /// The title of the dashboard, or `alerts`.
    pub place: String,
    /// The title of the panel, or the name of the alert.
    pub title: String,
    /// PromQL, with the dashboard's variables in it.
    pub expression: String,
}

impl Question {
    /// The expression where somebody has chosen a namespace and a run.
    pub fn of(&self, namespace: &str, run: &str) -> String {
        self.expression
            .replace("$namespace", namespace)
            .replace("$run", run)
            // Grafana's: four scrapes, of which a story has one a second.
            .replace("$__rate_interval", "4s")
    }
}

fn chart(file: &str) -> PathBuf {
    repository().join("charts/darwinlm").join(file)
}

fn dashboards() -> Vec<Value> {
    ["fleet", "run"]
        .map(|name| {
            let text = fs::read_to_string(chart(&format!("dashboards/{name}.json")));
            let text = text.expect("the chart has it: `make dashboards`");
            serde_json::from_str(&text).expect("it is JSON")
        })
        .into()
}

/// Every query of every panel.
///
/// # Panics
/// When a dashboard cannot be read.
pub fn queries() -> Vec<Question> {
    let text = |value: &Value| value.as_str().expect("it is text").to_owned();
    let mut queries = Vec::new();
    for dashboard in dashboards() {
        for panel in dashboard["panels"].as_array().expect("it has panels") {
            for target in panel["targets"].as_array().into_iter().flatten() {
                queries.push(Question {
                    place: text(&dashboard["title"]),
                    title: text(&panel["title"]),
                    expression: text(&target["expr"]),
                });
            }
        }
    }
    queries
}

/// The variables that are the values of a label: `(metric with its selector, label)`.
///
/// # Panics
/// When a dashboard cannot be read.
pub fn variables() -> Vec<(String, String)> {
    let mut variables = Vec::new();
    for dashboard in dashboards() {
        let list = dashboard["templating"]["list"].as_array().cloned();
        for variable in list.expect("it has variables") {
            let Some(query) = variable["query"].as_str() else {
                continue;
            };
            let arguments = query.strip_prefix("label_values(");
            let Some(arguments) = arguments.and_then(|rest| rest.strip_suffix(')')) else {
                continue;
            };
            let (of, label) = arguments.rsplit_once(", ").expect("it has two arguments");
            variables.push((of.to_owned(), label.to_owned()));
        }
    }
    variables
}

/// Every alert.
///
/// # Panics
/// When the file cannot be read.
pub fn alerts() -> Vec<Question> {
    let text = fs::read_to_string(chart("alerts/operator.yaml")).expect("the chart has it");
    let rules: Value = serde_saphyr::from_str(&text).expect("it is YAML");
    let groups = rules["groups"].as_array().expect("it has groups");
    let rules = groups.iter().flat_map(|group| group["rules"].as_array());
    rules
        .flatten()
        .map(|rule| Question {
            place: "alerts".to_owned(),
            title: rule["alert"].as_str().expect("it has a name").to_owned(),
            expression: rule["expr"].as_str().expect("it is text").to_owned(),
        })
        .collect()
}
