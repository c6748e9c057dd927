//! A message over the limit: told as a typed error.
//!
//! tonic refuses such a message by its length prefix, with a status of its own; here that becomes ours.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use http::{Request, Response};
use longbow_types::{
    Error, ErrorCode,
    limits::{FLIGHT_MESSAGE_BYTES_MAX, MESSAGE_BYTES_MAX},
};
use longbow_wire::convert::status::to_status;
use tonic::{Code, Status};
use tower::{Layer, Service};

/// How tonic's refusal begins.
const TOO_LARGE: &str = "Error, decoded message length too large";
/// Calls that may bring larger messages.
const FLIGHT: &str = "/arrow.flight.protocol.FlightService/";

/// Gives tonic's refusals of large messages our code, field and limit.
#[derive(Debug, Clone, Copy)]
pub struct TooLargeLayer;

impl<S> Layer<S> for TooLargeLayer {
    type Service = TooLargeService<S>;

    fn layer(&self, inner: S) -> TooLargeService<S> {
        TooLargeService(inner)
    }
}

/// What [`TooLargeLayer`] wraps a service in.
#[derive(Debug, Clone)]
pub struct TooLargeService<S>(S);

impl<S, B, R> Service<Request<B>> for TooLargeService<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Future: Send + 'static,
    R: Default,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<R>, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let limit = limit_of(request.uri().path());
        let answer = self.0.call(request);
        Box::pin(async move {
            let answer = answer.await?;
            let status = Status::from_header_map(answer.headers());
            Ok(match status.and_then(|status| refusal(&status, limit)) {
                Some(error) => to_status(&error).into_http(),
                None => answer,
            })
        })
    }
}

fn limit_of(path: &str) -> usize {
    if path.starts_with(FLIGHT) {
        FLIGHT_MESSAGE_BYTES_MAX
    } else {
        MESSAGE_BYTES_MAX
    }
}

/// Our error for tonic's refusal of a large message; none for any other status.
pub fn refusal(status: &Status, limit: usize) -> Option<Error> {
    (status.code() == Code::OutOfRange && status.message().starts_with(TOO_LARGE)).then(|| {
        Error::new(
            ErrorCode::TooLarge,
            "the message is larger than this call may bring: send less at once",
        )
        .field("message")
        .limit(format_args!("{limit} bytes"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_that_refusal_is_ours() {
        let theirs = Status::out_of_range(format!("{TOO_LARGE}: found 9 bytes, the limit is: 8 bytes"));
        let error = refusal(&theirs, limit_of("/longbow.v1.WriteService/Upsert")).unwrap();
        assert_eq!(
            (error.code, error.limit.as_deref()),
            (ErrorCode::TooLarge, Some("67108864 bytes"))
        );
        let error = refusal(&theirs, limit_of("/arrow.flight.protocol.FlightService/DoPut")).unwrap();
        assert_eq!(error.limit.as_deref(), Some("536870912 bytes"));
        assert!(refusal(&Status::out_of_range("something else"), 1).is_none());
        assert!(refusal(&Status::internal(TOO_LARGE), 1).is_none());
    }
}
