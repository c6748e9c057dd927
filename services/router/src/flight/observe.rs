//! Counts and times of Flight calls, under the names that existing dashboards know.

use std::time::Instant;

use longbow_node::rpc::deadline;
use longbow_types::{Error, Result, limits::FLIGHT_MESSAGE_BYTES_MAX};
use longbow_wire::convert::status::{from_status, to_status};
use tonic::Status;

/// Flight calls by kind and outcome: `ok` or an error code.
const OPS: &str = "longbow_flight_ops_total";
/// Seconds that a call took until its answer, or the stream of its answer, began.
const DURATION: &str = "longbow_flight_duration_seconds";

/// Runs a call until its deadline, and measures it.
pub async fn answer<T>(
    action: &'static str,
    at: Instant,
    call: impl Future<Output = Result<T>>,
) -> Result<T, Status> {
    stream(action, Some(at), call).await
}

/// The same for a call that may take as long as its caller does.
pub async fn stream<T>(
    action: &'static str,
    at: Option<Instant>,
    call: impl Future<Output = Result<T>>,
) -> Result<T, Status> {
    let started = Instant::now();
    let outcome = deadline::within(at, call).await.and_then(|outcome| outcome);
    let status = outcome
        .as_ref()
        .map_or_else(|error| error.code.as_str(), |_| "ok");
    metrics::counter!(OPS, "action" => action, "status" => status).increment(1);
    metrics::histogram!(DURATION, "action" => action).record(started.elapsed().as_secs_f64());
    outcome.map_err(|error| to_status(&error))
}

/// The error of a status that a client's stream ended with.
pub fn of_stream(status: &Status) -> Error {
    crate::doors::too_large::refusal(status, FLIGHT_MESSAGE_BYTES_MAX).unwrap_or_else(|| from_status(status))
}
