//! `build-database` and `evaluate`, as a person or a script uses them.

use std::path::Path;
use std::process::Output;

use serde_json::Value;

use crate::world::{World, json, model, program, refused};

const LADDER: &str = r#"{"attention": [6, 4, 2, 0], "mlp": [40, 30, 10, 0]}"#;

fn build(tokens: &Path, ladder: &Path, out: &Path) -> Output {
    let mut command = program();
    command.arg("build-database").arg("--model").arg(model());
    command
        .arg("--tokens")
        .arg(tokens)
        .arg("--ladder")
        .arg(ladder);
    command
        .args(["--device", "Cpu", "--threads", "1", "--json", "--out"])
        .arg(out);
    command.output().unwrap()
}

fn evaluate(tokens: &Path, candidate: &[&str]) -> Output {
    let mut command = program();
    command.arg("evaluate").arg("--model").arg(model());
    command.arg("--tokens").arg(tokens).args(candidate);
    command.args(["--device", "Cpu", "--threads", "1", "--json"]);
    command.output().unwrap()
}

/// A level database in `world`, and what building it printed.
fn database(world: &World) -> (String, Value) {
    let (tokens, ladder) = (
        world.tokens("calibration.safetensors", 24, 16),
        world.write("ladder.json", LADDER),
    );
    // a name that has to be escaped in a URL
    let out = world.path("a #1 database, 50% kept?");
    let printed = json(&build(&tokens, &ladder, &out));
    (out.to_str().unwrap().to_owned(), printed)
}

#[test]
fn a_database_of_a_given_ladder_tells_the_errors_of_every_module_and_level() {
    let world = World::new();
    let (out, printed) = database(&world);
    let modules = printed["modules"].as_array().unwrap();
    let names: Vec<&str> = modules
        .iter()
        .filter_map(|m| m["module"].as_str())
        .collect();
    let expected: Vec<String> = (0..3)
        .flat_map(|block| ["attention", "mlp"].map(|kind| format!("blocks.{block}.{kind}")))
        .collect();
    assert_eq!(names, expected);
    for module in modules {
        let errors: Vec<f64> = serde_json::from_value(module["errors"].clone()).unwrap();
        assert_eq!((errors.len(), errors[0]), (4, 0.0));
        assert!(errors.is_sorted() && errors[3] > 0.0, "{errors:?}");
    }
    assert!(printed["seconds"].as_f64().unwrap() > 0.0);
    let stored: u64 = std::fs::read_dir(&out)
        .unwrap()
        .map(|file| file.unwrap())
        .filter(|file| file.file_name().to_str().unwrap() != "manifest.json")
        .filter_map(|file| {
            file.metadata()
                .ok()
                .filter(|m| m.is_file())
                .map(|m| m.len())
        })
        .sum();
    assert_eq!(printed["bytes"].as_u64().unwrap(), stored);
}

#[test]
fn a_database_is_never_written_over() {
    let world = World::new();
    let (out, _) = database(&world);
    let again = build(
        &world.path("calibration.safetensors"),
        &world.path("ladder.json"),
        Path::new(&out),
    );
    let (code, said) = refused(&again);
    assert_eq!(code, Some(64));
    assert!(said.contains("holds a level database already"), "{said}");
}

#[test]
fn a_ladder_that_is_none_is_refused_by_its_file() {
    let world = World::new();
    let tokens = world.tokens("calibration.safetensors", 4, 16);
    let cases = [
        (
            r#"{"attention": [6, 6, 0], "mlp": [40, 0]}"#,
            65,
            "falls strictly",
        ),
        (r#"{"attention": [6, 3, 0]}"#, 65, "mlp"),
        (
            r#"{"attention": [5, 3, 0], "mlp": [40, 0]}"#,
            65,
            "begins with 5 units; the module has 6",
        ),
    ];
    for (ladder, expected, words) in cases {
        let ladder = world.write("ladder.json", ladder);
        let (code, said) = refused(&build(&tokens, &ladder, &world.path("out")));
        assert_eq!(code, Some(expected), "{said}");
        assert!(said.contains(words), "{said}");
    }
}

#[test]
fn a_genome_of_equal_levels_measures_as_that_level_does() {
    let world = World::new();
    let (out, _) = database(&world);
    let tokens = world.tokens("validation.safetensors", 3, 16);
    let genome = world.write("genome.json", r#"{"attention": "111", "mlp": "111"}"#);
    let by_level = json(&evaluate(&tokens, &["--database", &out, "--level", "1"]));
    let by_genome = json(&evaluate(
        &tokens,
        &["--database", &out, "--genome", genome.to_str().unwrap()],
    ));
    for figure in ["perplexity", "kl", "parameters"] {
        assert_eq!(by_level[figure], by_genome[figure], "{figure}");
    }
    assert!(by_level["kl"].as_f64().unwrap() > 0.0);
    assert!(by_level["tokens_per_second"].as_f64().unwrap() > 0.0);
    let dense = json(&evaluate(&tokens, &[]));
    assert_eq!(dense["kl"].as_f64(), Some(0.0));
    // 2 of 6 heads with q rows and o columns, 10 of 40 columns of three matrices, in 3 blocks
    let removed = 3 * (2 * 8 * 24 * 2 + 10 * 24 * 3);
    let parameters = |of: &Value| of["parameters"].as_u64().unwrap();
    assert_eq!(parameters(&dense) - parameters(&by_level), removed);
}

#[test]
fn a_removed_module_counts_as_the_search_counts_it() {
    let world = World::new();
    let (out, _) = database(&world);
    let tokens = world.tokens("validation.safetensors", 3, 16);
    let found = json(&evaluate(&tokens, &["--database", &out, "--level", "3"]));
    // embeddings and norms: what no genome changes
    assert_eq!(found["parameters"].as_u64(), Some(24 * (96 + 7)));
}

#[test]
fn what_cannot_be_evaluated_is_refused_by_its_option() {
    let world = World::new();
    let (out, _) = database(&world);
    let tokens = world.tokens("validation.safetensors", 3, 16);
    let long = world.write("long.json", r#"{"attention": "1111", "mlp": "1111"}"#);
    let cases: [(&[&str], i32, &str); 4] = [
        (&["--database", &out], 64, "--level N or --genome FILE"),
        (
            &["--database", "/nowhere", "--level", "1"],
            66,
            "--database /nowhere",
        ),
        (&["--database", &out, "--level", "9"], 78, "level 9"),
        (
            &["--database", &out, "--genome", long.to_str().unwrap()],
            78,
            "4",
        ),
    ];
    for (candidate, expected, words) in cases {
        let (code, said) = refused(&evaluate(&tokens, candidate));
        assert_eq!(code, Some(expected), "{said}");
        assert!(said.contains(words), "{said}");
    }
}

#[test]
fn rates_are_measured_of_any_model_and_say_on_what() {
    let address = format!("file://{}", model().display());
    let rates = |more: &[&str]| {
        let mut command = program();
        command.args([
            "rates",
            "--model",
            &address,
            "--device",
            "Cpu",
            "--threads",
            "1",
        ]);
        command.args(more).output().unwrap()
    };
    let told = json(&rates(&["--sequence-length", "16"]));
    for rate in [
        "forward",
        "score",
        "train",
        "trainOutput",
        "optimizer",
        "hessian",
        "pruneAttention",
        "pruneMlp",
        "copy",
        "read",
        "startSeconds",
    ] {
        let figure = told[rate].as_f64();
        assert!(figure.is_some_and(|figure| figure > 0.0), "{rate}: {told}");
    }
    assert_eq!(told["deviceClass"], "Cpu");
    let on = told["measuredOn"].as_str().unwrap();
    assert!(
        on.contains("6 query heads, MLP of 40") && on.ends_with("sequences of 16"),
        "{on}"
    );
    let (code, said) = refused(&rates(&["--sequence-length", "2"]));
    assert_eq!(code, Some(2), "{said}");
    let nowhere = program()
        .args([
            "rates",
            "--model",
            "file:///no/such/folder",
            "--device",
            "Cpu",
        ])
        .output();
    let (code, said) = refused(&nowhere.unwrap());
    assert_eq!(code, Some(66), "{said}");
}
