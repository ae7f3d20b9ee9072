//! A run on the real cluster that `tests/e2e.sh` brought up, through `kubectl` and `helm` alone.

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// Runs `kubectl` and returns its standard output.
///
/// # Panics
/// When it fails: with everything it said.
pub fn kubectl(arguments: &[&str]) -> String {
    let (succeeded, said) = try_kubectl(arguments, None);
    assert!(succeeded, "kubectl {}: {said}", arguments.join(" "));
    said
}

/// Runs `kubectl` with text on its standard input.
///
/// # Panics
/// When it fails: with everything it said.
pub fn kubectl_with(arguments: &[&str], input: &str) -> String {
    let (succeeded, said) = try_kubectl(arguments, Some(input));
    assert!(succeeded, "kubectl {}: {said}", arguments.join(" "));
    said
}

/// Runs `kubectl`; true and its output, or false and its errors.
///
/// # Panics
/// When it cannot be started: the cluster's folder of programs is not on the PATH.
pub fn try_kubectl(arguments: &[&str], input: Option<&str>) -> (bool, String) {
    let mut child = Command::new("kubectl")
        .args(arguments)
        .stdin(if input.is_some() {
            Stdio::piped()
        } else {
            Stdio::null()
        })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("kubectl is on the PATH: run this through `make e2e`");
    if let Some(input) = input {
        let mut stdin = child.stdin.take().expect("standard input is piped");
        stdin
            .write_all(input.as_bytes())
            .expect("kubectl reads its input");
    }
    let output = child.wait_with_output().expect("kubectl can be waited for");
    let text = if output.status.success() {
        output.stdout
    } else {
        output.stderr
    };
    (
        output.status.success(),
        String::from_utf8_lossy(&text).into_owned(),
    )
}

/// Runs `kubectl` until it succeeds.
///
/// # Panics
/// When it still fails after half a minute: with everything it said last.
pub fn eventually(arguments: &[&str]) {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let (succeeded, said) = try_kubectl(arguments, None);
        if succeeded {
            return;
        }
        let line = arguments.join(" ");
        assert!(Instant::now() < deadline, "kubectl {line}: {said}");
        std::thread::sleep(Duration::from_millis(500));
    }
}

/// A namespace under the restricted Pod Security profile; removed when dropped.
#[derive(Debug)]
pub struct Namespace {
    /// Its name.
    pub name: String,
}

impl Namespace {
    /// Makes it.
    pub fn new(name: &str) -> Self {
        kubectl_with(
            &["apply", "-f", "-"],
            &format!(
                "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: {name}\n  labels:\n    \
                 pod-security.kubernetes.io/enforce: restricted\n"
            ),
        );
        Self {
            name: name.to_owned(),
        }
    }

    /// A claim bound to a folder of this machine, for any number of pods. The folder must belong
    /// to the user the workers run as: a hostPath volume ignores `fsGroup`.
    pub fn claim(&self, claim: &str, folder: &std::path::Path) {
        let Self { name } = self;
        let folder = folder.display();
        kubectl_with(
            &["apply", "-f", "-"],
            &format!(
                "\
apiVersion: v1
kind: PersistentVolume
metadata: {{name: {name}-{claim}}}
spec:
  capacity: {{storage: 20Gi}}
  accessModes: [ReadWriteMany]
  persistentVolumeReclaimPolicy: Retain
  storageClassName: \"\"
  claimRef: {{namespace: {name}, name: {claim}}}
  hostPath: {{path: {folder}}}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {{name: {claim}, namespace: {name}}}
spec:
  accessModes: [ReadWriteMany]
  storageClassName: \"\"
  volumeName: {name}-{claim}
  resources: {{requests: {{storage: 20Gi}}}}
"
            ),
        );
    }

    /// Runs `kubectl` in this namespace.
    pub fn kubectl(&self, arguments: &[&str]) -> String {
        kubectl(&[&["-n", &self.name], arguments].concat())
    }

    /// Applies a YAML text in this namespace.
    pub fn apply(&self, yaml: &str) -> String {
        kubectl_with(&["-n", &self.name, "apply", "-f", "-"], yaml)
    }

    /// An object as JSON, `null` when it is not there.
    ///
    /// # Panics
    /// When `kubectl` answers something that is not JSON.
    pub fn get(&self, what: &str) -> Value {
        let arguments = [
            "-n",
            &self.name,
            "get",
            what,
            "-o",
            "json",
            "--ignore-not-found",
        ];
        let text = kubectl(&arguments);
        if text.trim().is_empty() {
            return Value::Null;
        }
        serde_json::from_str(&text).expect("kubectl prints JSON")
    }

    /// The items of a list as JSON.
    pub fn list(&self, what: &str, selector: &str) -> Vec<Value> {
        let text = self.kubectl(&["get", what, "-l", selector, "-o", "json"]);
        let list: Value = serde_json::from_str(&text).expect("kubectl prints JSON");
        list["items"].as_array().cloned().unwrap_or_default()
    }

    /// Looks at a run every half second until `done` says so, and returns what it then was.
    ///
    /// # Panics
    /// When the time is over: with the run, its Jobs and pods, and the operator's log.
    pub fn await_run(
        &self,
        run: &str,
        within: Duration,
        mut done: impl FnMut(&Value) -> bool,
    ) -> Value {
        let deadline = Instant::now() + within;
        loop {
            let object = self.get(&format!("pruningrun/{run}"));
            if done(&object) {
                return object;
            }
            assert!(
                Instant::now() < deadline,
                "{run} did not get there: {}",
                self.describe(run)
            );
            std::thread::sleep(Duration::from_millis(500));
        }
    }

    /// Everything a person would look at when a run does not move.
    pub fn describe(&self, run: &str) -> String {
        [
            &["-n", &self.name, "get", "pruningrun", run, "-o", "yaml"][..],
            &["-n", &self.name, "get", "jobs,pods,events", "-o", "wide"],
            &[
                "-n",
                &self.name,
                "logs",
                "-l",
                "darwinlm.io/run",
                "--tail=20",
                "--prefix",
            ],
            &[
                "-n",
                "darwinlm-system",
                "logs",
                "-l",
                "app.kubernetes.io/component=operator",
                "--prefix",
                "--tail=40",
            ],
        ]
        .map(|arguments| try_kubectl(arguments, None).1)
        .join("\n---\n")
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        try_kubectl(
            &[
                "delete",
                "namespace",
                &self.name,
                "--wait=true",
                "--timeout=120s",
            ],
            None,
        );
        let volumes = try_kubectl(&["get", "pv", "-o", "name"], None).1;
        for volume in volumes
            .lines()
            .filter(|v| v.contains(&format!("/{}-", self.name)))
        {
            try_kubectl(&["delete", volume, "--wait=false"], None);
        }
    }
}

/// Whether a condition of a run is `True`.
pub fn is_true(run: &Value, condition: &str) -> bool {
    status_of(run, condition) == Some("True")
}

/// The status of a condition.
pub fn status_of<'a>(run: &'a Value, condition: &str) -> Option<&'a str> {
    run["status"]["conditions"]
        .as_array()?
        .iter()
        .find(|found| found["type"] == condition)?["status"]
        .as_str()
}
