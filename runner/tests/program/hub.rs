//! A server that speaks the Hub's documented HTTP interface, and a second one that large files are
//! redirected to; both can be told to fail.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, Response, StatusCode, header};
use darwinlm_store::digest_bytes;
use futures::{StreamExt as _, stream};
use serde_json::json;

/// Entries of a page of a tree: few, so that lists have pages.
const PAGE: usize = 2;

/// What a server does instead of answering, once each.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    /// Ends the connection after so many bytes of the body.
    Cut(usize),
    /// Changes this byte of the body.
    Flip(usize),
    /// Answers with a status, and asks for no pause.
    Status(u16),
}

/// A repository: `models/<name>` or `datasets/<name>`.
#[derive(Clone, Default)]
pub(crate) struct Repository {
    pub(crate) commit: String,
    /// The token that it asks for.
    pub(crate) token: Option<String>,
    pub(crate) files: BTreeMap<String, Vec<u8>>,
}

/// A request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) path: String,
    pub(crate) range: Option<String>,
    pub(crate) if_range: Option<String>,
    pub(crate) authorization: Option<String>,
    pub(crate) referer: Option<String>,
}

#[derive(Default)]
struct World {
    repositories: BTreeMap<String, Repository>,
    /// Files by address, for [`Hub::web`].
    files: BTreeMap<String, Vec<u8>>,
    faults: Vec<(String, Fault)>,
    seen: Vec<Seen>,
    store: String,
}

/// Both servers; they stop when it is dropped.
pub(crate) struct Hub {
    world: Arc<Mutex<World>>,
    address: SocketAddr,
    store: SocketAddr,
    _runtime: tokio::runtime::Runtime,
}

impl Hub {
    pub(crate) fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let world = Arc::new(Mutex::new(World::default()));
        let hub = Router::new().fallback(hub).with_state(Arc::clone(&world));
        let store = Router::new().fallback(plain).with_state(Arc::clone(&world));
        let serve = |router: Router| {
            let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0"));
            let listener = listener.unwrap();
            let address = listener.local_addr().unwrap();
            runtime.spawn(async move { axum::serve(listener, router).await });
            address
        };
        let (address, store) = (serve(hub), serve(store));
        world.lock().unwrap().store = format!("http://{store}");
        Self {
            world,
            address,
            store,
            _runtime: runtime,
        }
    }

    /// What HF_ENDPOINT says.
    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The address of the second server, which serves plain files, too.
    pub(crate) fn web(&self) -> String {
        format!("http://{}", self.store)
    }

    pub(crate) fn put(&self, name: &str, repository: Repository) {
        let mut world = self.world.lock().unwrap();
        for content in repository.files.values() {
            let address = format!("/{}", digest_bytes(content).sha256);
            world.files.insert(address, content.clone());
        }
        world.repositories.insert(name.to_owned(), repository);
    }

    pub(crate) fn put_file(&self, address: &str, content: &[u8]) {
        let mut world = self.world.lock().unwrap();
        world.files.insert(address.to_owned(), content.to_vec());
    }

    /// The next request whose path holds `part` meets this instead of an answer.
    pub(crate) fn fail(&self, part: &str, fault: Fault) {
        let mut world = self.world.lock().unwrap();
        world.faults.push((part.to_owned(), fault));
    }

    /// The requests whose path holds `part`, in order.
    pub(crate) fn seen(&self, part: &str) -> Vec<Seen> {
        let world = self.world.lock().unwrap();
        let of_part = world.seen.iter().filter(|seen| seen.path.contains(part));
        of_part.cloned().collect()
    }
}

impl World {
    fn note(&mut self, path: &str, headers: &HeaderMap) -> Option<Fault> {
        let text = |name: HeaderName| headers.get(name)?.to_str().ok().map(str::to_owned);
        self.seen.push(Seen {
            path: path.to_owned(),
            range: text(header::RANGE),
            if_range: text(header::IF_RANGE),
            authorization: text(header::AUTHORIZATION),
            referer: text(header::REFERER),
        });
        let meets = |(part, _): &(String, Fault)| path.contains(part.as_str());
        let at = self.faults.iter().position(meets)?;
        Some(self.faults.remove(at).1)
    }
}

fn answer(status: u16) -> axum::http::response::Builder {
    Response::builder().status(StatusCode::from_u16(status).unwrap())
}

fn refusal(status: u16, code: &str) -> Response<Body> {
    answer(status)
        .header("x-error-code", code)
        .body(Body::empty())
        .unwrap()
}

fn failed(fault: Fault) -> Option<Response<Body>> {
    match fault {
        Fault::Status(status) => Some(
            answer(status)
                .header(header::RETRY_AFTER, "0")
                .body(Body::empty())
                .unwrap(),
        ),
        Fault::Cut(_) | Fault::Flip(_) => None,
    }
}

async fn hub(State(world): State<Arc<Mutex<World>>>, request: Request) -> Response<Body> {
    let path = request.uri().path().to_owned();
    let query = request.uri().query().unwrap_or_default().to_owned();
    let mut world = world.lock().unwrap();
    let fault = world.note(&path, request.headers());
    if let Some(answer) = fault.and_then(failed) {
        return answer;
    }
    let (collection, rest, is_api) = match path.strip_prefix("/api/") {
        Some(rest) => {
            let (collection, rest) = rest.split_once('/').unwrap();
            (collection, rest, true)
        }
        None => match path.strip_prefix("/datasets/") {
            Some(rest) => ("datasets", rest, false),
            None => ("models", path.trim_start_matches('/'), false),
        },
    };
    let parts: Vec<&str> = rest.split('/').collect();
    let [organisation, name, verb, revision, file @ ..] = parts.as_slice() else {
        return refusal(404, "EntryNotFound");
    };
    let key = format!("{collection}/{organisation}/{name}");
    let Some(repository) = world.repositories.get(&key) else {
        return refusal(404, "RepoNotFound");
    };
    let given = request.headers().get(header::AUTHORIZATION);
    let given = given.and_then(|value| value.to_str().unwrap().strip_prefix("Bearer "));
    if repository.token.is_some() && repository.token.as_deref() != given {
        let status = if given.is_some() { 403 } else { 401 };
        return refusal(status, "GatedRepo");
    }
    let is_known = *revision == repository.commit || (is_api && *revision == "main");
    if !is_known {
        return refusal(404, "RevisionNotFound");
    }
    match (is_api, *verb) {
        (true, "revision") => json_answer(&json!({ "id": rest, "sha": repository.commit }), None),
        (true, "tree") => tree(repository, &file.join("/"), &path, &query),
        (false, "resolve") => resolve(repository, &file.join("/"), &world.store, request.headers()),
        _ => refusal(404, "EntryNotFound"),
    }
}

fn is_large(name: &str) -> bool {
    [".safetensors", ".parquet", ".gz", ".zst"]
        .iter()
        .any(|end| name.ends_with(end))
}

/// Entries below a folder, a page of them.
fn tree(repository: &Repository, folder: &str, path: &str, query: &str) -> Response<Body> {
    let start = if folder.is_empty() {
        String::new()
    } else {
        format!("{folder}/")
    };
    let recursive = query.contains("recursive=true");
    let below = repository.files.iter().filter_map(|(name, content)| {
        let rest = name.strip_prefix(&start)?;
        (recursive || !rest.contains('/')).then_some((name, content))
    });
    let mut entries: Vec<_> = below
        .map(|(name, content)| {
            let mut entry = json!({
                "type": "file", "path": name, "size": content.len(), "oid": format!("{:040x}", name.len()),
            });
            if is_large(name) {
                let oid = digest_bytes(content).sha256;
                entry["lfs"] = json!({ "oid": oid, "size": content.len(), "pointerSize": 134 });
            }
            entry
        })
        .collect();
    if recursive && !folder.is_empty() {
        entries.insert(
            0,
            json!({ "type": "directory", "path": folder, "size": 0, "oid": "0" }),
        );
    }
    if entries.is_empty() {
        return refusal(404, "EntryNotFound");
    }
    let cursor = query
        .split('&')
        .find_map(|pair| pair.strip_prefix("cursor="));
    let from: usize = cursor.map_or(0, |cursor| cursor.parse().unwrap());
    let next = (from + PAGE < entries.len()).then(|| {
        let recursive = if recursive { "recursive=true&" } else { "" };
        format!("<{path}?{recursive}cursor={}>; rel=\"next\"", from + PAGE)
    });
    let page: Vec<_> = entries.into_iter().skip(from).take(PAGE).collect();
    json_answer(&json!(page), next)
}

fn json_answer(value: &serde_json::Value, link: Option<String>) -> Response<Body> {
    let mut builder = answer(200).header(header::CONTENT_TYPE, "application/json");
    if let Some(link) = link {
        builder = builder.header(header::LINK, link);
    }
    builder.body(Body::from(value.to_string())).unwrap()
}

/// A file: a large one lies on the other server.
fn resolve(
    repository: &Repository,
    name: &str,
    store: &str,
    headers: &HeaderMap,
) -> Response<Body> {
    let Some(content) = repository.files.get(name) else {
        return refusal(404, "EntryNotFound");
    };
    if !is_large(name) {
        return bytes(content, headers, None);
    }
    let sha256 = digest_bytes(content).sha256;
    answer(302)
        .header(header::LOCATION, format!("{store}/{sha256}"))
        .header("x-repo-commit", &repository.commit)
        .header("x-linked-etag", format!("\"{sha256}\""))
        .header("x-linked-size", content.len())
        .body(Body::empty())
        .unwrap()
}

async fn plain(State(world): State<Arc<Mutex<World>>>, request: Request) -> Response<Body> {
    let mut world = world.lock().unwrap();
    let path = request.uri().path().to_owned();
    let fault = world.note(&path, request.headers());
    if let Some(answer) = fault.and_then(failed) {
        return answer;
    }
    match world.files.get(&path) {
        Some(content) => bytes(content, request.headers(), fault),
        None => answer(404).body(Body::empty()).unwrap(),
    }
}

/// A body, from where it was asked for (RFC 9110, ranges and If-Range).
fn bytes(content: &[u8], headers: &HeaderMap, fault: Option<Fault>) -> Response<Body> {
    let etag = format!("\"{}\"", &digest_bytes(content).sha256[..16]);
    let text = |name: HeaderName| headers.get(name).map(|value| value.to_str().unwrap());
    let asked = text(header::RANGE)
        .filter(|_| text(header::IF_RANGE).is_none_or(|known| known == etag))
        .map(|range| {
            range
                .strip_prefix("bytes=")
                .unwrap()
                .strip_suffix('-')
                .unwrap()
        })
        .map(|start| start.parse::<usize>().unwrap());
    let start = asked.unwrap_or(0);
    if start >= content.len() && asked.is_some() {
        return answer(416).body(Body::empty()).unwrap();
    }
    let rest = &content[start..];
    let mut builder = answer(if asked.is_some() { 206 } else { 200 })
        .header(header::ETAG, etag)
        .header(header::CONTENT_LENGTH, rest.len());
    if asked.is_some() {
        let (last, all) = (content.len() - 1, content.len());
        builder = builder.header(header::CONTENT_RANGE, format!("bytes {start}-{last}/{all}"));
    }
    let body = match fault {
        Some(Fault::Cut(after)) => {
            let sent = Bytes::copy_from_slice(&rest[..after.min(rest.len())]);
            // What was sent has to leave before the connection ends.
            let cut = stream::once(async {
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                Err(std::io::Error::other("the connection is cut"))
            });
            Body::from_stream(stream::iter([Ok(sent)]).chain(cut))
        }
        Some(Fault::Flip(at)) => {
            let mut flipped = rest.to_vec();
            flipped[at] ^= 1;
            Body::from(flipped)
        }
        Some(Fault::Status(_)) | None => Body::from(rest.to_vec()),
    };
    builder.body(body).unwrap()
}
