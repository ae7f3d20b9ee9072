//! The chart: the same definition as the Rust types make, and no more rights than the README says.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

/// A rule of a role.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Rule {
    api_groups: Vec<String>,
    resources: Vec<String>,
    /// Of these objects alone.
    #[serde(default)]
    resource_names: Vec<String>,
    verbs: Vec<String>,
}

fn templates() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../charts/darwinlm/templates")
}

/// What the operator may do: the blocks that every role of it is made of.
fn rules() -> Vec<Rule> {
    let mut rules = block("darwinlm.rules", &[]);
    rules.extend(block("darwinlm.kueueRules", &[]));
    // The lease has the release's name.
    let name = "{{ include \"darwinlm.fullname\" . }}";
    rules.extend(block("darwinlm.leaseRules", &[(name, "lease")]));
    rules
}

/// The rules of one block; nothing in them may depend on values but what is given here.
fn block(name: &str, values: &[(&str, &str)]) -> Vec<Rule> {
    let text = fs::read_to_string(templates().join("_names.tpl")).unwrap();
    let (_, rest) = text
        .split_once(&format!("{{{{- define \"{name}\" -}}}}"))
        .expect("the rules are a template of their own");
    let (rules, _) = rest.split_once("{{- end }}").expect("a template ends");
    let fill = |text: String, (from, to): &(&str, &str)| text.replace(from, to);
    let rules = values.iter().fold(rules.to_owned(), fill);
    assert!(!rules.contains("{{"), "the rules depend on values: {rules}");
    serde_saphyr::from_str(&rules).unwrap()
}

#[test]
fn the_charts_definition_is_the_generated_one() {
    let generated = include_str!("../../crds/pruningruns.darwinlm.io.yaml");
    let chart = include_str!("../../charts/darwinlm/crd/pruningruns.darwinlm.io.yaml");
    assert!(
        generated == chart,
        "charts/darwinlm/crd/ is stale: run `make crds`"
    );
}

#[test]
fn the_operator_may_see_no_secret_and_nothing_by_wildcard() {
    let rules = rules();
    assert!(!rules.is_empty());
    for rule in rules {
        let Rule {
            api_groups,
            resources,
            resource_names: _,
            verbs,
        } = &rule;
        for list in [api_groups, resources, verbs] {
            assert!(!list.is_empty(), "{rule:?}");
            assert!(!list.iter().any(|word| word.contains('*')), "{rule:?}");
        }
        let is_secret = |resource: &String| resource.split('/').next() == Some("secrets");
        assert!(!resources.iter().any(is_secret), "{rule:?}");
        // Rights that give other rights.
        for verb in ["escalate", "bind", "impersonate"] {
            assert!(!verbs.iter().any(|own| own == verb), "{rule:?}");
        }
    }
}

#[test]
fn the_operator_may_change_no_lease_but_its_own() {
    let leases = block(
        "darwinlm.leaseRules",
        &[("{{ include \"darwinlm.fullname\" . }}", "x")],
    );
    for rule in leases {
        // What is created has no name yet that a rule could ask for.
        assert!(
            rule.verbs == ["create"] || rule.resource_names == ["x"],
            "{rule:?}"
        );
    }
}

#[test]
fn no_other_template_gives_the_operator_rights() {
    let entries = fs::read_dir(templates()).unwrap();
    let files = entries.map(|entry| entry.unwrap().path());
    for path in files.filter(|path| path.is_file()) {
        let text = fs::read_to_string(&path).unwrap();
        let shown = path.display();
        assert!(!text.contains("secrets"), "{shown}");
        assert!(
            !text.contains("[\"*\"]") && !text.contains("['*']"),
            "{shown}"
        );
        let is_for_people = path.ends_with("user-roles.yaml");
        let is_for_alerts = path.ends_with("monitors.yaml");
        for line in text.lines().filter(|line| line.contains("rules:")) {
            assert!(
                is_for_people
                    || is_for_alerts
                    || line.contains("include \"darwinlm.rules\"")
                    || line.contains("include \"darwinlm.leaseRules\""),
                "{shown}: {line}"
            );
        }
    }
}

/// The table of permissions in the README: the verbs of each resource.
fn told() -> BTreeMap<String, String> {
    let readme = include_str!("../README.md");
    let (_, section) = readme.split_once("## Permissions").unwrap();
    let (section, _) = section.split_once("## Settings").unwrap();
    let cells = |line: &str| {
        let mut cells = line.trim_matches('|').split('|').map(str::trim);
        let resource = cells.next()?.split(' ').next_back()?.to_owned();
        Some((resource, cells.next()?.to_owned()))
    };
    let rows = section.lines().filter(|line| line.starts_with('|')).skip(2);
    rows.filter_map(cells).collect()
}

#[test]
fn the_readme_tells_every_right_of_the_operator() {
    let mut given: BTreeMap<String, String> = BTreeMap::new();
    for rule in rules() {
        for resource in &rule.resources {
            let verbs = given.entry(resource.clone()).or_default();
            let more = rule.verbs.join(", ");
            let comma = if verbs.is_empty() { "" } else { ", " };
            *verbs += &format!("{comma}{more}");
        }
    }
    assert_eq!(told(), given);
}
