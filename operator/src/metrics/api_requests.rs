//! Requests to the API server, counted by what was asked and what was answered.

use std::task::{Context, Poll};

use futures::{FutureExt, future::BoxFuture};
use http::{Method, Request, Response};
use prometheus::IntCounterVec;
use tower::{Layer, Service};

/// Counts every request of a client that passes through it.
#[derive(Clone, Debug)]
pub struct CountLayer(pub(super) IntCounterVec);

impl<S> Layer<S> for CountLayer {
    type Service = Count<S>;

    fn layer(&self, inner: S) -> Count<S> {
        Count {
            inner,
            requests: self.0.clone(),
        }
    }
}

/// A service whose requests are counted.
#[derive(Clone, Debug)]
pub struct Count<S> {
    inner: S,
    requests: IntCounterVec,
}

impl<S, B, R> Service<Request<B>> for Count<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Future: Send + 'static,
    S::Error: 'static,
    R: 'static,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Response<R>, S::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let verb = verb(&request);
        let requests = self.requests.clone();
        self.inner
            .call(request)
            .inspect(move |answer| {
                let code = answer.as_ref().ok().map(Response::status);
                let code = code.as_ref().map_or("none", |code| code.as_str());
                requests.with_label_values(&[verb, code]).inc();
            })
            .boxed()
    }
}

/// What is asked, in Kubernetes' words; a list is a `get` here.
fn verb<B>(request: &Request<B>) -> &'static str {
    let query = request.uri().query().unwrap_or_default();
    match *request.method() {
        Method::GET if query.split('&').any(|part| part == "watch=true") => "watch",
        Method::GET => "get",
        Method::POST => "create",
        Method::PATCH => "patch",
        Method::PUT => "update",
        Method::DELETE => "delete",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use tower::{ServiceExt, service_fn};

    use super::*;
    use crate::metrics::Metrics;

    #[tokio::test]
    async fn requests_are_counted_by_verb_and_answer() {
        let metrics = Metrics::new();
        let answers = service_fn(async |request: Request<()>| match request.uri().path() {
            "/lost" => Err("nobody answers"),
            path => {
                let code = if path == "/gone" { 404 } else { 200 };
                Ok(Response::builder().status(code).body(()).unwrap())
            }
        });
        for (method, uri) in [
            (Method::GET, "/pods"),
            (Method::GET, "/pods?labels=x&watch=true"),
            (Method::DELETE, "/gone"),
            (Method::PATCH, "/lost"),
        ] {
            let service = metrics.count_requests().layer(answers);
            let request = Request::builder().method(method).uri(uri).body(()).unwrap();
            let _ = service.oneshot(request).await;
        }
        let text = metrics.text(&[]);
        for (verb, code) in [
            ("get", "200"),
            ("watch", "200"),
            ("delete", "404"),
            ("patch", "none"),
        ] {
            let line = format!("darwinlm_api_requests_total{{code=\"{code}\",verb=\"{verb}\"}} 1");
            assert!(text.contains(&line), "{line} is missing in {text}");
        }
    }
}
