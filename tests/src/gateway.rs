//! A real S3 server over a folder: versitygw, built from `tests/cluster/tools/versitygw`.

use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

const MODULE: &str = include_str!("../cluster/tools/versitygw/go.mod");

/// A server of its own with one bucket, `bucket`; it ends when dropped.
#[derive(Debug)]
pub struct Gateway {
    process: Child,
    folder: TempDir,
    endpoint: String,
    secret: String,
}

impl Gateway {
    /// Starts a server on this machine alone that knows one key, whose secret is this.
    ///
    /// # Panics
    /// When the server is not there or does not start.
    pub fn start(secret: &str) -> Self {
        Self::start_on("127.0.0.1", secret)
    }

    /// Starts one on this address of the machine.
    ///
    /// # Panics
    /// When the server is not there or does not start.
    pub fn start_on(host: &str, secret: &str) -> Self {
        let folder = TempDir::with_prefix("darwinlm-gateway-").expect("a folder can be made");
        std::fs::create_dir(folder.path().join("bucket")).expect("a bucket can be made");
        let (process, address) = serve(host, folder.path(), secret);
        Self {
            process,
            folder,
            endpoint: format!("http://{address}"),
            secret: secret.to_owned(),
        }
    }

    /// The folder that the bucket is.
    pub fn bucket(&self) -> PathBuf {
        self.folder.path().join("bucket")
    }

    /// The variables of a client.
    pub fn variables(&self) -> Vec<(String, String)> {
        [
            ("AWS_ENDPOINT_URL", self.endpoint.as_str()),
            ("AWS_ACCESS_KEY_ID", KEY),
            ("AWS_SECRET_ACCESS_KEY", &self.secret),
            ("AWS_REGION", "us-east-1"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into()
    }
}

impl Gateway {
    /// Lets nobody be answered any more; the folder stays.
    ///
    /// # Panics
    /// When the server cannot be told.
    pub fn pause(&self) {
        let stopped = Command::new("kill")
            .args(["-STOP", &self.process.id().to_string()])
            .status();
        assert!(stopped.is_ok_and(|status| status.success()));
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

const KEY: &str = "darwinlm";

/// A port that was free a moment ago may be taken by another test: then another is tried.
fn serve(host: &str, folder: &Path, secret: &str) -> (Child, String) {
    let program = program();
    for _ in 0..5 {
        let free = TcpListener::bind((host, 0)).expect("a port is free");
        let address = free.local_addr().expect("it has an address").to_string();
        drop(free);
        let mut process = Command::new(&program)
            .args(["--port", &address, "--quiet", "posix"])
            .arg(folder)
            .env("ROOT_ACCESS_KEY", KEY)
            .env("ROOT_SECRET_KEY", secret)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("versitygw can be started");
        let deadline = Instant::now() + Duration::from_secs(20);
        while Instant::now() < deadline && process.try_wait().is_ok_and(|end| end.is_none()) {
            if TcpStream::connect(&address).is_ok() {
                return (process, address);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = process.kill();
        let _ = process.wait();
    }
    panic!("{} does not answer", program.display());
}

fn program() -> PathBuf {
    let name = "github.com/versity/versitygw v";
    let version = MODULE.lines().find_map(|line| {
        let line = line.trim().trim_start_matches("require ");
        line.strip_prefix(name)?.split(' ').next()
    });
    let version = version.expect("go.mod says which version");
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache
        .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")))
        .expect("there is a home");
    let program = cache.join(format!("darwinlm/versitygw-{version}/versitygw"));
    assert!(
        program.exists(),
        "{} is missing: run `make versitygw`",
        program.display()
    );
    program
}
