//! A run on this machine through `darwinlm run`, in a folder of its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::programs::program;
use crate::tiny;

/// A folder with a tiny model, its tokens and a store; gone when dropped.
#[derive(Debug)]
pub struct Local {
    folder: TempDir,
}

/// How a command ended.
#[derive(Debug)]
pub struct Finished {
    /// The exit code, if it was not killed.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Finished {
    /// The digest on the last line of the output.
    ///
    /// # Panics
    /// When the command failed, or its last line is no digest.
    pub fn digest(&self) -> String {
        assert_eq!(self.code, Some(0), "{}\n{}", self.stdout, self.stderr);
        let last = self.stdout.lines().last().unwrap_or_default().to_owned();
        let hex = last.strip_prefix("sha256:").unwrap_or_default();
        assert!(
            hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_hexdigit()),
            "the last line is no digest: {last:?}"
        );
        last
    }
}

impl Default for Local {
    fn default() -> Self {
        Self::new()
    }
}

impl Local {
    /// Makes the folder, the model and the tokens.
    ///
    /// # Panics
    /// When the folder cannot be made.
    pub fn new() -> Self {
        let folder = TempDir::with_prefix("darwinlm-story-").expect("a folder can be made");
        tiny::write(folder.path());
        fs::write(folder.path().join("run.yaml"), TINY_RUN).expect("run.yaml can be written");
        Self { folder }
    }

    /// The volume that `pvc://data/…` names.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The run's YAML.
    pub fn yaml(&self) -> PathBuf {
        self.path().join("run.yaml")
    }

    /// Changes the YAML by replacing text that must be there.
    ///
    /// # Panics
    /// When the text is not there.
    pub fn edit(&self, from: &str, to: &str) {
        let text = fs::read_to_string(self.yaml()).expect("run.yaml can be read");
        assert!(text.contains(from), "run.yaml has no {from:?}");
        // A program at work sees the old file or the new one, whole.
        let new = self.path().join("run.yaml.new");
        fs::write(&new, text.replacen(from, to, 1)).expect("run.yaml can be written");
        fs::rename(new, self.yaml()).expect("run.yaml can be replaced");
    }

    /// The command that runs it, with more arguments.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(program("darwinlm"));
        command
            .arg("run")
            .arg("-f")
            .arg(self.yaml())
            .arg("--volume")
            .arg(format!("data={}", self.path().display()))
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Starts it.
    ///
    /// # Panics
    /// When the program cannot be started.
    pub fn start(&self, arguments: &[&str]) -> Child {
        self.command(arguments)
            .spawn()
            .expect("darwinlm can be started")
    }

    /// Runs it to its end.
    pub fn run(&self, arguments: &[&str]) -> Finished {
        finish(self.start(arguments))
    }

    /// The store's folder.
    pub fn store(&self) -> PathBuf {
        self.path().join("store")
    }

    /// Waits until a generation is in the ledger.
    ///
    /// # Panics
    /// When that takes a minute.
    pub fn await_generation(&self, generation: u32) {
        self.await_path(&Self::ledger_entry(generation));
    }

    /// Waits until a path is in the store.
    ///
    /// # Panics
    /// When that takes a minute.
    pub fn await_path(&self, path: &str) {
        let path = self.store().join(path);
        let deadline = Instant::now() + Duration::from_secs(60);
        while !path.exists() {
            assert!(
                Instant::now() < deadline,
                "{} did not appear",
                path.display()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Where the store has the ledger's entry of a generation.
    pub fn ledger_entry(generation: u32) -> String {
        format!("runs/local.tiny/ledger/{generation:06}.json")
    }

    /// Removes the store, so that the next run starts anew.
    pub fn forget(&self) {
        let _ = fs::remove_dir_all(self.store());
    }

    /// `darwinlm verify` on the store.
    ///
    /// # Panics
    /// When the program cannot be started.
    pub fn verify(&self) -> Finished {
        let store = self.store();
        self.ask(&["verify", store.to_str().expect("the path is text")])
    }

    /// The command with any arguments, in this world's folder.
    ///
    /// # Panics
    /// When the program cannot be started.
    pub fn ask(&self, arguments: &[&str]) -> Finished {
        let child = Command::new(program("darwinlm"))
            .args(arguments)
            .current_dir(self.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("darwinlm can be started");
        finish(child)
    }
}

/// Waits for a child and collects what it printed.
///
/// # Panics
/// When it cannot be waited for.
pub fn finish(child: Child) -> Finished {
    let output = child.wait_with_output().expect("a child can be waited for");
    Finished {
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// A whole run in seconds. Deleted it leaves everything, so that nothing waits for an operator that a story
/// has ended.
pub const TINY_RUN: &str = "\
apiVersion: darwinlm.io/v1alpha1
kind: PruningRun
metadata:
  name: tiny
spec:
  model: {source: pvc://data/model}
  data:
    calibration: {source: pvc://data/tokens.safetensors, tokens: 1024, sequenceLength: 32}
    training: {tokens: 2048}
    fitness: {tokens: 2048}
    validation: {tokens: 1024}
  pruning: {levels: 4, mlpGranularity: 8}
  target: {level: 2}
  search:
    seed: 3
    generations: 5
    offspring: 6
    steps:
      - {survivors: 3, trainingTokens: 64, fitnessTokens: 128}
      - {survivors: 1, trainingTokens: 128, fitnessTokens: 256}
    optimizer: {learningRate: \"1e-3\"}
    workers: 2
  evaluation: {}
  artifacts: {store: pvc://data/store}
  retain: All
  worker: {device: Cpu, resources: {limits: {cpu: \"1\"}}}
";
