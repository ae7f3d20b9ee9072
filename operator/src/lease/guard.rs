//! The check on every write's way out: a layer around the client that all writers share.

use std::{
    future::poll_fn,
    pin::{Pin, pin},
    task::{Context, Poll},
    time::Duration,
};

use futures::{FutureExt, future::BoxFuture};
use http::{Request, Uri};
use tower::{BoxError, Layer, Service};

use super::Leadership;

/// The write was not sent, or its answer not awaited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this operator does not lead; the write was given up")]
pub struct NotLeading;

/// Puts a [`Guard`] around a service.
#[derive(Clone, Debug)]
pub struct GuardLayer(pub Leadership);

impl<S> Layer<S> for GuardLayer {
    type Service = Guard<S>;

    fn layer(&self, inner: S) -> Guard<S> {
        Guard {
            inner,
            leadership: self.0.clone(),
        }
    }
}

/// Lets reads pass, and writes as long as the operator may write.
#[derive(Clone, Debug)]
pub struct Guard<S> {
    inner: S,
    leadership: Leadership,
}

impl<S, B, R> Service<Request<B>> for Guard<S>
where
    S: Service<Request<B>, Response = R, Error = BoxError>,
    S::Future: Send + 'static,
    R: 'static,
{
    type Response = R;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<R, BoxError>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        if request.method().is_safe() {
            return self.inner.call(request).boxed();
        }
        if let Some(patience) = self.leadership.patience() {
            *request.uri_mut() = within(request.uri(), patience);
        }
        let leadership = self.leadership.clone();
        while_leading(self.inner.call(request), leadership).boxed()
    }
}

/// Asks before each step of a write, not only before the first: connecting, or trying again after
/// a 429, may take longer than the claim, and so may a process that is paused in between.
async fn while_leading<R>(
    write: impl Future<Output = Result<R, BoxError>>,
    leadership: Leadership,
) -> Result<R, BoxError> {
    let mut write = pin!(write);
    poll_fn(|context| {
        if leadership.may_write() {
            Pin::as_mut(&mut write).poll(context)
        } else {
            Poll::Ready(Err(NotLeading.into()))
        }
    })
    .await
}

/// The same address with the API server's own time limit, so that a write that waits there is
/// given up before another operator writes.
fn within(uri: &Uri, patience: Duration) -> Uri {
    // 0 would mean no limit.
    let limit = format!("timeout={}ms", patience.as_millis().max(1));
    let path = match uri.path_and_query() {
        Some(path) if path.query().is_some() => format!("{path}&{limit}"),
        Some(path) => format!("{path}?{limit}"),
        None => return uri.clone(),
    };
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = path.parse().ok();
    Uri::from_parts(parts).unwrap_or_else(|_| uri.clone())
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    };

    use http::Method;
    use tokio::sync::watch;

    use super::*;
    use crate::lease::{BootTime, Claim};

    /// Answers after so many steps, and counts those that it was asked for.
    fn server(steps: usize) -> (Guarded, watch::Sender<Option<Claim>>, Arc<AtomicUsize>) {
        let (claims, received) = watch::channel(None);
        let asked = Arc::new(AtomicUsize::new(0));
        let count = asked.clone();
        let service = Answers { steps, count };
        let guard = GuardLayer(Leadership::claimed(received)).layer(service);
        (guard, claims, asked)
    }

    type Guarded = Guard<Answers>;

    #[derive(Clone)]
    struct Answers {
        steps: usize,
        count: Arc<AtomicUsize>,
    }

    impl Service<Request<()>> for Answers {
        type Response = Uri;
        type Error = BoxError;
        type Future = BoxFuture<'static, Result<Uri, BoxError>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, request: Request<()>) -> Self::Future {
            let (steps, count) = (self.steps, self.count.clone());
            poll_fn(move |_| {
                if count.fetch_add(1, Ordering::SeqCst) + 1 == steps {
                    Poll::Ready(Ok(request.uri().clone()))
                } else {
                    Poll::Pending
                }
            })
            .boxed()
        }
    }

    fn request(method: Method, uri: &str) -> Request<()> {
        Request::builder().method(method).uri(uri).body(()).unwrap()
    }

    fn claim(left: Duration) -> Claim {
        Claim {
            holder: "a".to_owned(),
            renew_by: BootTime::now() + left,
            expiry: BootTime::now() + left + Duration::from_secs(5),
        }
    }

    #[test]
    fn who_does_not_lead_reads_and_writes_nothing() {
        let (mut guard, claims, asked) = server(1);
        for method in [Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
            let answer = guard.call(request(method, "/a")).now_or_never().unwrap();
            assert!(answer.unwrap_err().is::<NotLeading>());
        }
        assert_eq!(asked.load(Ordering::SeqCst), 0);
        let read = guard.call(request(Method::GET, "/a")).now_or_never();
        assert_eq!(read.unwrap().unwrap(), "/a");
        drop(claims);
    }

    #[test]
    fn a_write_is_given_up_when_the_claim_ends_between_two_steps() {
        let (mut guard, claims, asked) = server(2);
        claims.send_replace(Some(claim(Duration::from_millis(50))));
        let mut write = guard.call(request(Method::POST, "/a"));
        let mut context = Context::from_waker(std::task::Waker::noop());
        assert!(write.poll_unpin(&mut context).is_pending());
        std::thread::sleep(Duration::from_millis(60));
        let Poll::Ready(Err(error)) = write.poll_unpin(&mut context) else {
            panic!("the write went on");
        };
        assert!(error.is::<NotLeading>());
        assert_eq!(
            asked.load(Ordering::SeqCst),
            1,
            "the next step was not taken"
        );
    }

    #[test]
    fn the_api_server_is_told_when_to_give_up() {
        for (uri, separator) in [("/a/b", '?'), ("/a/b?fieldManager=x", '&')] {
            let (mut guard, claims, _) = server(1);
            claims.send_replace(Some(claim(Duration::from_secs(10))));
            let answer = guard.call(request(Method::PATCH, uri)).now_or_never();
            let sent = answer.unwrap().unwrap().to_string();
            let limit = sent
                .strip_prefix(&format!("{uri}{separator}timeout="))
                .unwrap();
            let limit: u64 = limit.strip_suffix("ms").unwrap().parse().unwrap();
            assert!((14_000..=15_000).contains(&limit), "{limit}");
        }
    }
}
