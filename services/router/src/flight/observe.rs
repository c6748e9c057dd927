//! Counts and times of Flight calls, under the names that existing dashboards know.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Instant,
};

use futures::{Stream, StreamExt};
use longbow_node::rpc::deadline;
use longbow_types::{Error, ErrorCode, Result, limits::FLIGHT_MESSAGE_BYTES_MAX};
use longbow_wire::convert::status::{from_status, to_status};
use tonic::{Response, Status};

use super::{Answers, reply::Reply};

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

/// The same for a call whose answer is a stream: it is counted when the stream has ended, by how that ended.
pub async fn reply<T: Send + 'static>(
    action: &'static str,
    at: Instant,
    call: impl Future<Output = Result<Reply<T>>>,
) -> Result<Response<Answers<T>>, Status> {
    let started = Instant::now();
    let outcome = deadline::within(Some(at), call).await.and_then(|outcome| outcome);
    metrics::histogram!(DURATION, "action" => action).record(started.elapsed().as_secs_f64());
    match outcome {
        Ok(mut reply) => {
            reply.items = Counted {
                items: reply.items,
                action,
                status: ErrorCode::Cancelled.as_str(),
            }
            .boxed();
            Ok(reply.into_response())
        }
        Err(error) => {
            metrics::counter!(OPS, "action" => action, "status" => error.code.as_str()).increment(1);
            Err(to_status(&error))
        }
    }
}

/// A stream that is counted once, when it is gone.
struct Counted<T> {
    items: Answers<T>,
    action: &'static str,
    /// How it ended; a client that leaves before its end has cancelled it.
    status: &'static str,
}

impl<T> Stream for Counted<T> {
    type Item = Result<T, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let item = ready!(self.items.as_mut().poll_next(context));
        match &item {
            Some(Ok(_)) => {}
            Some(Err(status)) => self.status = from_status(status).code.as_str(),
            None if self.status == ErrorCode::Cancelled.as_str() => self.status = "ok",
            None => {}
        }
        Poll::Ready(item)
    }
}

impl<T> Drop for Counted<T> {
    fn drop(&mut self) {
        metrics::counter!(OPS, "action" => self.action, "status" => self.status).increment(1);
    }
}

/// The same as [`answer`] for a call that may take as long as its caller does.
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

#[cfg(test)]
mod tests {
    use super::*;
    use futures::stream;

    #[tokio::test]
    async fn a_stream_is_counted_by_how_it_ended() {
        let late = || to_status(&Error::new(ErrorCode::NoReplica, "gone"));
        let ended = |items: Vec<Result<u8, Status>>| Counted {
            items: stream::iter(items).boxed(),
            action: "DoGet",
            status: ErrorCode::Cancelled.as_str(),
        };
        for (items, take, status) in [
            (vec![Ok(1), Ok(2)], 3, "ok"),
            (vec![Ok(1), Ok(2)], 1, "CANCELLED"),
            (vec![Ok(1), Err(late())], 2, "NO_REPLICA"),
            (vec![Ok(1), Err(late())], 3, "NO_REPLICA"),
        ] {
            let mut counted = ended(items);
            for _ in 0..take {
                let _ = counted.next().await;
            }
            assert_eq!(counted.status, status);
        }
    }
}
