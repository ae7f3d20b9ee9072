//! The operator as a process of this machine, with the rights that the chart gives it.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::cluster::{eventually, kubectl, try_kubectl};
use crate::programs::{program, repository};

/// The namespace of the chart in every story.
pub const SYSTEM: &str = "darwinlm-system";

/// Brings the definition. A server that has just come up may still refuse, and a definition that has just
/// been made has no conditions to wait for.
///
/// # Panics
/// When that does not pass within half a minute.
pub fn install_definition() {
    let definition = repository().join("crds/pruningruns.darwinlm.io.yaml");
    let definition = definition.to_str().expect("the path is text");
    eventually(&[
        "apply",
        "--server-side",
        "--force-conflicts",
        "-f",
        definition,
    ]);
    eventually(&[
        "wait",
        "--for=condition=Established",
        "--timeout=30s",
        "crd/pruningruns.darwinlm.io",
    ]);
}

/// Brings the definition, the service account and its rights, by the chart, and no pod.
///
/// # Panics
/// When Helm refuses.
pub fn install_rights() {
    install_definition();
    let installed = Command::new("helm")
        .args(["upgrade", "--install", "darwinlm"])
        .arg(repository().join("charts/darwinlm"))
        .args(["--namespace", SYSTEM, "--create-namespace"])
        .args(["--set", "replicas=0", "--set", "crds.install=false"])
        .output()
        .expect("helm is on the PATH");
    let said = String::from_utf8_lossy(&installed.stderr);
    assert!(installed.status.success(), "helm: {said}");
}

/// A way to the API server as the operator's service account.
#[derive(Debug)]
pub struct Access {
    folder: TempDir,
    /// Tells this token from others of the account in the audit log.
    pub credential: String,
}

impl Access {
    /// A token of its own; `through` is another address of the API server, like a proxy's.
    ///
    /// # Panics
    /// When the API server gives none.
    pub fn new(through: Option<&str>) -> Self {
        let token = kubectl(&["create", "token", "darwinlm", "-n", SYSTEM]);
        let admin = kubectl(&["config", "view", "--raw", "--minify", "-o", "json"]);
        let mut config: Value = serde_json::from_str(&admin).expect("kubectl prints JSON");
        config["users"][0]["user"] = json!({"token": token.trim()});
        if let Some(address) = through {
            config["clusters"][0]["cluster"]["server"] = json!(format!("https://{address}"));
        }
        let folder = TempDir::with_prefix("darwinlm-access-").expect("a folder can be made");
        let access = |credential| Self { folder, credential };
        let path = access(String::new());
        fs::write(path.kubeconfig(), config.to_string()).expect("the file can be written");
        let file = path.kubeconfig();
        let file = file.to_str().expect("the path is text");
        let whoami = ["--kubeconfig", file, "auth", "whoami", "-o", "json"];
        let me: Value = serde_json::from_str(&kubectl(&whoami)).expect("kubectl prints JSON");
        let credential =
            &me["status"]["userInfo"]["extra"]["authentication.kubernetes.io/credential-id"][0];
        let credential = credential.as_str().expect("a token has an id").to_owned();
        Self { credential, ..path }
    }

    fn kubeconfig(&self) -> PathBuf {
        self.folder.path().join("kubeconfig")
    }
}

/// A running operator; killed when dropped.
#[derive(Debug)]
pub struct Operator {
    /// Its name, as a pod's.
    pub name: String,
    /// How it reaches the API server.
    pub access: Access,
    process: Child,
    address: String,
}

impl Operator {
    /// Starts it and waits until it serves.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start(name: &str, access: Access, arguments: &[&str]) -> Self {
        let log = access.folder.path().join("log");
        let file = fs::File::create(&log).expect("a log can be made");
        let process = Command::new(program("darwinlm-operator"))
            .args(["--worker-image", "localhost/darwinlm-runner:dev"])
            .args(["--listen", "127.0.0.1:0", "--poll-seconds", "1"])
            .args(["--lease-name", "darwinlm", "--lease-namespace", SYSTEM])
            .args(arguments)
            .env("KUBECONFIG", access.kubeconfig())
            .env("POD_NAME", name)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(file)
            .spawn()
            .expect("the operator can be started");
        let mut operator = Self {
            name: name.to_owned(),
            access,
            process,
            address: String::new(),
        };
        let deadline = Instant::now() + Duration::from_secs(20);
        while operator.address.is_empty() {
            assert!(
                Instant::now() < deadline,
                "{name} serves nothing: {}",
                operator.log()
            );
            operator.address = operator.served_at().unwrap_or_default();
            std::thread::sleep(Duration::from_millis(50));
        }
        operator
    }

    fn served_at(&self) -> Option<String> {
        let log = self.log();
        let line = log
            .lines()
            .find(|line| line.contains("probes are served"))?;
        let line: Value = serde_json::from_str(line).ok()?;
        line["address"].as_str().map(ToOwned::to_owned)
    }

    /// Everything it has logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.access.folder.path().join("log")).unwrap_or_default()
    }

    /// The code and the body that it answers; `None` while it answers nothing within a second.
    pub fn get(&self, path: &str) -> Option<(u16, String)> {
        let mut stream = TcpStream::connect(&self.address).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(1))).ok()?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let code = answer.split(' ').nth(1)?.parse().ok()?;
        let (_, body) = answer.split_once("\r\n\r\n")?;
        Some((code, body.to_owned()))
    }

    /// Waits until it answers with this code; returns the body. No answer within a second is none yet.
    ///
    /// # Panics
    /// When it does not: with its log.
    pub fn await_answer(&self, path: &str, code: u16, within: Duration) -> String {
        let deadline = Instant::now() + within;
        loop {
            match self.get(path) {
                Some((found, body)) if found == code => return body,
                answer => assert!(
                    Instant::now() < deadline,
                    "{} answers {path} with {answer:?}: {}",
                    self.name,
                    self.log()
                ),
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// What it serves at `/metrics`; nothing while it answers nothing.
    pub fn metrics(&self) -> String {
        let answer = self.get("/metrics");
        answer.map(|(_, text)| text).unwrap_or_default()
    }

    /// Whether it says that it may write.
    pub fn leads(&self) -> bool {
        self.metrics().contains("\ndarwinlm_leader 1\n")
    }

    /// Waits until it leads; returns how long that took.
    ///
    /// # Panics
    /// When it does not: with its log.
    pub fn await_lead(&self, within: Duration) -> Duration {
        let began = Instant::now();
        while !self.leads() {
            let Self { name, .. } = self;
            assert!(
                began.elapsed() < within,
                "{name} does not lead: {}",
                self.log()
            );
            std::thread::sleep(Duration::from_millis(50));
        }
        began.elapsed()
    }

    /// Sends a signal by its name, as `kill` knows it.
    ///
    /// # Panics
    /// When `kill` fails.
    pub fn signal(&self, signal: &str) {
        let pid = self.process.id().to_string();
        let sent = Command::new("kill").args(["-s", signal, &pid]).status();
        assert!(
            sent.is_ok_and(|status| status.success()),
            "kill -s {signal}"
        );
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.process.try_wait().expect("a child can be asked for")
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// When it goes on: with its log.
    pub fn await_end(&mut self, within: Duration) -> ExitStatus {
        let deadline = Instant::now() + within;
        loop {
            if let Some(status) = self.ended() {
                return status;
            }
            assert!(
                Instant::now() < deadline,
                "{} goes on: {}",
                self.name,
                self.log()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        // Nobody holds a lease that is not there: the next story need not wait this one out.
        try_kubectl(&["-n", SYSTEM, "delete", "lease", "darwinlm"], None);
    }
}
