//! `export`, as a Job runs it: once, again, and after the search went on.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use darwinlm_task::{Outcome, TaskReport};
use serde_json::{Value, json};

use crate::stops::{finish, prepare, pruning, report, settings, start};
use crate::world::{World, program};

const FORMATS: [&str; 2] = ["transformers", "masked-dense"];

/// A run whose database is built.
fn run() -> World {
    let world = World::new();
    let tokens = world.tokens("tokens.safetensors", 200, 16);
    finish(&world, prepare(&tokens));
    let build = json!({"kind": "build-database", "pruning": pruning(), "workers": 1});
    finish(&world, build);
    world
}

fn search(world: &World, until: u32) {
    let task = json!({
        "kind": "search", "pruning": pruning(), "target": {"level": 2}, "settings": settings(),
        "untilGeneration": until, "budgetGpuSeconds": null,
    });
    finish(world, task);
}

fn export(world: &World) -> Value {
    json!({
        "kind": "export", "pruning": pruning(), "target": {"level": 2}, "settings": settings(), "training": null,
        "export": {
            "destination": format!("file://{}", world.path("out").display()),
            "formats": ["Transformers", "MaskedDense"], "queryHeadLayout": "Gather",
        },
    })
}

/// Every file below a folder by its name, with the number the file system knows it by.
fn inodes(folder: &Path) -> BTreeMap<String, u64> {
    let mut found = BTreeMap::new();
    for format in std::fs::read_dir(folder).unwrap() {
        for file in std::fs::read_dir(format.unwrap().path()).unwrap() {
            let file = file.unwrap();
            let name = file.path().strip_prefix(folder).unwrap().to_owned();
            let inode = file.metadata().unwrap().ino();
            found.insert(name.to_str().unwrap().to_owned(), inode);
        }
    }
    found
}

/// Everything in a report but which process said it.
fn said(world: &World) -> TaskReport {
    TaskReport {
        worker: String::new(),
        ..report(world)
    }
}

fn record(world: &World, format: &str) -> Value {
    let path = world.path("out").join(format).join("darwinlm.json");
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

#[test]
fn an_export_that_is_run_again_finds_what_is_there_until_the_search_goes_on() {
    let world = run();
    search(&world, 1);
    finish(&world, export(&world));
    let first = said(&world);
    let urls = FORMATS.map(|format| format!("file://{}/{format}", world.path("out").display()));
    assert_eq!(first.export.as_ref().unwrap().exports, urls);
    let files = inodes(&world.path("out"));
    let missing = |name: &str| !files.contains_key(name);
    for format in FORMATS {
        for name in ["config.json", "model.safetensors", "darwinlm.json"] {
            assert!(!missing(&format!("{format}/{name}")), "{files:?}");
        }
    }
    assert!(missing("masked-dense/modeling_darwinlm.py"), "{files:?}");

    finish(&world, export(&world));
    assert_eq!(said(&world), first);
    assert_eq!(inodes(&world.path("out")), files, "it was written again");

    std::fs::write(world.path("out/masked-dense/model.safetensors"), "cut").unwrap();
    finish(&world, export(&world));
    let repaired = inodes(&world.path("out"));
    for (name, inode) in &files {
        let kept = repaired[name] == *inode;
        assert_eq!(kept, name.starts_with("transformers/"), "{name}");
    }

    let before = record(&world, "transformers");
    search(&world, 2);
    finish(&world, export(&world));
    let after = record(&world, "transformers");
    let digest = said(&world).search.unwrap().digest;
    assert_ne!(after["of"]["ledger"], before["of"]["ledger"]);
    for format in FORMATS {
        assert_eq!(record(&world, format)["of"]["ledger"], digest.as_str());
    }
    let mut left: Vec<_> = std::fs::read_dir(world.path("out"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    left.sort();
    assert_eq!(left, ["masked-dense", "transformers"]);
}

#[test]
fn an_export_never_takes_the_place_of_a_folder_that_is_none() {
    let world = run();
    search(&world, 1);
    let precious = world.path("out/transformers");
    std::fs::create_dir_all(&precious).unwrap();
    std::fs::write(precious.join("model.safetensors"), "precious").unwrap();
    let status = start(&world, export(&world)).wait().unwrap();
    assert_eq!(status.code(), Some(77));
    let Outcome::Failed { message, .. } = report(&world).outcome else {
        panic!("the report says {:?}", report(&world).outcome);
    };
    assert!(message.contains("no export of ours"), "{message}");
    let kept = std::fs::read_to_string(precious.join("model.safetensors"));
    assert_eq!(kept.unwrap(), "precious");
}

/// `darwinlm-runner export` of a generation.
fn command(world: &World, generation: u32, out: &str) -> Command {
    let mut command = program();
    command
        .args(["export", "--store"])
        .arg(format!("file://{}", world.path("store").display()))
        .args([
            "--run",
            "local.tiny",
            "--generation",
            &generation.to_string(),
        ])
        .arg("--out")
        .arg(world.path(out));
    command
}

/// What it printed.
fn by_hand(world: &World, generation: u32, out: &str) -> String {
    let output = command(world, generation, out).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {errors}", output.status);
    String::from_utf8(output.stdout).unwrap()
}

fn entry(world: &World, index: u32) -> Value {
    let path = world.path(&format!("store/runs/local.tiny/ledger/{index:06}.json"));
    serde_json::from_slice::<Value>(&std::fs::read(path).unwrap()).unwrap()["entry"].take()
}

#[test]
fn any_generation_is_exported_in_the_shapes_of_its_survivor_and_the_newest_as_ever() {
    let world = run();
    search(&world, 3);
    let problem = &entry(&world, 0)["Genesis"]["problem"];
    for generation in 0..=3 {
        let out = format!("generation-{generation}");
        let said = by_hand(&world, generation, &out);
        let genome = match generation {
            0 => problem["start"].clone(),
            _ => {
                let survivor = &entry(&world, generation)["Generation"]["survivor"];
                assert!(
                    said.contains(&format!("{} parameters", survivor["parameters"])),
                    "{said}"
                );
                survivor["genome"].clone()
            }
        };
        let bytes = std::fs::read(world.path(&out).join("model.safetensors")).unwrap();
        let weights = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        for block in 0..3 {
            let kept = |kind: &str| {
                let level = genome[kind].as_str().unwrap().as_bytes()[block];
                let level = char::from(level).to_digit(36).unwrap() as usize;
                usize::try_from(problem["ladders"][kind][level].as_u64().unwrap()).unwrap()
            };
            let columns = |module: &str| {
                let name = format!("model.layers.{block}.{module}.weight");
                weights.tensor(&name).map_or(0, |tensor| tensor.shape()[1])
            };
            assert_eq!(columns("mlp.down_proj"), kept("mlp"), "block {block}");
            assert_eq!(
                columns("self_attn.o_proj"),
                8 * kept("attention"),
                "block {block}"
            );
        }
    }
    finish(&world, export(&world));
    let read = |path: &str| std::fs::read(world.path(path)).unwrap();
    for name in ["model.safetensors", "config.json"] {
        assert!(
            read(&format!("generation-3/{name}")) == read(&format!("out/transformers/{name}")),
            "{name} differs from that of the task"
        );
    }
}

/// The Python between the fences of a card.
fn python_of(card: &str) -> &str {
    let code = card.split_once("```python\n").unwrap().1;
    code.split_once("```").unwrap().0
}

#[test]
fn the_lines_of_a_card_load_its_folder_and_its_figures_are_the_evaluations() {
    let world = run();
    search(&world, 1);
    finish(&world, export(&world));
    let card = |format: &str| {
        let path = world.path("out").join(format).join("README.md");
        std::fs::read_to_string(path).unwrap()
    };
    assert!(!card("transformers").contains("## Evaluation"));
    let evaluate = json!({
        "kind": "evaluate", "pruning": pruning(), "target": {"level": 2}, "settings": settings(), "evaluation": {},
    });
    finish(&world, evaluate);
    let measured = report(&world).evaluation.unwrap().pruned;
    finish(&world, export(&world));
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.cache/venv/bin/python");
    assert!(
        python.exists(),
        "{} is missing: run `make venv`",
        python.display()
    );
    for format in FORMATS {
        let card = card(format);
        let figures = format!("| {} | {} |", measured.perplexity, measured.kl);
        assert!(card.contains(&figures), "{card}");
        let count = "\nprint(sum(weight.numel() for weight in model.parameters()))";
        let output = Command::new(&python)
            .args(["-c", &format!("{}{count}", python_of(&card))])
            .current_dir(world.path("out").join(format))
            .env("HF_HOME", world.path("home"))
            .env("HF_HUB_OFFLINE", "1")
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}\n{card}");
        let row = card
            .lines()
            .find(|line| line.starts_with("| weights in this folder"));
        let counted = String::from_utf8(output.stdout).unwrap();
        let row = row.unwrap().replace(',', "");
        assert!(
            row.contains(&format!("| {} |", counted.trim())),
            "{row} {counted}"
        );
    }
}

#[test]
fn an_export_by_hand_that_is_interrupted_leaves_nothing() {
    let world = run();
    search(&world, 1);
    // Reading a pipe that nobody writes to never ends.
    let model = std::fs::read_dir(world.path("store/models"))
        .unwrap()
        .next();
    let files = std::fs::read_dir(model.unwrap().unwrap().path()).unwrap();
    let files = files.map(|file| file.unwrap().path());
    let weights = files.filter(|file| file.extension().is_some_and(|of| of == "safetensors"));
    let weights: Vec<_> = weights.collect();
    assert_eq!(weights.len(), 1);
    std::fs::remove_file(&weights[0]).unwrap();
    let made = Command::new("mkfifo").arg(&weights[0]).status();
    assert!(made.unwrap().success());
    for signal in ["-INT", "-TERM"] {
        let scratch = world.path("scratch");
        std::fs::create_dir_all(&scratch).unwrap();
        let count = || std::fs::read_dir(&scratch).unwrap().count();
        let mut command = command(&world, 1, "interrupted");
        command.env("TMPDIR", &scratch).stderr(Stdio::piped());
        let export = command.spawn().unwrap();
        let begun = Instant::now();
        while count() == 0 {
            assert!(begun.elapsed() < Duration::from_secs(60), "it never began");
            std::thread::sleep(Duration::from_millis(20));
        }
        std::thread::sleep(Duration::from_millis(300));
        let told = Command::new("kill")
            .args([signal, &export.id().to_string()])
            .status();
        assert!(told.unwrap().success());
        let output = export.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(75), "{signal}: {said}");
        assert!(said.contains("stopped from outside"), "{said}");
        assert_eq!(count(), 0, "{signal}");
        assert!(!world.path("interrupted").exists());
    }
}
