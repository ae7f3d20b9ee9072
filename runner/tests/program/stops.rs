//! SIGTERM: exit code 75 within ten seconds, with a report, whatever the worker is at.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use darwinlm_task::{DeviceRequest, Outcome, RunIdentity, TaskReport, TaskSpec};
use serde_json::{Value, json};

use crate::world::{World, model, program};

/// What Kubernetes and `darwinlm run` are promised.
const WITHIN: Duration = Duration::from_secs(10);

/// For [`start_with`]: the URL of a store that is no folder.
pub(crate) const STORE: &str = "STORE_OF_THE_TEST";

pub(crate) fn pruning() -> Value {
    json!({"levels": 5, "spacing": "Parameters", "mlpGranularity": 8, "attentionUnit": "QueryHead", "dampingPermille": 10})
}

pub(crate) fn settings() -> Value {
    json!({
        "seed": 0, "generations": 900, "offspring": 8, "exchange": "WithinKind", "fitness": "KullbackLeibler",
        "steps": [{"survivors": 1, "trainingTokens": 256, "fitnessTokens": 64}], "continueTraining": false,
        "optimizer": {"learningRate": "1e-5", "weightDecay": "0.01", "batchSequences": 1},
    })
}

pub(crate) fn prepare(tokens: &Path) -> Value {
    let slice = |tokens: u64| json!({"source": null, "tokens": tokens});
    let url = format!("file://{}", tokens.display());
    json!({
        "kind": "prepare", "model": format!("file://{}", model().display()), "threads": 1,
        "pruning": pruning(), "target": {"level": 2},
        "data": {
            "sequenceLength": 16,
            "calibration": {"source": {"url": url, "textField": "text"}, "tokens": 256},
            "training": slice(1024), "fitness": slice(256), "validation": slice(64),
        },
        "searchDigest": "sha256:0",
    })
}

/// Starts a worker at a task.
pub(crate) fn start(world: &World, task: Value) -> Child {
    start_with(world, task, &[])
}

/// Starts a worker at a task, with more in its environment.
pub(crate) fn start_with(world: &World, task: Value, environment: &[(&str, &str)]) -> Child {
    work(world, worker(), task, environment)
}

/// Starts a command that ends up as a worker at a task; the environment may name another store.
pub(crate) fn work(
    world: &World,
    command: Command,
    task: Value,
    environment: &[(&str, &str)],
) -> Child {
    told(command, "tiny", world, task, environment)
        .spawn()
        .unwrap()
}

/// A worker at a task.
pub(crate) fn command(world: &World, task: Value) -> Command {
    command_of("tiny", world, task)
}

/// A worker at a task of a run of this name; only one of a world reports where the tests look.
pub(crate) fn command_of(run: &str, world: &World, task: Value) -> Command {
    told(worker(), run, world, task, &[])
}

fn worker() -> Command {
    let mut command = program();
    command.arg("work");
    command
}

/// A command with all that a worker is told.
fn told(
    mut command: Command,
    run: &str,
    world: &World,
    task: Value,
    environment: &[(&str, &str)],
) -> Command {
    let store = environment.iter().find(|(name, _)| *name == STORE);
    let folder = format!("file://{}", world.path("store").display());
    let spec = json!({
        "version": darwinlm_task::VERSION,
        "run": RunIdentity { namespace: "local".into(), name: run.into(), uid: "uid".into() },
        "store": store.map_or(folder.as_str(), |(_, url)| url),
        "device": DeviceRequest::Cpu,
        "task": task,
    });
    let spec = TaskSpec::from_json(&spec.to_string()).unwrap();
    std::fs::create_dir_all(world.path("cache")).unwrap();
    command.env(darwinlm_task::ENV_TASK, spec.to_json());
    command.env(darwinlm_task::ENV_REPORT, world.path("report"));
    command.env(darwinlm_task::ENV_CACHE, world.path("cache"));
    command.env(darwinlm_task::ENV_LISTEN, "127.0.0.1:0");
    // Servers of tests are on this machine, whatever proxy there is.
    command.env("NO_PROXY", "127.0.0.1");
    command.envs(environment.iter().copied());
    let log = std::fs::File::create(world.path(&format!("log-{run}"))).unwrap();
    command.stdout(Stdio::null()).stderr(log);
    command
}

pub(crate) fn finish(world: &World, task: Value) {
    let status = start(world, task).wait().unwrap();
    assert!(status.success(), "{status}: {:?}", report(world));
}

pub(crate) fn report(world: &World) -> TaskReport {
    serde_json::from_slice(&std::fs::read(world.path("report")).unwrap()).unwrap()
}

/// Waits until something is there.
pub(crate) fn await_path(path: &Path) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !path.exists() {
        assert!(
            Instant::now() < deadline,
            "{} never appeared",
            path.display()
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn terminate(worker: &Child) {
    let signalled = std::process::Command::new("kill")
        .arg(worker.id().to_string())
        .status();
    assert!(signalled.unwrap().success());
}

/// Sends SIGTERM; how long the worker took, once it ended as promised.
pub(crate) fn stop(world: &World, mut worker: Child) -> Duration {
    let told = Instant::now();
    terminate(&worker);
    let status = worker.wait().unwrap();
    let took = told.elapsed();
    assert_eq!(status.code(), Some(75), "{status}");
    assert!(took < WITHIN, "{took:?}");
    let Outcome::Failed { code, reason, .. } = report(world).outcome else {
        panic!("the report says {:?}", report(world).outcome);
    };
    assert_eq!((code, reason.as_str()), (75, "Interrupted"));
    took
}

#[test]
fn a_search_that_is_stopped_gives_its_claim_back_and_goes_on_later() {
    let world = World::new();
    finish(
        &world,
        prepare(&world.tokens("tokens.safetensors", 200, 16)),
    );
    finish(
        &world,
        json!({"kind": "build-database", "pruning": pruning(), "workers": 1}),
    );
    let search = |until: u32| {
        json!({
            "kind": "search", "pruning": pruning(), "target": {"level": 2}, "settings": settings(),
            "untilGeneration": until, "budgetGpuSeconds": null,
        })
    };
    let run = world.path("store/runs/local.tiny");
    let worker = start(&world, search(900));
    await_path(&run.join("ledger/000002.json"));
    stop(&world, worker);
    let ledger = || std::fs::read_dir(run.join("ledger")).unwrap().count();
    let before = ledger();
    // Well within the time after which a claim that was not given back would be retaken.
    let resumed = Instant::now();
    let worker = start(&world, search(900));
    while ledger() <= before + 2 {
        assert!(
            resumed.elapsed() < Duration::from_secs(30),
            "a claim was left behind"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
    stop(&world, worker);
}

#[test]
fn a_task_that_is_done_stays_so_when_it_is_told_to_stop_while_the_page_is_written() {
    let world = World::new();
    finish(
        &world,
        prepare(&world.tokens("tokens.safetensors", 200, 16)),
    );
    finish(
        &world,
        json!({"kind": "build-database", "pruning": pruning(), "workers": 1}),
    );
    let mut settings = settings();
    settings["generations"] = json!(2);
    let search = |until: u32| {
        json!({
            "kind": "search", "pruning": pruning(), "target": {"level": 2}, "settings": settings,
            "untilGeneration": until, "budgetGpuSeconds": null,
        })
    };
    let writes = "writing the page";
    let log = || std::fs::read_to_string(world.path("log-tiny")).unwrap();
    let run = world.path("store/runs/local.tiny");
    finish(&world, search(1));
    assert!(
        !log().contains(writes) && !run.join("report.html").exists(),
        "the search is not over"
    );
    // The page is not there before what it tells is read, and reading this never ends.
    let pipe = run.join("evaluation.json");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    assert!(made.unwrap().success());
    let mut worker = start(&world, search(2));
    let begun = Instant::now();
    while !log().contains(writes) {
        assert!(begun.elapsed() < Duration::from_secs(60), "{}", log());
        std::thread::sleep(Duration::from_millis(20));
    }
    let told = Instant::now();
    terminate(&worker);
    let status = worker.wait().unwrap();
    assert!(status.success(), "{status}: {:?}", report(&world));
    assert!(told.elapsed() < WITHIN, "{:?}", told.elapsed());
    assert_eq!(report(&world).outcome, Outcome::Done);
    assert_eq!(report(&world).page, None);
    assert!(log().contains("the page was not written"), "{}", log());
}

#[test]
fn a_worker_that_hears_nothing_is_ended_all_the_same() {
    let world = World::new();
    // Reading a pipe that nobody writes to never ends.
    let pipe = world.path("tokens.txt");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    assert!(made.unwrap().success());
    let worker = start(&world, prepare(&pipe));
    await_path(&world.path("address"));
    std::thread::sleep(Duration::from_millis(500));
    let took = stop(&world, worker);
    assert!(
        took > Duration::from_secs(2),
        "it heard: the test proves nothing ({took:?})"
    );
}
