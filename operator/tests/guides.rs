//! What the documentation shows is there: fields, values of the chart, commands, links, and each piece of YAML.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "fixtures/markdown.rs"]
mod markdown;

use std::fs;
use std::path::{Path, PathBuf};

use clap::{Command, CommandFactory, Parser};
use darwinlm_api::check;
use darwinlm_operator::cli::Arguments;
use darwinlm_operator::run_controller::validate::{Placement, validate};
use serde_json::{Value, json};

use markdown::{Page, commands, repository};

/// Endings of names of files, which look like paths of fields.
const FILES: [&str; 12] = [
    "rs",
    "md",
    "yaml",
    "yml",
    "json",
    "html",
    "go",
    "txt",
    "sh",
    "safetensors",
    "jsonl",
    "so",
];

/// Fields of other objects that pages speak of, and whose they are.
const OTHERS: [(&str, &str); 1] = [("spec.active", "Kueue's Workload")];

/// Every page of the repository.
fn pages() -> Vec<Page> {
    let mut found = Vec::new();
    collect(&repository(), &mut found);
    found.sort();
    assert!(found.len() > 15, "{found:?}");
    found.iter().map(|path| markdown::read(path)).collect()
}

fn collect(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() && !name.starts_with('.') && !name.starts_with("target") {
            collect(&path, found);
        } else if name.ends_with(".md") {
            found.push(path);
        }
    }
}

/// The parts of a path such as `spec.search.steps[].survivors`; none of what is no path.
fn path_of(code: &str) -> Option<Vec<String>> {
    let end = code.find([':', '=', ' ']).unwrap_or(code.len());
    let parts: Vec<_> = code[..end].split('.').collect();
    let is_name = |part: &&str| {
        let part = part.split('[').next().unwrap_or_default();
        part.starts_with(|c: char| c.is_ascii_lowercase())
            && part.chars().all(|c| c.is_ascii_alphanumeric())
    };
    let is_path = parts.len() > 1 && parts.iter().all(is_name);
    let is_file = parts.last().is_some_and(|last| FILES.contains(last));
    (is_path && !is_file).then(|| {
        let parts = parts.into_iter();
        parts
            .map(|part| part.split('[').next().unwrap_or_default().to_owned())
            .collect()
    })
}

/// Whether the schema has a field; what lies below a field of Kubernetes' own is Kubernetes'.
fn has_field(schema: &Value, path: &[String]) -> bool {
    let Some((name, rest)) = path.split_first() else {
        return true;
    };
    let schema = schema.get("items").unwrap_or(schema);
    match schema["properties"].as_object() {
        Some(properties) => properties
            .get(name)
            .is_some_and(|field| has_field(field, rest)),
        None => {
            schema.get("additionalProperties").is_some()
                || schema.get("x-kubernetes-preserve-unknown-fields").is_some()
        }
    }
}

/// Whether the chart has a value; what lies below a list or an empty map is the user's.
fn has_value(values: &Value, path: &[String]) -> bool {
    let Some((name, rest)) = path.split_first() else {
        return true;
    };
    match values.as_object() {
        Some(map) if !map.is_empty() => map.get(name).is_some_and(|value| has_value(value, rest)),
        Some(_) => true,
        None => values.is_array(),
    }
}

fn schema() -> Value {
    darwinlm_api::manifest()["spec"]["versions"][0]["schema"]["openAPIV3Schema"].take()
}

fn values() -> Value {
    serde_saphyr::from_str(include_str!("../../charts/darwinlm/values.yaml")).unwrap()
}

#[test]
fn every_field_that_is_spoken_of_is_there() {
    let (schema, values) = (schema(), values());
    let (mut checked, mut missing) = (0, Vec::new());
    for page in pages() {
        for code in &page.code {
            let Some(path) = path_of(code) else { continue };
            if OTHERS.iter().any(|(other, _)| *other == path.join(".")) {
                continue;
            }
            let first = path[0].as_str();
            let of_run = first == "spec" || first == "status";
            let of_spec = schema["properties"]["spec"]["properties"]
                .get(first)
                .is_some();
            let is_there = match (of_run, of_spec) {
                (true, _) => has_field(&schema, &path),
                // Both the chart and a run say `worker`.
                (false, true) => {
                    has_field(&schema["properties"]["spec"], &path) || has_value(&values, &path)
                }
                (false, false) => match values.get(first) {
                    Some(_) => has_value(&values, &path),
                    None => continue,
                },
            };
            if !is_there {
                missing.push(format!("{}: `{code}`", page.path.display()));
            }
            checked += 1;
        }
    }
    assert!(
        missing.is_empty(),
        "there are no such fields or values: {missing:#?}"
    );
    assert!(checked > 60, "{checked}");
}

/// What follows each `--set`, name by name.
fn set_by(command: &str) -> Vec<String> {
    let after = command.split("--set ").skip(1);
    let names = after.flat_map(|rest| {
        rest.split_whitespace()
            .next()
            .unwrap_or_default()
            .split(',')
    });
    names
        .map(|pair| pair.split('=').next().unwrap_or_default().to_owned())
        .collect()
}

#[test]
fn every_value_that_helm_is_told_is_one_of_the_charts() {
    let values = values();
    let mut checked = 0;
    for page in pages() {
        let blocks = page.blocks.iter().filter(|block| block.language == "sh");
        let typed: Vec<_> = blocks.flat_map(|block| commands(&block.text)).collect();
        for name in typed
            .iter()
            .chain(&page.code)
            .flat_map(|command| set_by(command))
        {
            let path = path_of(&format!("{name}=")).unwrap_or_else(|| vec![name.clone()]);
            assert!(
                has_value(&values, &path),
                "{}: --set {name}",
                page.path.display()
            );
            checked += 1;
        }
    }
    assert!(checked >= 4, "{checked}");
}

/// Takes out what stands for more: `…`, alone or as a key.
fn without_more(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let known = map.into_iter().filter(|(name, _)| name != "…");
            let kept = known.map(|(name, value)| (name, without_more(value)));
            kept.filter(|(_, value)| !value.is_null()).collect()
        }
        Value::Array(list) if list == [json!("…")] => Value::Null,
        Value::String(text) if text == "…" => Value::Null,
        other => other,
    }
}

/// Lays an excerpt over a whole run. A target is one choice of several, and is not mixed.
fn lay(excerpt: &Value, under: &mut Value) {
    match (excerpt.as_object(), under.as_object_mut()) {
        (Some(excerpt), Some(under)) => {
            for (name, value) in excerpt {
                match under.get_mut(name).filter(|_| name != "target") {
                    Some(known) => lay(value, known),
                    None => {
                        under.insert(name.clone(), value.clone());
                    }
                }
            }
        }
        _ => *under = excerpt.clone(),
    }
}

#[test]
fn every_piece_of_yaml_is_a_run_that_is_accepted_or_says_what_else_it_is() {
    let mut runs = 0;
    for page in pages() {
        for block in page.blocks.iter().filter(|block| block.language == "yaml") {
            let shown = format!("{}:{}", page.path.display(), block.line);
            let documents: Vec<Value> = serde_saphyr::from_multiple(&block.text)
                .unwrap_or_else(|error| panic!("{shown}: {error}"));
            for document in documents {
                let kind = document["kind"].as_str();
                if kind.is_some_and(|kind| kind != "PruningRun") {
                    for field in ["/apiVersion", "/metadata/name"] {
                        assert!(
                            document.pointer(field).is_some_and(Value::is_string),
                            "{shown}: {field}"
                        );
                    }
                    continue;
                }
                assert!(document["spec"].is_object(), "{shown}: it has no spec");
                let mut run = json!({
                    "apiVersion": "darwinlm.io/v1alpha1", "kind": "PruningRun",
                    "metadata": {"name": "shown", "namespace": "docs", "uid": "1"},
                    "spec": {
                        "model": {"source": "hf://organisation/name"},
                        "data": {"calibration": {"source": "hf-dataset://organisation/name/a.parquet"}},
                        "target": {"level": 5},
                        "artifacts": {"store": "s3://bucket/prefix"},
                    },
                });
                lay(&without_more(document), &mut run);
                let run = check(&run).unwrap_or_else(|found| panic!("{shown}: {found:?}"));
                let accepted = validate(&run, &Placement::Pods);
                assert!(accepted.is_ok(), "{shown}: {:?}", accepted.err());
                runs += 1;
            }
        }
    }
    assert!(runs >= 4, "{runs}");
}

/// The command in a line, as its words: without what becomes of its output; every claim's folder is one that is there.
fn words(line: &str) -> Option<Vec<String>> {
    let own = [" | ", " > "].iter().filter_map(|end| line.find(end)).min();
    let line = &line[..own.unwrap_or(line.len())];
    let line = line.strip_prefix("target/release/").unwrap_or(line);
    let line = line
        .strip_prefix("kubectl ")
        .filter(|rest| rest.starts_with("darwinlm"))
        .unwrap_or(line);
    let mut words: Vec<_> = line.split_whitespace().map(str::to_owned).collect();
    if words.first().map(String::as_str) != Some("darwinlm") {
        return None;
    }
    for index in 1..words.len() {
        if words[index - 1] == "--volume" {
            let claim = words[index]
                .split('=')
                .next()
                .unwrap_or_default()
                .to_owned();
            words[index] = format!("{claim}={}", env!("CARGO_MANIFEST_DIR"));
        }
    }
    Some(words)
}

/// What the real parser says to a command, if it does not take it.
fn refused(words: &[String]) -> Option<String> {
    match Arguments::try_parse_from(words) {
        Ok(_) => None,
        Err(error) if error.exit_code() == 0 => None,
        Err(error) => Some(error.to_string()),
    }
}

#[test]
fn every_command_that_is_shown_is_one_that_darwinlm_takes() {
    let known = Arguments::command();
    let mut checked = 0;
    for page in pages() {
        let shown = page.path.display();
        let blocks = page.blocks.iter().filter(|block| block.language == "sh");
        let typed = blocks
            .flat_map(|block| commands(&block.text))
            .map(|line| (line, false));
        let named = page.code.iter().map(|code| (code.clone(), true));
        for (line, is_named) in typed.chain(named) {
            let Some(words) = words(&line) else { continue };
            // In a sentence a command may be called by its name alone, or with one flag.
            let is_known = match &words[1..] {
                [] => true,
                [name] if is_named && !name.starts_with('-') => {
                    known.find_subcommand(name).is_some()
                }
                [name, flag] if is_named && flag.starts_with("--") => {
                    let flags = known.find_subcommand(name);
                    let mut flags = flags.into_iter().flat_map(Command::get_arguments);
                    flags.any(|known| known.get_long() == flag.strip_prefix("--"))
                        || refused(&words).is_none()
                }
                _ => refused(&words).is_none(),
            };
            assert!(is_known, "{shown}: `{line}`: {:?}", refused(&words));
            checked += 1;
        }
    }
    assert!(checked > 20, "{checked}");
}

#[test]
fn every_subcommand_has_examples_that_it_takes() {
    let known = Arguments::command();
    let shown = known.get_subcommands().filter(|one| !one.is_hide_set());
    for subcommand in shown {
        let name = subcommand.get_name();
        let help = subcommand
            .get_after_help()
            .unwrap_or_else(|| panic!("{name} has no examples"))
            .to_string();
        let lines = help
            .lines()
            .filter(|line| line.starts_with("  ") && !line.starts_with("   "));
        // An explanation stands beside the command, two spaces away at least.
        let examples: Vec<_> = lines
            .filter_map(|line| words(line.trim_start().split("  ").next()?))
            .collect();
        let own = examples.iter().filter(|words| words[1] == name).count();
        assert!(own > 0, "{name} has no example of its own");
        for example in examples {
            assert_eq!(refused(&example), None, "{name}: {example:?}");
        }
    }
    assert!(known.get_subcommands().count() >= 12);
}

/// What a title is called in a link.
fn anchor(title: &str) -> String {
    let letters = title.trim().to_lowercase();
    let kept = letters
        .chars()
        .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

#[test]
fn every_link_leads_somewhere() {
    let mut checked = 0;
    for page in pages() {
        for rest in page.prose.split("](").skip(1) {
            let link = rest.split([')', ' ']).next().unwrap_or_default();
            if link.contains("://") {
                continue;
            }
            let (file, title) = link.split_once('#').unwrap_or((link, ""));
            let target = match file {
                "" => page.path.clone(),
                file => page.path.parent().unwrap().join(file),
            };
            let shown = page.path.display();
            assert!(target.exists(), "{shown}: there is no {link}");
            if !title.is_empty() {
                let titles = markdown::read(&target).prose;
                let titles = titles.lines().filter(|line| line.starts_with('#'));
                let mut titles = titles.map(|line| anchor(line.trim_start_matches('#')));
                assert!(
                    titles.any(|known| known == title),
                    "{shown}: {link} has no such title"
                );
            }
            checked += 1;
        }
    }
    assert!(checked > 40, "{checked}");
}
