//! A value of the installed chart that a story changes and gives back.

use std::process::Command;

use serde_json::Value;

use crate::operator::SYSTEM;
use crate::programs::repository;

/// A value that is another one until this is dropped.
#[derive(Debug)]
pub struct ChartValue {
    name: &'static str,
    before: Value,
}

impl ChartValue {
    /// Sets it, and waits for the operator that has it.
    ///
    /// # Panics
    /// When there is no such value, or Helm refuses.
    pub fn set(name: &'static str, value: &str) -> Self {
        let all = ["get", "values", "darwinlm", "--all", "-o", "json"];
        let all = helm(&all).unwrap_or_else(|said| panic!("{said}"));
        let all: Value = serde_json::from_str(&all).expect("Helm prints JSON");
        let before = all[name].clone();
        assert!(!before.is_null(), "the chart has no {name}: {all}");
        // Before the change: what fails halfway is undone, too.
        let changed = Self { name, before };
        upgrade(name, value).unwrap_or_else(|said| panic!("{name}={value}: {said}"));
        changed
    }
}

impl Drop for ChartValue {
    fn drop(&mut self) {
        let Self { name, before } = self;
        if let Err(said) = upgrade(name, &before.to_string()) {
            eprintln!("{name} does not become {before} again: {said}");
        }
    }
}

fn upgrade(name: &str, value: &str) -> Result<String, String> {
    let chart = repository().join("charts/darwinlm");
    let chart = chart.to_str().expect("the path is text");
    let set = format!("{name}={value}");
    let line = ["upgrade", "darwinlm", chart, "--reuse-values", "--set"];
    helm(&[&line[..], &[&set, "--wait", "--timeout", "2m"]].concat())
}

/// What Helm prints, or what it says when it fails.
fn helm(arguments: &[&str]) -> Result<String, String> {
    let output = Command::new("helm")
        .args(arguments)
        .args(["--namespace", SYSTEM])
        .output()
        .map_err(|error| format!("helm is on the PATH in `make e2e`: {error}"))?;
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() {
        Ok(text(&output.stdout))
    } else {
        Err(text(&output.stderr))
    }
}
