//! What does a caller hear whose deadline passes here? `DEADLINE_EXCEEDED`, as an error of ours.
//!
//! tonic's server stops a call at its `grpc-timeout`, too, but answers `CANCELLED` without details, and so does tonic's
//! client. Whichever answer the caller sees first is the one that it hears, so ours must come first: this layer's timer
//! is made before the server's, is asked earlier, and leaves the answer some time to travel.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use ::http::{Request, Response};
use longbow_wire::convert::status::to_status;
use tonic::body::Body;
use tower::{Layer, Service};

use super::deadline;

/// Timers fire on whole milliseconds; one of them is what it takes to be first here.
const HEAD_START_MIN: Duration = Duration::from_millis(1);
/// What an answer takes to reach a caller on a busy machine; more would only shorten the work.
const HEAD_START_MAX: Duration = Duration::from_millis(20);
/// The part of a timeout that is left for the way back.
const HEAD_START_SHARE: u32 = 32;

fn head_start(timeout: Duration) -> Duration {
    (timeout / HEAD_START_SHARE).clamp(HEAD_START_MIN, HEAD_START_MAX)
}

/// Answers calls whose deadline passes before the handler does.
#[derive(Debug, Clone, Copy, Default)]
pub struct PunctualLayer;

impl<S> Layer<S> for PunctualLayer {
    type Service = PunctualService<S>;

    fn layer(&self, inner: S) -> PunctualService<S> {
        PunctualService(inner)
    }
}

/// What [`PunctualLayer`] wraps a service in.
#[derive(Debug, Clone)]
pub struct PunctualService<S>(S);

impl<S, B> Service<Request<B>> for PunctualService<S>
where
    S: Service<Request<B>, Response = Response<Body>>,
    S::Error: Send + 'static,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let timeout = deadline::timeout(request.headers());
        let answer = self.0.call(request);
        let Some(timeout) = timeout else {
            return Box::pin(answer);
        };
        let late = tokio::time::sleep(timeout.saturating_sub(head_start(timeout)));
        Box::pin(async move {
            tokio::select! {
                biased;
                answer = answer => answer,
                () = late => Ok(to_status(&deadline::exceeded()).into_http()),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use std::{convert::Infallible, future};

    use tonic::{Code, Status};
    use tower::service_fn;

    use super::*;

    fn request(timeout: Option<&str>) -> Request<()> {
        let request = Request::builder();
        let request = match timeout {
            Some(timeout) => request.header("grpc-timeout", timeout),
            None => request,
        };
        request.body(()).unwrap()
    }

    #[tokio::test]
    async fn a_deadline_is_answered_before_tonic_would() {
        let never = |_: Request<()>| future::pending::<Result<Response<Body>, Infallible>>();
        let mut service = PunctualLayer.layer(service_fn(never));
        for timeout in ["1n", "500u", "1m", "2m", "3m"].repeat(40) {
            let answer = service.call(request(Some(timeout)));
            let tonics = tokio::time::sleep(deadline::timeout(request(Some(timeout)).headers()).unwrap());
            let answer = tokio::select! {
                biased;
                answer = answer => answer.unwrap(),
                () = tonics => panic!("tonic answered first at {timeout}"),
            };
            let status = Status::from_header_map(answer.headers()).unwrap();
            assert_eq!(status.code(), Code::DeadlineExceeded);
            assert!(!status.details().is_empty(), "no details");
        }
    }

    #[tokio::test]
    async fn other_calls_are_left_alone() {
        let at_once = |_: Request<()>| future::ready(Ok::<_, Infallible>(Response::new(Body::empty())));
        let mut service = PunctualLayer.layer(service_fn(at_once));
        for timeout in [None, Some("1n"), Some("1S"), Some("nonsense"), Some("99999999H")] {
            let answer = service.call(request(timeout)).await.unwrap();
            assert!(Status::from_header_map(answer.headers()).is_none());
        }
    }
}
