//! `prepare` with sources on other machines: servers in this process that really speak HTTP.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;

use darwinlm_store::digest_bytes;
use darwinlm_task::{Outcome, Plan, TaskReport};
use parquet::basic::{Compression, GzipLevel};
use parquet::data_type::{ByteArray, ByteArrayType};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use serde_json::{Value, json};

use crate::hub::{Fault, Hub, Repository};
use crate::stops::{prepare, report, start_with};
use crate::world::{World, model};

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
pub(crate) const TOKEN: &str = "hf_canary_4711";

/// A tokenizer with a token for each letter, so that tokens can be counted by hand.
pub(crate) fn tokenizer() -> Vec<u8> {
    let letters = (' '..='~').filter(|letter| !letter.is_ascii_uppercase());
    let vocabulary: BTreeMap<String, usize> = letters
        .enumerate()
        .map(|(id, letter)| (letter.to_string(), id + 3))
        .collect();
    let tokenizer = json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": null,
        "pre_tokenizer": {"type": "Split", "pattern": {"Regex": "."}, "behavior": "Isolated", "invert": false},
        "post_processor": null, "decoder": null,
        "model": {"type": "WordLevel", "vocab": vocabulary, "unk_token": " "},
    });
    tokenizer.to_string().into_bytes()
}

/// The tiny model as a repository, with files that nobody wants.
fn tiny() -> Repository {
    let read = |name: &str| std::fs::read(model().join(name)).unwrap();
    let files = [
        ("config.json", read("config.json")),
        ("model.safetensors", read("model.safetensors")),
        ("tokenizer.json", tokenizer()),
        ("README.md", b"# Tiny".to_vec()),
        ("modeling_tiny.py", b"import os".to_vec()),
        ("pytorch_model.bin", vec![0; 1000]),
        ("onnx/model.onnx", vec![0; 1000]),
        ("other.safetensors", vec![0; 1000]),
    ];
    Repository {
        commit: COMMIT.to_owned(),
        token: Some(TOKEN.to_owned()),
        files: files
            .map(|(name, content)| (name.to_owned(), content))
            .into(),
    }
}

/// `count` documents of 99 letters; with their end each has 100 tokens.
fn texts(count: usize, word: &str) -> Vec<String> {
    let text = |at: usize| format!("{word} {at} ").repeat(99)[..99].to_owned();
    (0..count).map(text).collect()
}

fn lines(texts: &[String]) -> Vec<u8> {
    let line = |text: &String| format!("{}\n", json!({ "body": text, "id": 1 }));
    texts.iter().map(line).collect::<String>().into_bytes()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Two row groups, with a row that has no text between them.
fn parquet_file(texts: &[String], compression: Compression) -> Vec<u8> {
    let schema = "message m { required int32 id; optional binary body (UTF8); }";
    let schema = Arc::new(parse_message_type(schema).unwrap());
    let properties = WriterProperties::builder()
        .set_compression(compression)
        .build();
    let mut bytes = Vec::new();
    let mut writer = SerializedFileWriter::new(&mut bytes, schema, properties.into()).unwrap();
    for half in texts.chunks(texts.len().div_ceil(2)) {
        let mut group = writer.next_row_group().unwrap();
        let mut ids = group.next_column().unwrap().unwrap();
        let rows = vec![1_i32; half.len() + 1];
        ids.typed::<parquet::data_type::Int32Type>()
            .write_batch(&rows, None, None)
            .unwrap();
        ids.close().unwrap();
        let mut column = group.next_column().unwrap().unwrap();
        let values: Vec<ByteArray> = half.iter().map(|text| text.as_str().into()).collect();
        let levels: Vec<i16> = std::iter::once(0).chain(half.iter().map(|_| 1)).collect();
        column
            .typed::<ByteArrayType>()
            .write_batch(&values, Some(&levels), None)
            .unwrap();
        column.close().unwrap();
        group.close().unwrap();
    }
    writer.close().unwrap();
    bytes
}

/// 1600 tokens are needed; the first three files have 600 each.
fn data() -> Repository {
    let files = [
        ("README.md", b"# Text".to_vec()),
        (
            "data/000.parquet",
            parquet_file(&texts(6, "row"), Compression::SNAPPY),
        ),
        ("data/001.jsonl.gz", gzip(&lines(&texts(6, "gzip")))),
        (
            "data/002.jsonl.zst",
            zstd::encode_all(&lines(&texts(6, "zstd"))[..], 1).unwrap(),
        ),
        ("data/003.jsonl.gz", gzip(&lines(&texts(6, "unneeded")))),
        (
            "other/000.parquet",
            parquet_file(&texts(6, "packed"), Compression::GZIP(GzipLevel::default())),
        ),
    ];
    Repository {
        commit: COMMIT.to_owned(),
        token: None,
        files: files
            .map(|(name, content)| (name.to_owned(), content))
            .into(),
    }
}

pub(crate) fn hub() -> Hub {
    let hub = Hub::start();
    hub.put("models/team/tiny", tiny());
    hub.put("datasets/team/text", data());
    hub
}

fn task(model: &str, text: &str) -> Value {
    let mut task = prepare(Path::new("/nowhere"));
    task["model"] = json!(model);
    task["data"]["calibration"]["source"] = json!({ "url": text, "textField": "body" });
    task
}

/// A run whose sources are of the hub.
pub(crate) fn of_the_hub() -> Value {
    task(MODEL, DATA)
}

/// Runs `prepare` with the hub's address and a token; the exit code.
fn run(world: &World, hub: &Hub, token: &str, task: Value) -> Option<i32> {
    let endpoint = hub.endpoint();
    let environment = [
        ("HF_ENDPOINT", endpoint.as_str()),
        ("DARWINLM_SOURCE_HF_TOKEN", token),
    ];
    start_with(world, task, &environment).wait().unwrap().code()
}

fn message(world: &World) -> String {
    match report(world).outcome {
        Outcome::Failed { message, .. } => message,
        other => panic!("the report says {other:?}"),
    }
}

fn plan(world: &World) -> Plan {
    let path = world.path("store/runs/local.tiny/plan.json");
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

const MODEL: &str = "hf://team/tiny";
const DATA: &str = "hf-dataset://team/text@main/data/*";

#[test]
fn a_model_and_data_of_the_hub_are_fetched_at_one_commit_and_no_more_than_is_needed() {
    let (world, hub) = (World::new(), hub());
    assert_eq!(
        run(&world, &hub, TOKEN, task(MODEL, DATA)),
        Some(0),
        "{:?}",
        report(&world)
    );
    let plan = plan(&world);
    let fetched: Vec<_> = plan
        .fetched
        .iter()
        .map(|one| (one.field.as_str(), one.from.as_str()))
        .collect();
    let expected = [
        ("spec.model.source", format!("hf://team/tiny@{COMMIT}")),
        (
            "spec.data.calibration.source",
            format!("hf-dataset://team/text@{COMMIT}/data/*"),
        ),
    ];
    assert_eq!(
        fetched,
        expected
            .each_ref()
            .map(|(field, from)| (*field, from.as_str()))
    );
    // A folder of the same files gives the same model, wherever it lies.
    let kept: Vec<String> = names(&world.path(&format!("store/models/{}", plan.model)));
    assert_eq!(kept.len(), 4, "{kept:?}");
    let local = World::new();
    let folder = local.path("model");
    std::fs::create_dir(&folder).unwrap();
    for (name, content) in tiny().files {
        if !name.contains('/') {
            std::fs::write(folder.join(name), content).unwrap();
        }
    }
    let text = local.path("data");
    std::fs::create_dir(&text).unwrap();
    for (name, content) in data().files {
        if let Some(name) = name.strip_prefix("data/") {
            std::fs::write(text.join(name), content).unwrap();
        }
    }
    let here = task(
        &format!("file://{}", folder.display()),
        &format!("file://{}/*", text.display()),
    );
    assert_eq!(run(&local, &hub, "", here), Some(0), "{:?}", report(&local));
    let here = self::plan(&local);
    assert_eq!((here.model, here.tokens), (plan.model, plan.tokens));
    assert!(here.fetched.is_empty());
    // Of the data the first three files in order of their names.
    for (part, requests) in [
        ("000.parquet", 1),
        ("001", 1),
        ("002", 1),
        ("003", 0),
        ("other", 0),
    ] {
        assert_eq!(
            hub.seen(&format!("resolve/{COMMIT}/data/{part}")).len(),
            requests,
            "{part}"
        );
    }
    for unwanted in ["README", ".py", ".bin", ".onnx", "other.safetensors"] {
        assert!(hub.seen(unwanted).is_empty(), "{unwanted} was fetched");
    }
    let pages = hub.seen("/api/datasets/team/text/tree/");
    assert!(
        pages.len() > 1 && pages[0].path.ends_with("/data"),
        "{pages:?}"
    );
    assert!(
        !world.path("cache/sources").exists(),
        "what was fetched is kept twice"
    );
}

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

#[test]
fn the_token_goes_to_the_hub_alone_and_into_no_file() {
    let (world, hub) = (World::new(), hub());
    assert_eq!(run(&world, &hub, TOKEN, task(MODEL, DATA)), Some(0));
    let bearer = format!("Bearer {TOKEN}");
    let asked = hub.seen("/team/");
    assert!(!asked.is_empty());
    for seen in asked {
        assert_eq!(
            seen.authorization.as_deref(),
            Some(bearer.as_str()),
            "{seen:?}"
        );
    }
    let weights = digest_bytes(&tiny().files["model.safetensors"]).sha256;
    let redirected = hub.seen(&weights);
    // An address may hold a signature in its query: a server that is redirected to never sees it.
    assert!(redirected.iter().all(|seen| seen.referer.is_none()));
    assert_eq!(redirected.len(), 1);
    assert_eq!(redirected[0].authorization, None, "the token left the hub");
    let written = std::process::Command::new("grep")
        .args(["-rlF", "canary"])
        .arg(world.path(""))
        .output()
        .unwrap();
    assert!(
        written.stdout.is_empty(),
        "{}",
        String::from_utf8_lossy(&written.stdout)
    );
}

#[test]
fn a_connection_that_breaks_goes_on_where_it_broke() {
    let (world, hub) = (World::new(), hub());
    let weights = digest_bytes(&tiny().files["model.safetensors"]).sha256;
    hub.fail(&weights, Fault::Cut(30_000));
    hub.fail(&weights, Fault::Cut(20_000));
    assert_eq!(
        run(&world, &hub, TOKEN, task(MODEL, DATA)),
        Some(0),
        "{:?}",
        report(&world)
    );
    let ranges: Vec<_> = hub
        .seen(&weights)
        .into_iter()
        .map(|seen| seen.range)
        .collect();
    let range = |start: u32| Some(format!("bytes={start}-"));
    assert_eq!(ranges, [None, range(30_000), range(50_000)]);
    assert!(hub.seen(&weights)[1].if_range.is_some());
}

/// Where a model of the hub is fetched to.
fn scratch(world: &World) -> std::path::PathBuf {
    let from = format!("{MODEL}@{COMMIT}");
    world
        .path("cache/sources")
        .join(digest_bytes(from.as_bytes()).sha256)
}

#[test]
fn what_a_killed_worker_left_is_gone_on_with_if_it_is_of_the_same_file() {
    let (world, hub) = (World::new(), hub());
    let weights = tiny().files["model.safetensors"].clone();
    let sha256 = digest_bytes(&weights).sha256;
    let part = scratch(&world).join("model.safetensors.part");
    std::fs::create_dir_all(scratch(&world)).unwrap();
    std::fs::write(&part, &weights[..1000]).unwrap();
    assert_eq!(
        run(&world, &hub, TOKEN, task(MODEL, DATA)),
        Some(0),
        "{:?}",
        report(&world)
    );
    let last = hub.seen(&sha256).pop().unwrap();
    assert_eq!(last.range.as_deref(), Some("bytes=1000-"));
}

#[test]
fn what_comes_damaged_is_fetched_once_more_and_refused_the_second_time() {
    let weights = digest_bytes(&tiny().files["model.safetensors"]).sha256;
    let (world, hub) = (World::new(), hub());
    // A beginning that is of some other file, then a byte that changed on the way.
    let part = scratch(&world).join("model.safetensors.part");
    std::fs::create_dir_all(scratch(&world)).unwrap();
    std::fs::write(&part, vec![7; 1000]).unwrap();
    hub.fail(&weights, Fault::Flip(10));
    hub.fail(&weights, Fault::Flip(10_000));
    assert_eq!(run(&world, &hub, TOKEN, task(MODEL, DATA)), Some(65));
    let said = message(&world);
    for part in [
        "spec.model.source",
        "model.safetensors",
        COMMIT,
        "announced was sha256",
        &weights,
    ] {
        assert!(said.contains(part), "{part} is missing in {said}");
    }
    assert!(!part.exists(), "what is damaged would be taken up again");
    hub.fail(&weights, Fault::Flip(20_000));
    assert_eq!(
        run(&world, &hub, TOKEN, task(MODEL, DATA)),
        Some(0),
        "{:?}",
        report(&world)
    );
    let ranges: Vec<_> = hub
        .seen(&weights)
        .into_iter()
        .map(|seen| seen.range)
        .collect();
    assert_eq!(ranges, [Some("bytes=1000-".to_owned()), None, None, None]);
}

#[test]
fn a_server_that_is_busy_for_a_while_is_asked_again() {
    let (world, hub) = (World::new(), hub());
    for (part, status) in [
        ("revision", 429),
        ("revision", 503),
        ("tree", 500),
        ("resolve", 502),
    ] {
        hub.fail(part, Fault::Status(status));
    }
    assert_eq!(
        run(&world, &hub, TOKEN, task(MODEL, DATA)),
        Some(0),
        "{:?}",
        report(&world)
    );
    let weights = hub.seen("/api/models/team/tiny/revision/main");
    assert_eq!(weights.len(), 3);
}

#[test]
fn what_the_hub_refuses_is_said_with_what_would_be_accepted() {
    let hub = hub();
    let cases = [
        (
            MODEL,
            "hf_wrong",
            77,
            "403 Forbidden (GatedRepo); accepted: a repository that exists",
        ),
        (MODEL, "", 77, "401 Unauthorized (GatedRepo)"),
        (
            "hf://team/none",
            TOKEN,
            66,
            "revision main of team/none on http",
        ),
        (
            "hf://team/tiny@v9",
            TOKEN,
            66,
            "revision v9 of team/tiny on http",
        ),
        (
            "ftp://team/tiny",
            TOKEN,
            64,
            "accepted: hf://organisation/name[@revision], s3://",
        ),
        (
            "hf-dataset://team/text",
            TOKEN,
            64,
            "accepted: hf://organisation/name[@revision]",
        ),
    ];
    for (model, token, code, words) in cases {
        let world = World::new();
        assert_eq!(
            run(&world, &hub, token, task(model, DATA)),
            Some(code),
            "{model}"
        );
        let said = message(&world);
        assert!(
            said.contains("spec.model.source") && said.contains(words),
            "{said}"
        );
        assert!(token.is_empty() || !said.contains(token), "{said}");
    }
    let cases = [
        (
            "hf-dataset://team/none/data/*",
            66,
            "revision main of team/none",
        ),
        (
            "hf-dataset://team/text/none/*.parquet",
            66,
            "does not exist",
        ),
        ("hf-dataset://team/text/data/*.txt", 66, "does not exist"),
        (
            "hf-dataset://team/text/*.md",
            66,
            "holds 1 files and none of them is .txt, .jsonl",
        ),
        (
            "hf-dataset://team/text/other",
            65,
            "the slices need 1600: calibration 256, training 1024",
        ),
        (
            "hf://team/text",
            64,
            "accepted: hf-dataset://organisation/name[@revision]/path",
        ),
    ];
    for (text, code, words) in cases {
        let world = World::new();
        let found = run(&world, &hub, TOKEN, task(MODEL, text));
        let said = message(&world);
        assert_eq!(found, Some(code), "{text}: {said}");
        assert!(
            said.contains("spec.data.calibration.source") && said.contains(words),
            "{said}"
        );
    }
}

#[test]
fn a_column_that_is_not_there_is_named_with_those_that_are() {
    let hub = hub();
    for (column, found) in [
        ("text", "its columns are id, body"),
        ("id", "column \"id\" is no text"),
    ] {
        let world = World::new();
        let mut task = task(MODEL, "hf-dataset://team/text/data/*.parquet");
        task["data"]["calibration"]["source"]["textField"] = json!(column);
        assert_eq!(run(&world, &hub, TOKEN, task), Some(65));
        let said = message(&world);
        let words = format!("000.parquet: {found}; accepted: a column of text \"{column}\"");
        assert!(said.contains(&words), "{said}");
    }
}

#[test]
fn a_run_goes_on_with_what_it_fetched_when_the_branch_has_moved_or_the_hub_is_gone() {
    let (world, hub) = (World::new(), hub());
    assert_eq!(run(&world, &hub, TOKEN, task(MODEL, DATA)), Some(0));
    let said = |world: &World| TaskReport {
        worker: String::new(),
        progress: None,
        ..report(world)
    };
    let (first, asked) = (said(&world), hub.seen("").len());
    hub.put(
        "models/team/tiny",
        Repository {
            commit: COMMIT.replace('0', "f"),
            ..tiny()
        },
    );
    assert_eq!(run(&world, &hub, TOKEN, task(MODEL, DATA)), Some(0));
    assert_eq!(said(&world), first);
    assert_eq!(hub.seen("").len(), asked, "the hub was asked again");
    let other = json!({"threads": 2});
    let mut changed = task(MODEL, DATA);
    changed["threads"] = other["threads"].clone();
    assert_eq!(run(&world, &hub, TOKEN, changed), Some(78));
    assert!(message(&world).contains("plan.json"), "{}", message(&world));
}

#[test]
fn slices_of_two_sources_that_share_a_file_are_refused() {
    let (world, hub) = (World::new(), hub());
    let mut task = task(MODEL, DATA);
    let one = "hf-dataset://team/text/data/000.parquet";
    task["data"]["fitness"]["source"] = json!({ "url": one, "textField": "body" });
    assert_eq!(run(&world, &hub, TOKEN, task), Some(78));
    let said = message(&world);
    for part in [
        "spec.data.calibration.source",
        "spec.data.fitness.source",
        "data/000.parquet",
    ] {
        assert!(said.contains(part), "{said}");
    }
}

/// The tiny model and a text on a plain web server, with the weights in two shards.
fn web(hub: &Hub) -> (String, String) {
    for (name, content) in tiny().files {
        if name != "model.safetensors" {
            hub.put_file(&format!("/models/tiny/{name}"), &content);
        }
    }
    let weights = &tiny().files["model.safetensors"];
    hub.put_file("/models/tiny/one.safetensors", weights);
    let header = u64::from_le_bytes(weights[..8].try_into().unwrap()) as usize;
    let header: Value = serde_json::from_slice(&weights[8..8 + header]).unwrap();
    let names = header
        .as_object()
        .unwrap()
        .keys()
        .filter(|name| *name != "__metadata__");
    let map: BTreeMap<&String, &str> = names.map(|name| (name, "one.safetensors")).collect();
    let index = json!({ "weight_map": map }).to_string();
    hub.put_file(
        "/models/tiny/model.safetensors.index.json",
        index.as_bytes(),
    );
    hub.put_file("/text/all.jsonl.gz", &gzip(&lines(&texts(20, "web"))));
    (
        format!("{}/models/tiny?signature=canary", hub.web()),
        format!("{}/text/all.jsonl.gz?signature=canary", hub.web()),
    )
}

#[test]
fn a_model_in_shards_and_a_text_come_from_a_web_server() {
    let (world, hub) = (World::new(), hub());
    let (model, text) = web(&hub);
    hub.fail("one.safetensors", Fault::Cut(30_000));
    assert_eq!(
        run(&world, &hub, "", task(&model, &text)),
        Some(0),
        "{:?}",
        report(&world)
    );
    let requests = hub.seen("one.safetensors");
    assert_eq!(requests[1].range.as_deref(), Some("bytes=30000-"));
    assert!(requests[1].if_range.is_some());
    // A query may be a signature: it is asked with, and kept nowhere.
    let written = std::fs::read_to_string(world.path("store/runs/local.tiny/plan.json")).unwrap();
    assert!(
        written.contains("/models/tiny\"") && !written.contains("canary"),
        "{written}"
    );
}

#[test]
fn a_file_that_changes_while_it_is_fetched_is_fetched_anew() {
    let (world, hub) = (World::new(), hub());
    let (model, text) = web(&hub);
    let old = gzip(&lines(&texts(20, "old")));
    hub.put_file("/text/all.jsonl.gz", &old);
    hub.fail("all.jsonl.gz", Fault::Cut(40));
    // The connection breaks; what the second request finds is another file.
    let mut worker = start_with(&world, task(&model, &text), &[]);
    while hub.seen("all.jsonl.gz").is_empty() {
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    let new = gzip(&lines(&texts(20, "new")));
    hub.put_file("/text/all.jsonl.gz", &new);
    let status = worker.wait().unwrap();
    assert_eq!(status.code(), Some(0), "{:?}", report(&world));
    let second = &hub.seen("all.jsonl.gz")[1];
    assert_eq!(second.range.as_deref(), Some("bytes=40-"));
    // What was digested is what is tokenised: it is not fetched once more.
    assert_eq!(hub.seen("all.jsonl.gz").len(), 2);
    let tokens = plan(&world).tokens;
    let fresh = World::new();
    assert_eq!(run(&fresh, &hub, "", task(&model, &text)), Some(0));
    assert_eq!(plan(&fresh).tokens, tokens);
}

#[test]
fn what_a_web_server_does_not_have_is_named_without_its_query() {
    let hub = hub();
    let (model, text) = web(&hub);
    let elsewhere = model.replace("tiny", "none");
    let nothing = text.replace("all", "none");
    for (model, text, words) in [
        (&elsewhere, &text, "spec.model.source: config.json at http"),
        (&model, &nothing, "spec.data.calibration.source: http"),
    ] {
        let world = World::new();
        assert_eq!(run(&world, &hub, "", task(model, text)), Some(66));
        let said = message(&world);
        assert!(
            said.contains(words) && said.contains("does not exist"),
            "{said}"
        );
        assert!(!said.contains("canary"), "{said}");
    }
}
