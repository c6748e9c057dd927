//! How many calls, how long, with what code: for every gRPC server alike.

use std::{
    collections::BTreeSet,
    pin::Pin,
    sync::LazyLock,
    task::{Context, Poll},
    time::Instant,
};

use ::http::{HeaderMap, Request, Response};
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use prost::Message as _;
use prost_types::FileDescriptorSet;
use tonic::{Code, Status, body::Body};
use tower::{Layer, Service};

/// Calls by method and gRPC code, counted when the answer's last byte is handed over.
const REQUESTS: &str = "longbow_grpc_requests_total";
/// Seconds from the call's arrival to the end of its answer.
const DURATION: &str = "longbow_grpc_request_duration_seconds";

/// Measures every call of a tonic server.
#[derive(Debug, Clone, Copy, Default)]
pub struct MetricsLayer;

impl<S> Layer<S> for MetricsLayer {
    type Service = MetricsService<S>;

    fn layer(&self, inner: S) -> MetricsService<S> {
        MetricsService(inner)
    }
}

/// What [`MetricsLayer`] wraps a service in.
#[derive(Debug, Clone)]
pub struct MetricsService<S>(S);

impl<S, B> Service<Request<B>> for MetricsService<S>
where
    S: Service<Request<B>, Response = Response<Body>>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let mut call = Call {
            method: known(request.uri().path()),
            start: Instant::now(),
            code: None,
        };
        let answer = self.0.call(request);
        Box::pin(async move {
            let (parts, body) = answer.await?.into_parts();
            // An answer without a body carries its status in the headers.
            call.code = code_in(&parts.headers);
            Ok(Response::from_parts(parts, Body::new(Measured { call, body })))
        })
    }
}

/// One call; recorded when dropped, which also covers callers that went away.
struct Call {
    method: &'static str,
    start: Instant,
    code: Option<Code>,
}

impl Drop for Call {
    fn drop(&mut self) {
        let code = self.code.unwrap_or(Code::Cancelled);
        let method = self.method;
        metrics::counter!(REQUESTS, "method" => method, "code" => name_of(code)).increment(1);
        metrics::histogram!(DURATION, "method" => method).record(self.start.elapsed().as_secs_f64());
    }
}

struct Measured {
    call: Call,
    body: Body,
}

impl http_body::Body for Measured {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let frame = std::task::ready!(Pin::new(&mut self.body).poll_frame(cx));
        match &frame {
            Some(Ok(frame)) => {
                if let Some(code) = frame.trailers_ref().and_then(code_in) {
                    self.call.code = Some(code);
                }
            }
            Some(Err(status)) => self.call.code = Some(status.code()),
            None => {}
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Methods of the protocols that are not ours.
const FOREIGN: [&str; 14] = [
    "/arrow.flight.protocol.FlightService/DoAction",
    "/arrow.flight.protocol.FlightService/DoExchange",
    "/arrow.flight.protocol.FlightService/DoGet",
    "/arrow.flight.protocol.FlightService/DoPut",
    "/arrow.flight.protocol.FlightService/GetFlightInfo",
    "/arrow.flight.protocol.FlightService/GetSchema",
    "/arrow.flight.protocol.FlightService/Handshake",
    "/arrow.flight.protocol.FlightService/ListActions",
    "/arrow.flight.protocol.FlightService/ListFlights",
    "/arrow.flight.protocol.FlightService/PollFlightInfo",
    "/grpc.health.v1.Health/Check",
    "/grpc.health.v1.Health/Watch",
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
];

/// Paths of all methods that a server of ours may have.
static METHODS: LazyLock<BTreeSet<String>> = LazyLock::new(|| {
    let files = FileDescriptorSet::decode(longbow_wire::FILE_DESCRIPTOR_SET)
        .expect("the descriptors are compiled in")
        .file;
    let services = files.iter().flat_map(|file| {
        let package = file.package();
        file.service.iter().map(move |service| (package, service))
    });
    let ours = services.flat_map(|(package, service)| {
        let name = service.name();
        let path = move |method: &str| format!("/{package}.{name}/{method}");
        service.method.iter().map(move |method| path(method.name()))
    });
    ours.chain(FOREIGN.map(str::to_owned)).collect()
});

/// The label of a path. A caller can invent paths without end, whether it may come in or not; labels must not follow.
fn known(path: &str) -> &'static str {
    METHODS.get(path).map_or("other", String::as_str)
}

fn code_in(headers: &HeaderMap) -> Option<Code> {
    headers
        .get("grpc-status")
        .map(|value| Code::from_bytes(value.as_bytes()))
}

fn name_of(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}
