//! `prepare` with inputs and stores that cannot be used: the exit code, and words that say what to do.

use std::path::Path;
use std::process::Command;

use darwinlm_runner::weights::{MappedTensors, write_tensors};
use darwinlm_task::Outcome;
use serde_json::{Value, json};
use tch::Tensor;

use crate::sources::{TOKEN, hub, of_the_hub, tokenizer};
use crate::stops::{finish, prepare, report, start, work};
use crate::world::{World, model, program};

const TENSOR: &str = "model.layers.1.mlp.up_proj.weight";

/// Copies the tiny model into the world and gives it a tokenizer; the task that prepares it.
fn with_model(world: &World) -> Value {
    let folder = world.path("model");
    std::fs::create_dir(&folder).unwrap();
    for name in ["config.json", "model.safetensors"] {
        std::fs::copy(model().join(name), folder.join(name)).unwrap();
    }
    std::fs::write(folder.join("tokenizer.json"), tokenizer()).unwrap();
    let mut task = prepare(&world.tokens("tokens.safetensors", 200, 16));
    task["model"] = json!(format!("file://{}", folder.display()));
    task
}

/// Runs `prepare` to a failure: the exit code and the message.
fn failed(world: &World, task: Value) -> (i32, String) {
    let status = start(world, task).wait().unwrap();
    let Outcome::Failed { code, message, .. } = report(world).outcome else {
        panic!("the report says {:?}", report(world).outcome);
    };
    assert_eq!(status.code(), Some(i32::from(code)));
    (i32::from(code), message)
}

/// Nothing that a later task would take for whole was left; a model that is whole may stay.
fn assert_nothing_is_complete(world: &World) {
    for folder in ["tokens", "runs/local.tiny/plan.json"] {
        let path = world.path("store").join(folder);
        let manifests = Command::new("find")
            .arg(&path)
            .args(["-name", "manifest.json", "-o", "-name", "plan.json"])
            .output()
            .unwrap();
        assert!(manifests.stdout.is_empty(), "{}", path.display());
    }
}

type Change = fn(&Path, &mut Value);

fn edit_weights(folder: &Path, change: impl Fn(&mut Vec<(String, Tensor)>)) {
    let path = folder.join("model.safetensors");
    let file = MappedTensors::open(&path).unwrap();
    let mut tensors: Vec<(String, Tensor)> = file
        .names()
        .into_iter()
        .map(|name| (name.clone(), file.float(&name).unwrap().copy()))
        .collect();
    drop(file);
    change(&mut tensors);
    write_tensors(&path, &tensors, Some("pt")).unwrap();
}

fn tensor(tensors: &mut [(String, Tensor)]) -> &mut Tensor {
    let found = tensors.iter_mut().find(|(name, _)| name == TENSOR);
    &mut found.unwrap().1
}

/// A file of text for calibration, which all slices share.
fn text(folder: &Path, task: &mut Value, text: &str) {
    let path = folder.join("text.txt");
    std::fs::write(&path, text).unwrap();
    task["data"]["calibration"]["source"]["url"] = json!(format!("file://{}", path.display()));
}

fn too_long_a_prompt(_: &Path, task: &mut Value) {
    task["latency"] = json!({"batch": 1, "promptTokens": 60, "newTokens": 5});
}

fn truncate(folder: &Path, _: &mut Value) {
    let path = folder.join("model.safetensors");
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, &bytes[..bytes.len() - 100]).unwrap();
}

fn drop_tensor(folder: &Path, _: &mut Value) {
    edit_weights(folder, |tensors| tensors.retain(|(name, _)| name != TENSOR));
}

fn misshape(folder: &Path, _: &mut Value) {
    edit_weights(folder, |tensors| {
        let tensor = tensor(tensors);
        *tensor = tensor.narrow(0, 0, 39).copy();
    });
}

fn poison(folder: &Path, _: &mut Value) {
    edit_weights(folder, |tensors| {
        let _ = tensor(tensors).get(3).get(4).fill_(f64::NAN);
    });
}

/// A letter that the tokenizer knows by a number beyond the model's 96.
fn other_tokenizer(folder: &Path, task: &mut Value) {
    let mut tokenizer: Value = serde_json::from_slice(&tokenizer()).unwrap();
    tokenizer["model"]["vocab"]["\u{e9}"] = json!(200);
    std::fs::write(folder.join("tokenizer.json"), tokenizer.to_string()).unwrap();
    text(folder, task, &"caf\u{e9} ".repeat(2000));
}

fn little_text(folder: &Path, task: &mut Value) {
    text(folder, task, &"a".repeat(999));
}

fn no_tokenizer(folder: &Path, task: &mut Value) {
    std::fs::remove_file(folder.join("tokenizer.json")).unwrap();
    text(folder, task, &"a".repeat(9999));
}

fn long_sequences(_: &Path, task: &mut Value) {
    task["data"]["sequenceLength"] = json!(65);
}

fn other_sequences(_: &Path, task: &mut Value) {
    task["data"]["sequenceLength"] = json!(32);
}

fn unknown_scheme(_: &Path, task: &mut Value) {
    task["data"]["fitness"]["source"] =
        json!({ "url": "ftp://host/text.txt", "textField": "text" });
}

fn unknown_form(folder: &Path, task: &mut Value) {
    let path = folder.join("text.csv");
    std::fs::write(&path, "a,b").unwrap();
    task["data"]["calibration"]["source"]["url"] = json!(format!("file://{}", path.display()));
}

fn no_weights(folder: &Path, _: &mut Value) {
    std::fs::remove_file(folder.join("model.safetensors")).unwrap();
}

fn no_model(_: &Path, task: &mut Value) {
    task["model"] = json!("file:///nowhere/model");
}

fn no_such_field(folder: &Path, task: &mut Value) {
    let path = folder.join("text.jsonl");
    std::fs::write(&path, "{\"text\": \"a\"}\n{\"body\": \"b\"}\n").unwrap();
    task["data"]["calibration"]["source"]["url"] = json!(format!("file://{}", path.display()));
}

#[test]
fn an_input_that_cannot_be_used_is_named_with_what_was_found_and_what_is_accepted() {
    let cases: [(Change, i32, &[&str]); 16] = [
        (
            too_long_a_prompt,
            78,
            &[
                "spec.evaluation.latency",
                "promptTokens 60 and newTokens 5",
                "(max_position_embeddings), 64",
            ],
        ),
        (
            truncate,
            65,
            &["model.safetensors is not a whole safetensors file"],
        ),
        (drop_tensor, 65, &["model has no tensor", TENSOR]),
        (
            misshape,
            65,
            &[
                TENSOR,
                "model.safetensors has shape [39, 24]",
                "makes it [40, 24]",
            ],
        ),
        (
            poison,
            65,
            &[TENSOR, "model.safetensors holds NaN or infinite values"],
        ),
        (
            other_tokenizer,
            65,
            &[
                "spec.data.calibration.source",
                "token id 200",
                "vocabulary has 96",
            ],
        ),
        (
            little_text,
            65,
            &[
                "spec.data.calibration.source",
                "found 992 tokens",
                "need 1600: calibration 256",
            ],
        ),
        (
            no_tokenizer,
            65,
            &["spec.data.calibration.source", "tokenizer.json"],
        ),
        (
            long_sequences,
            78,
            &[
                "spec.data.calibration.sequenceLength is 65",
                "(max_position_embeddings) is 64",
            ],
        ),
        (
            other_sequences,
            78,
            &["sequences of 16 tokens", "sequenceLength is 32"],
        ),
        (
            unknown_scheme,
            64,
            &[
                "spec.data.fitness.source",
                "ftp://host/text.txt",
                "accepted: hf-dataset://",
            ],
        ),
        (
            unknown_form,
            65,
            &[
                "spec.data.calibration.source",
                "text.csv",
                "accepted: .txt, .jsonl",
            ],
        ),
        (
            no_weights,
            65,
            &["holds neither model.safetensors nor model.safetensors.index.json"],
        ),
        (
            no_model,
            66,
            &["spec.model.source: file:///nowhere/model does not exist"],
        ),
        (
            no_such_field,
            65,
            &["text.jsonl, line 2: there is no field \"text\""],
        ),
        (
            |folder, _| std::fs::remove_file(folder.join("config.json")).unwrap(),
            66,
            &["spec.model.source: config.json at file:///"],
        ),
    ];
    for (change, expected, words) in cases {
        let world = World::new();
        let mut task = with_model(&world);
        change(&world.path("model"), &mut task);
        let (code, said) = failed(&world, task);
        assert_eq!(code, expected, "{said}");
        for word in words {
            assert!(said.contains(word), "{word:?} is missing in {said}");
        }
        assert_nothing_is_complete(&world);
    }
}

#[test]
fn a_store_of_another_run_is_refused_by_the_file_that_says_so() {
    let world = World::new();
    let task = with_model(&world);
    finish(&world, task.clone());
    let mut other = task;
    other["searchDigest"] = json!("sha256:1");
    let (code, said) = failed(&world, other);
    assert_eq!(code, 78);
    assert!(said.contains("runs/local.tiny/run.json"), "{said}");
    let Outcome::Failed { reason, .. } = report(&world).outcome else {
        panic!("it failed a moment ago")
    };
    assert_eq!(reason, darwinlm_task::FailureReason::StoreInUse.as_str());
}

fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output().unwrap();
    id.stdout == b"0\n"
}

/// Runs the program on a file system that is mounted at `at` for it alone and gone with it.
fn on_a_mount(
    world: &World,
    task: Value,
    at: &str,
    options: &str,
    environment: &[(&str, &str)],
) -> (i32, String) {
    std::fs::create_dir_all(world.path(at)).unwrap();
    let script = "mount -t tmpfs -o \"$1\" tmpfs \"$2\" && exec \"$3\" work";
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", script, "sh", options]);
    command.arg(world.path(at)).arg(program().get_program());
    let status = work(world, command, task, environment).wait().unwrap();
    let Outcome::Failed { code, message, .. } = report(world).outcome else {
        panic!("the report says {:?}", report(world).outcome);
    };
    assert_eq!(status.code(), Some(i32::from(code)), "{message}");
    (i32::from(code), message)
}

#[test]
fn a_store_that_cannot_be_written_is_named() {
    let world = World::new();
    let task = with_model(&world);
    let (code, said) = if is_root() {
        on_a_mount(&world, task, "store", "ro,size=1m", &[])
    } else {
        std::fs::create_dir(world.path("store")).unwrap();
        let read_only = std::os::unix::fs::PermissionsExt::from_mode(0o555);
        std::fs::set_permissions(world.path("store"), read_only).unwrap();
        failed(&world, task)
    };
    assert_eq!(code, 77, "{said}");
    let store = format!("file://{}", world.path("store").display());
    assert!(
        said.contains(&store) && said.contains("permission denied"),
        "{said}"
    );
}

#[test]
fn a_disk_that_is_full_is_named_wherever_it_is() {
    if !is_root() {
        eprintln!("not tried: only root can mount a small disk");
        return;
    }
    let world = World::new();
    let (code, said) = on_a_mount(&world, with_model(&world), "store", "size=48k", &[]);
    assert_eq!(code, 69, "{said}");
    assert!(said.contains("models/") && said.contains(FULL), "{said}");
    let (world, hub) = (World::new(), hub());
    let endpoint = hub.endpoint();
    let environment = [("HF_ENDPOINT", endpoint.as_str()), ("HF_TOKEN", TOKEN)];
    let task = of_the_hub();
    let (code, said) = on_a_mount(&world, task, "cache", "size=48k", &environment);
    assert_eq!(code, 69, "{said}");
    let named = "/model.safetensors.part";
    assert!(
        said.contains("spec.model.source: failed to write") && said.contains(named),
        "{said}"
    );
    assert!(said.contains(FULL), "{said}");
}

const FULL: &str = "No space left on device";
