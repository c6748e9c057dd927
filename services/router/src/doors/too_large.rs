//! A message that is too large or cannot be read, a method that is not there: told as a typed error.
//!
//! tonic refuses such calls before any code of ours runs, with a status of its own; here that becomes ours.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use http::{Request, Response};
use longbow_types::{
    Error, ErrorCode,
    limits::{FILTER_DEPTH_MAX, FLIGHT_MESSAGE_BYTES_MAX, MESSAGE_BYTES_MAX},
};
use longbow_wire::convert::status::to_status;
use tonic::{Code, Status};
use tower::{Layer, Service};

/// How tonic's refusal begins.
const TOO_LARGE: &str = "Error, decoded message length too large";
/// How its refusals of what cannot be read begin: of a message, of the frame round it, and of a call without any.
const UNREADABLE: [&str; 4] = [
    "failed to decode Protobuf message",
    "protocol error: ",
    "Unexpected EOF decoding stream",
    "Missing request message",
];
/// What the first of them says of a message nested too deep.
const NESTED: &str = "recursion limit reached";
/// Calls that may bring larger messages.
const FLIGHT: &str = "/arrow.flight.protocol.FlightService/";
/// Calls of our own.
const NATIVE: &str = "/longbow.v1.";
/// tonic's limit for all other calls, health and reflection.
const OTHER_MESSAGE_BYTES_MAX: usize = 4 << 20;

/// Gives refusals that tonic makes our code, field and limit.
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
        let path = request.uri().path().to_owned();
        let answer = self.0.call(request);
        Box::pin(async move {
            let answer = answer.await?;
            let status = Status::from_header_map(answer.headers());
            let error = status.and_then(|status| {
                refusal(&status, limit_of(&path)).or_else(|| unknown_method(&status, &path))
            });
            Ok(match error {
                Some(error) => to_status(&error).into_http(),
                None => answer,
            })
        })
    }
}

fn limit_of(path: &str) -> usize {
    if path.starts_with(FLIGHT) {
        FLIGHT_MESSAGE_BYTES_MAX
    } else if path.starts_with(NATIVE) {
        MESSAGE_BYTES_MAX
    } else {
        OTHER_MESSAGE_BYTES_MAX
    }
}

/// Our error for tonic's refusal of a message that is too large or cannot be read; none for any other status.
pub fn refusal(status: &Status, limit: usize) -> Option<Error> {
    let says = |start: &str| status.message().starts_with(start);
    match status.code() {
        Code::OutOfRange if says(TOO_LARGE) => {
            let message = "the message is larger than this call may bring: send less at once";
            let error = Error::new(ErrorCode::TooLarge, message).field("message");
            Some(error.limit(format_args!("{limit} bytes")))
        }
        // Filters are all that nests in a message.
        Code::Internal if says(UNREADABLE[0]) && status.message().contains(NESTED) => {
            let error = Error::new(ErrorCode::TooLarge, "the message is nested too deep").field("filter");
            Some(error.limit(FILTER_DEPTH_MAX))
        }
        Code::Internal if UNREADABLE.iter().any(|start| says(start)) => {
            let message = format!("the message cannot be read: {}", status.message());
            let error = Error::new(ErrorCode::InvalidValue, message).field("message");
            Some(error.limit("one whole message of the protocol's definition"))
        }
        _ => None,
    }
}

/// Our error for a method that nobody serves, of which tonic says nothing but that.
fn unknown_method(status: &Status, path: &str) -> Option<Error> {
    (status.code() == Code::Unimplemented && status.message().is_empty()).then(|| {
        let message = "this version has no such method";
        Error::new(ErrorCode::Unsupported, message).field(path.to_owned())
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
        assert_eq!(limit_of("/grpc.health.v1.Health/Check"), 4_194_304);
        let code = |message: String| refusal(&Status::internal(message), 1).map(|error| error.code);
        let undecodable = |why: &str| format!("{}: SearchRequest.filter: {why}", UNREADABLE[0]);
        assert_eq!(code(undecodable("invalid varint")), Some(ErrorCode::InvalidValue));
        assert_eq!(code(undecodable(NESTED)), Some(ErrorCode::TooLarge));
        assert!(refusal(&Status::out_of_range("something else"), 1).is_none());
        assert!(refusal(&Status::internal(TOO_LARGE), 1).is_none());
    }
}
