//! The operator as a process of this machine, on the cluster's API server, with the rights of its
//! chart and no more.

use std::fs;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::cluster::{kubectl, kubectl_with, try_kubectl};
use crate::programs::{program, repository};

/// A running operator; ended when dropped.
#[derive(Debug)]
pub struct Operator {
    child: Child,
    listen: String,
    folder: TempDir,
}

impl Operator {
    /// Installs the chart's account and rights, and starts an operator as that account.
    ///
    /// # Panics
    /// When the chart cannot be rendered, or the operator is not ready after half a minute.
    pub fn start(system: &str, arguments: &[&str]) -> Self {
        let folder = TempDir::with_prefix("darwinlm-operator-").expect("a folder can be made");
        let kubeconfig = folder.path().join("kubeconfig");
        fs::write(&kubeconfig, account(system)).expect("a file can be written");
        let free = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let listen = free.local_addr().expect("it is bound").to_string();
        drop(free);
        let log = fs::File::create(folder.path().join("log")).expect("a file can be made");
        let child = Command::new(program("darwinlm-operator"))
            .args(["--worker-image", "localhost/darwinlm-runner:dev"])
            .args(["--listen", &listen, "--poll-seconds", "1"])
            .args(["--status-seconds", "1"])
            .args(arguments)
            .env("KUBECONFIG", &kubeconfig)
            .stdout(log.try_clone().expect("a file can be shared"))
            .stderr(log)
            .stdin(Stdio::null())
            .spawn()
            .expect("the operator can be started");
        let operator = Self {
            child,
            listen,
            folder,
        };
        operator.await_ready();
        operator
    }

    fn await_ready(&self) {
        let deadline = Instant::now() + Duration::from_secs(30);
        while self.get("readyz").is_none() {
            assert!(Instant::now() < deadline, "not ready: {}", self.log());
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        let log: PathBuf = self.folder.path().join("log");
        fs::read_to_string(log).unwrap_or_default()
    }

    /// What it serves at `/metrics`.
    ///
    /// # Panics
    /// When it does not answer.
    pub fn metrics(&self) -> String {
        self.get("metrics")
            .unwrap_or_else(|| panic!("no metrics: {}", self.log()))
    }

    fn get(&self, path: &str) -> Option<String> {
        let url = format!("http://{}/{path}", self.listen);
        let answer = Command::new("curl")
            .args(["-sf", "--max-time", "5", &url])
            .output()
            .expect("curl can be started");
        let text = String::from_utf8_lossy(&answer.stdout).into_owned();
        answer.status.success().then_some(text)
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Applies what the chart gives its account, and makes a kubeconfig of it.
fn account(system: &str) -> String {
    try_kubectl(&["create", "namespace", system], None);
    let chart = repository().join("charts/darwinlm");
    let rendered = Command::new("helm")
        .args(["template", "darwinlm"])
        .arg(chart)
        .args(["--namespace", system])
        .args(["--show-only", "templates/operator-role.yaml"])
        .args(["--show-only", "templates/service-account.yaml"])
        .output()
        .expect("helm is on the PATH: run this through `make test`");
    let objects = String::from_utf8_lossy(&rendered.stdout);
    assert!(rendered.status.success(), "{rendered:?}");
    kubectl_with(&["-n", system, "apply", "-f", "-"], &objects);
    let token = kubectl(&["-n", system, "create", "token", "darwinlm"]);
    let server = ["config", "view", "--raw", "--minify", "-o"];
    let of = |path: &str| kubectl(&[&server[..], &[&format!("jsonpath={path}")]].concat());
    let address = of("{.clusters[0].cluster.server}");
    let data = of("{.clusters[0].cluster.certificate-authority-data}");
    let authority = match data.is_empty() {
        false => format!("certificate-authority-data: {data}"),
        true => {
            let file = of("{.clusters[0].cluster.certificate-authority}");
            format!("certificate-authority: {file}")
        }
    };
    format!(
        "\
apiVersion: v1
kind: Config
clusters: [{{name: c, cluster: {{server: {address:?}, {authority}}}}}]
users: [{{name: u, user: {{token: {:?}}}}}]
contexts: [{{name: c, context: {{cluster: c, user: u}}}}]
current-context: c
",
        token.trim()
    )
}
