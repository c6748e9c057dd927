//! Requests that no well-behaved client would send.

use anyhow::{Context, Result};
use bytes::Bytes;
use futures::{StreamExt, stream};
use http_body_util::StreamBody;
use tonic::{Status, body::Body, transport::Channel};
use tower::{Service, ServiceExt};

const CHUNK: usize = 64 << 10;

/// Announces one gRPC message of `length` bytes, sends as much of it as the server takes, and gives the status that
/// comes back.
pub async fn oversized_call(channel: &Channel, method: &str, length: u32) -> Result<Status> {
    let mut prefix = vec![0u8];
    prefix.extend_from_slice(&length.to_be_bytes());
    let zeros = Bytes::from(vec![0u8; CHUNK]);
    let body = stream::iter(std::iter::repeat_n(zeros, length as usize / CHUNK));
    let frames = stream::once(async { Bytes::from(prefix) })
        .chain(body)
        .map(|bytes| Ok::<_, Status>(http_body::Frame::data(bytes)));
    let request = http::Request::post(method)
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(Body::new(StreamBody::new(frames)))?;
    let answer = channel.clone().ready().await?.call(request).await?;
    if let Some(status) = Status::from_header_map(answer.headers()) {
        return Ok(status);
    }
    let trailers = http_body_util::BodyExt::collect(answer.into_body()).await?;
    let trailers = trailers
        .trailers()
        .context("neither headers nor trailers hold a status")?;
    Status::from_header_map(trailers).context("no status in the trailers")
}
