//! A proxy between the operator and the API server that ends the operator at each of its writes.

use std::collections::BTreeMap;
use std::fs::File;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode};
use axum::response::Response;
use serde_json::Value;

/// The longest body that the operator sends; a status is at most 64 KiB.
const MOST_BYTES: usize = 1 << 20;

/// The proxy. Every different write meets three fates in turn: the operator dies before the API
/// server hears of it, dies before it hears the answer, lives.
#[derive(Debug)]
pub struct DeadlyProxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    upstream: Child,
    _runtime: tokio::runtime::Runtime,
}

#[derive(Debug)]
struct Shared {
    upstream: String,
    client: reqwest::Client,
    /// The operator's process; 0 while there is none.
    operator: AtomicU32,
    /// How often each write was tried.
    tried: Mutex<BTreeMap<String, u32>>,
}

impl DeadlyProxy {
    /// Starts it in front of `kubectl proxy`, which holds the credentials.
    ///
    /// # Panics
    /// When a port cannot be had.
    pub fn start() -> Self {
        let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let port = free.local_addr().expect("it has an address").port();
        drop(free);
        let upstream = Command::new("kubectl")
            .args(["proxy", "--port", &port.to_string()])
            .stdout(Stdio::null())
            .spawn()
            .expect("kubectl is on the PATH");
        let shared = Arc::new(Shared {
            upstream: format!("http://127.0.0.1:{port}"),
            client: reqwest::Client::new(),
            operator: AtomicU32::new(0),
            tried: Mutex::default(),
        });
        let runtime = tokio::runtime::Runtime::new().expect("threads can be had");
        let listener = runtime
            .block_on(tokio::net::TcpListener::bind("127.0.0.1:0"))
            .expect("a port is free");
        let address = listener.local_addr().expect("it has an address");
        let app = axum::Router::new()
            .fallback(pass)
            .with_state(shared.clone());
        runtime.spawn(async move { axum::serve(listener, app).await });
        Self {
            address,
            shared,
            upstream,
            _runtime: runtime,
        }
    }

    /// A kubeconfig that leads through it.
    pub fn kubeconfig(&self) -> String {
        let address = self.address;
        format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: c\n\
             clusters: [{{name: c, cluster: {{server: \"http://{address}\"}}}}]\n\
             contexts: [{{name: c, context: {{cluster: c, user: u}}}}]\n\
             users: [{{name: u, user: {{}}}}]\n"
        )
    }

    /// Whose writes are deadly from now on.
    pub fn watch_over(&self, operator: &Child) {
        self.shared.operator.store(operator.id(), Ordering::SeqCst);
    }

    /// The writes so far, and how often each was tried.
    ///
    /// # Panics
    /// When a thread of the proxy panicked.
    pub fn tried(&self) -> BTreeMap<String, u32> {
        self.shared.tried.lock().expect("no thread panics").clone()
    }
}

impl Drop for DeadlyProxy {
    fn drop(&mut self) {
        let _ = self.upstream.kill();
        let _ = self.upstream.wait();
    }
}

impl Shared {
    fn end_the_operator(&self) {
        let operator = self.operator.swap(0, Ordering::SeqCst);
        if operator != 0 {
            // The process itself, at once, as no program can prevent.
            let _ = Command::new("kill")
                .args(["-KILL", &operator.to_string()])
                .status();
        }
    }
}

async fn pass(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let Ok(body) = to_bytes(body, MOST_BYTES).await else {
        return refused();
    };
    let fate = (parts.method != Method::GET).then(|| {
        let write = name_of(&parts.method, parts.uri.path(), &body);
        let mut tried = shared.tried.lock().expect("no thread panics");
        let times = tried.entry(write).or_default();
        *times += 1;
        *times
    });
    if fate == Some(1) {
        shared.end_the_operator();
        return refused();
    }
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    let forwarded = shared
        .client
        .request(parts.method, format!("{}{path}", shared.upstream))
        .headers(parts.headers)
        .body(body);
    let Ok(answer) = forwarded.send().await else {
        return refused();
    };
    if fate == Some(2) {
        shared.end_the_operator();
        return refused();
    }
    let mut response = Response::builder().status(answer.status());
    for (name, value) in answer.headers() {
        if name != "transfer-encoding" && name != "connection" {
            response = response.header(name, value);
        }
    }
    response
        .body(Body::from_stream(answer.bytes_stream()))
        .unwrap_or_else(|_| refused())
}

fn refused() -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::BAD_GATEWAY;
    response
}

/// What tells one write from another: the object and, of a status and an event, what it says.
fn name_of(method: &Method, path: &str, body: &Bytes) -> String {
    let body: Value = serde_json::from_slice(body).unwrap_or(Value::Null);
    let says = if path.ends_with("/status") {
        let conditions = body["status"]["conditions"].as_array();
        let conditions = conditions.into_iter().flatten();
        let said: Vec<String> = conditions
            .filter(|condition| condition["type"] != "Progressing")
            .map(|condition| format!("{}={}", condition["type"], condition["status"]))
            .collect();
        said.join(",").replace('"', "")
    } else if path.contains("/events") {
        body["reason"].as_str().unwrap_or("again").to_owned()
    } else {
        let name = body["metadata"]["name"].as_str().unwrap_or_default();
        format!("{name} {}", body["spec"]["suspend"])
    };
    format!("{method} {path} {says}")
}

/// What a program exits with that was given a wrong command line.
const WRONG_USAGE: i32 = 2;

/// An operator on this machine that is started again whenever it ends.
#[derive(Debug)]
pub struct Restarted {
    command: Command,
    child: Child,
    log: PathBuf,
    /// How often it was started again.
    pub restarts: u32,
}

impl Restarted {
    /// Starts it; what it says goes to a file.
    ///
    /// # Panics
    /// When it cannot be started, or the file not be made.
    pub fn start(mut command: Command, log: PathBuf, proxy: &DeadlyProxy) -> Self {
        let file = File::create(&log).expect("a log can be made");
        let end = file.try_clone().expect("a file has two ends");
        command.stdout(end).stderr(file);
        let child = command.spawn().expect("the operator can be started");
        proxy.watch_over(&child);
        Self {
            command,
            child,
            log,
            restarts: 0,
        }
    }

    /// Starts it again if it has ended.
    ///
    /// # Panics
    /// When it cannot be started: another try would not help it.
    pub fn keep_alive(&mut self, proxy: &DeadlyProxy) {
        if let Ok(Some(status)) = self.child.try_wait() {
            assert_ne!(status.code(), Some(WRONG_USAGE), "{}", self.log());
            self.restarts += 1;
            std::thread::sleep(Duration::from_millis(100));
            self.child = self.command.spawn().expect("it can be started again");
            proxy.watch_over(&self.child);
        }
    }

    /// Everything it has said.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Restarted {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
