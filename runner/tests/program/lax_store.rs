//! A server that takes S3's requests and pays no heed to `If-None-Match`: found out before any work.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{Method, Response, StatusCode, header};
use darwinlm_task::Outcome;

use crate::stops::{STORE, prepare, report, start_with};
use crate::world::World;

type Objects = Arc<Mutex<BTreeMap<String, Vec<u8>>>>;

async fn object(State(objects): State<Objects>, request: Request) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let key = parts.uri.path().to_owned();
    let answer = |status| {
        Response::builder()
            .status(status)
            .header(header::ETAG, "\"e\"")
    };
    let body = to_bytes(body, 1 << 20).await.unwrap();
    let mut objects = objects.lock().unwrap();
    let (status, content) = match parts.method {
        Method::PUT => {
            objects.insert(key, body.to_vec());
            (StatusCode::OK, Vec::new())
        }
        Method::DELETE => {
            objects.remove(&key);
            (StatusCode::NO_CONTENT, Vec::new())
        }
        _ => match objects.get(&key) {
            Some(content) => (StatusCode::OK, content.clone()),
            None => (StatusCode::NOT_FOUND, Vec::new()),
        },
    };
    answer(status)
        .header(header::LAST_MODIFIED, "Tue, 24 Nov 2026 18:00:00 GMT")
        .body(Body::from(content))
        .unwrap()
}

#[test]
fn a_store_that_lets_a_second_create_succeed_is_refused_before_any_work() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0"));
    let listener = listener.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let objects = Objects::default();
    let router = Router::new()
        .fallback(object)
        .with_state(Arc::clone(&objects));
    runtime.spawn(async move { axum::serve(listener, router).await });
    let world = World::new();
    let task = prepare(&world.tokens("tokens.safetensors", 200, 16));
    let environment = [
        (STORE, "s3://bucket/store"),
        ("AWS_ENDPOINT_URL", endpoint.as_str()),
        ("AWS_SKIP_SIGNATURE", "true"),
    ];
    let status = start_with(&world, task, &environment).wait().unwrap();
    assert_eq!(status.code(), Some(69), "{:?}", report(&world));
    let Outcome::Failed { message, .. } = report(&world).outcome else {
        panic!("it failed a moment ago")
    };
    for part in [
        "s3://bucket/store",
        "a second create of one file succeeded",
        "needed is a store",
    ] {
        assert!(message.contains(part), "{message}");
    }
    let stored = objects.lock().unwrap();
    assert!(
        stored.keys().all(|key| key.contains("/probes/")),
        "{:?}",
        stored.keys()
    );
}
