//! `darwinlm run` with a runner that only pretends: processes, signals and reports are real.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "fixtures/pretend.rs"]
mod pretend;

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use darwinlm_task::ENV_TASK;
use tempfile::TempDir;

const RUN: &str = "\
apiVersion: darwinlm.io/v1alpha1
kind: PruningRun
metadata: {name: tiny}
spec:
  model: {source: pvc://data/model}
  data:
    calibration: {source: pvc://data/tokens.safetensors, tokens: 1024, sequenceLength: 32}
  pruning: {levels: 4}
  target: {level: 2}
  search:
    generations: 6
    offspring: 6
    steps: [{survivors: 1, trainingTokens: 64, fitnessTokens: 128}]
    workers: 2
    generationsPerJob: 4
  postTraining: {tokens: 4096}
  evaluation: {}
  export: {destination: pvc://data/out}
  artifacts: {store: pvc://data/store}
";

/// The worker's side: this test binary is the runner of its own tests.
#[test]
#[ignore = "not a test: the runner that the tests below start"]
fn pretend_runner() {
    pretend::work();
}

struct Here {
    folder: TempDir,
}

impl Here {
    fn new() -> Self {
        let folder = TempDir::with_prefix("darwinlm-local-").unwrap();
        fs::write(folder.path().join("run.yaml"), RUN).unwrap();
        let runner = folder.path().join("darwinlm-runner");
        let own = std::env::current_exe().unwrap();
        let arguments = "pretend_runner --exact --ignored --nocapture";
        fs::write(
            &runner,
            format!("#!/bin/sh\nexec '{}' {arguments}\n", own.display()),
        )
        .unwrap();
        use std::os::unix::fs::PermissionsExt as _;
        fs::set_permissions(&runner, fs::Permissions::from_mode(0o755)).unwrap();
        Self { folder }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn edit(&self, from: &str, to: &str) {
        let file = self.path().join("run.yaml");
        let text = fs::read_to_string(&file).unwrap();
        assert!(text.contains(from), "run.yaml has no {from:?}");
        fs::write(file, text.replacen(from, to, 1)).unwrap();
    }

    fn start(&self, pretend: &str, arguments: &[&str]) -> Child {
        self.command(pretend, arguments).spawn().unwrap()
    }

    fn command(&self, pretend: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_darwinlm"));
        command
            .arg("run")
            .arg("-f")
            .arg(self.path().join("run.yaml"))
            .arg("--volume")
            .arg(format!("data={}", self.path().display()))
            .args(arguments)
            .env("DARWINLM_RUNNER", self.path().join("darwinlm-runner"))
            .env("PRETEND", pretend)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    fn run(&self, pretend: &str, arguments: &[&str]) -> Ended {
        Ended::of(self.start(pretend, arguments))
    }
}

struct Ended {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Ended {
    fn of(child: Child) -> Self {
        let Output {
            status,
            stdout,
            stderr,
        } = child.wait_with_output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Self {
            code: status.code(),
            stdout: text(stdout),
            stderr: text(stderr),
        }
    }

    fn digest(&self) -> &str {
        assert_eq!(self.code, Some(0), "{}\n{}", self.stdout, self.stderr);
        self.stdout.lines().last().unwrap_or_default()
    }
}

fn digest_of_six() -> String {
    format!("sha256:{:064x}", 6)
}

/// The workers of a run: its child processes.
fn workers(run: u32) -> Vec<i32> {
    let path = format!("/proc/{run}/task/{run}/children");
    let text = fs::read_to_string(path).unwrap_or_default();
    text.split_whitespace()
        .filter_map(|id| id.parse().ok())
        .collect()
}

fn is_alive(process: i32) -> bool {
    fs::read_to_string(format!("/proc/{process}/stat")).is_ok_and(|stat| {
        !stat
            .rsplit(')')
            .next()
            .unwrap_or_default()
            .starts_with(" Z")
    })
}

fn send(process: i32, signal: &str) {
    let sent = Command::new("kill")
        .arg(signal)
        .arg(process.to_string())
        .status()
        .unwrap();
    assert!(sent.success(), "kill {signal} {process}");
}

fn until<T>(what: &str, look: impl Fn() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "it never came to this: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Waits until the search is at work with so many workers.
fn searching(here: &Here, run: &Child, count: usize) -> Vec<i32> {
    let ledger = here.path().join("store/generations");
    until("the search is at work", || {
        let workers = workers(run.id());
        (ledger.exists() && workers.len() == count).then_some(workers)
    })
}

#[test]
fn a_run_ends_with_its_table_and_its_digest() {
    let here = Here::new();
    let ended = here.run("quick", &[]);
    assert_eq!(ended.digest(), digest_of_six());
    let lines: Vec<_> = ended.stdout.lines().collect();
    assert!(
        lines[1].starts_with("dense") && lines[1].contains("1,000"),
        "{}",
        ended.stdout
    );
    assert!(lines[3].starts_with("searched"), "{}", ended.stdout);
    assert!(lines[4].starts_with("trained"), "{}", ended.stdout);
    assert!(
        lines[6].starts_with("exported to file://"),
        "{}",
        ended.stdout
    );
    assert!(
        ended.stderr.contains("Searching: generation"),
        "{}",
        ended.stderr
    );
    let jobs = here.path().join("store/.darwinlm/tiny");
    for job in [
        "prepare-a1",
        "build-database-a1",
        "search-g0-a1",
        "search-g4-a1",
        "export-a1",
    ] {
        assert!(
            jobs.join(job)
                .join(format!("{job}-w0"))
                .join("log")
                .exists(),
            "{job}"
        );
    }
}

#[test]
fn a_store_may_be_a_folder_of_any_name() {
    let here = Here::new();
    let store = here.path().join("#1 is 100% a store?");
    let ended = here.run("quick", &["--store", store.to_str().unwrap()]);
    assert_eq!(ended.digest(), digest_of_six());
    assert!(store.join("generations").exists(), "workers were elsewhere");
    assert!(store.join(".darwinlm/tiny/prepare-a1").exists());
}

#[test]
fn a_worker_that_searches_is_not_told_the_credentials_of_the_sources() {
    let here = Here::new();
    let run = here
        .command("slow", &[])
        .envs([
            ("HF_TOKEN", "canary"),
            ("DARWINLM_SOURCE_AWS_SECRET_ACCESS_KEY", "canary"),
            ("AWS_SECRET_ACCESS_KEY", "of the store"),
        ])
        .spawn()
        .unwrap();
    for worker in searching(&here, &run, 2) {
        // Between fork and exec, a child's environment reads as its parent's.
        let environment = until("the worker has an environment of its own", || {
            let environment = fs::read(format!("/proc/{worker}/environ")).ok()?;
            let environment = String::from_utf8_lossy(&environment).into_owned();
            environment.contains(ENV_TASK).then_some(environment)
        });
        assert!(environment.contains("of the store"), "{environment}");
        assert!(!environment.contains("canary"), "{environment}");
    }
    assert_eq!(Ended::of(run).digest(), digest_of_six());
}

#[test]
fn a_killed_worker_is_replaced() {
    let here = Here::new();
    let run = here.start("slow", &[]);
    let workers = searching(&here, &run, 2);
    send(workers[0], "-KILL");
    assert_eq!(Ended::of(run).digest(), digest_of_six());
}

#[test]
fn a_worker_that_fails_is_replaced() {
    let here = Here::new();
    assert_eq!(here.run("fail-once", &[]).digest(), digest_of_six());
}

#[test]
fn a_final_exit_code_ends_the_run_with_that_code_and_the_reason() {
    let here = Here::new();
    let ended = here.run("bad-data", &[]);
    assert_eq!(ended.code, Some(65), "{}", ended.stderr);
    assert!(
        ended.stderr.contains("prepare: config.json: rope_type"),
        "{}",
        ended.stderr
    );
    assert!(
        ended.stderr.contains("logs of all workers: "),
        "{}",
        ended.stderr
    );
    // The cause may have been removed: the same command tries again.
    assert_eq!(here.run("quick", &[]).digest(), digest_of_six());
}

#[test]
fn an_interrupted_run_leaves_no_worker_and_resumes() {
    for (signal, code) in [("-INT", 130), ("-TERM", 143)] {
        let here = Here::new();
        let run = here.start("slow", &[]);
        let workers = searching(&here, &run, 2);
        send(run.id() as i32, signal);
        let ended = Ended::of(run);
        assert_eq!(ended.code, Some(code), "{}", ended.stderr);
        assert!(
            ended.stderr.contains("the same command resumes"),
            "{}",
            ended.stderr
        );
        assert!(
            workers.iter().all(|worker| !is_alive(*worker)),
            "a worker was left behind"
        );
        assert_eq!(here.run("quick", &[]).digest(), digest_of_six());
    }
}

#[test]
fn a_killed_command_leaves_no_worker() {
    let here = Here::new();
    let mut run = here.start("slow", &[]);
    let workers = searching(&here, &run, 2);
    send(run.id() as i32, "-KILL");
    run.wait().unwrap();
    until("every worker is gone", || {
        workers
            .iter()
            .all(|worker| !is_alive(*worker))
            .then_some(())
    });
}

#[test]
fn workers_and_suspend_follow_the_file_while_the_run_goes_on() {
    let here = Here::new();
    let run = here.start("slow", &[]);
    searching(&here, &run, 2);
    here.edit("workers: 2", "workers: 3");
    searching(&here, &run, 3);
    here.edit("workers: 3", "workers: 1");
    searching(&here, &run, 1);
    here.edit("  artifacts:", "  suspend: true\n  artifacts:");
    searching(&here, &run, 0);
    here.edit("suspend: true", "suspend: false");
    assert_eq!(Ended::of(run).digest(), digest_of_six());
}

#[test]
fn a_worker_changed_too_late_starts_nothing_until_it_is_put_back() {
    let here = Here::new();
    let run = here.start("slow", &[]);
    searching(&here, &run, 2);
    let late = "  worker: {sharedMemory: 2Gi}\n";
    here.edit("  artifacts:", &format!("{late}  artifacts:"));
    // The Job at work ends by itself; the next one is not made.
    searching(&here, &run, 0);
    std::thread::sleep(Duration::from_secs(1));
    assert!(workers(run.id()).is_empty());
    here.edit(late, "");
    let ended = Ended::of(run);
    assert_eq!(ended.digest(), digest_of_six());
    let said = "spec.worker was changed after Job tiny-prepare-a1 had been made from it";
    assert!(ended.stderr.contains(said), "{}", ended.stderr);
}

#[test]
fn a_change_of_what_is_fixed_is_refused_and_the_run_goes_on() {
    let here = Here::new();
    let run = here.start("slow", &[]);
    searching(&here, &run, 2);
    here.edit("generations: 6", "generations: 7");
    let ended = Ended::of(run);
    assert_eq!(ended.digest(), digest_of_six());
    assert!(
        ended.stderr.contains("the run goes on as before"),
        "{}",
        ended.stderr
    );
    assert!(
        ended.stderr.contains("search.generations is immutable"),
        "{}",
        ended.stderr
    );
}

#[test]
fn one_folder_is_not_worked_in_twice() {
    let here = Here::new();
    let mut run = here.start("slow", &[]);
    searching(&here, &run, 2);
    let second = here.run("quick", &[]);
    assert_eq!(second.code, Some(69), "{}", second.stderr);
    assert!(
        second.stderr.contains("another `darwinlm run` is at work"),
        "{}",
        second.stderr
    );
    run.kill().unwrap();
    run.wait().unwrap();
}

#[test]
fn what_cannot_be_carried_out_is_refused_before_anything_starts() {
    for (from, to, said) in [
        (
            "  evaluation: {}",
            "  evaluation: {tasks: [sciq]}",
            "spec.evaluation.tasks is not yet",
        ),
        ("offspring: 6", "offspringg: 6", "offspringg"),
        ("{level: 2}", "{level: 9}", "target.level"),
        (
            "pvc://data/model",
            "pvc://other/model",
            "--volume other=DIR",
        ),
    ] {
        let here = Here::new();
        here.edit(from, to);
        let refused = here.run("quick", &[]);
        assert_eq!(refused.code, Some(78), "{to}: {}", refused.stderr);
        assert!(refused.stderr.contains(said), "{to}: {}", refused.stderr);
        assert!(!here.path().join("store").exists(), "{to}");
    }
}
