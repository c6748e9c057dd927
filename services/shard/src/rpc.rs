//! What does a shard answer to routers? One file for each call.

mod explain;
mod fetch;
mod locate;
mod scan;
mod search;
mod status;
mod wait;
mod watch;

use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use bytes::Bytes;
use futures::Stream;
use longbow_node::gossip::Gossip;
use longbow_node::rpc::{MESSAGE_BYTES_MAX, deadline, require};
use longbow_node::shutdown::Shutdown;
use longbow_storage::batch_to_ipc;
use longbow_types::{Error, ErrorCode, Result, Role};
use longbow_wire::convert::status::to_status;
use longbow_wire::internal::{
    FetchRowsRequest, FetchRowsResponse, GetShardStatusRequest, GetShardStatusResponse,
    ScanPartitionsRequest, ScanPartitionsResponse, SearchPartitionsRequest, SearchPartitionsResponse,
    WaitAppliedRequest, WaitAppliedResponse, WatchCatalogueResponse, WatchShardCatalogueRequest,
    shard_service_server::ShardService,
};
use tonic::{Request, Response, Status};

use crate::pool::Pool;
use crate::state::State;

/// Serves routers.
#[derive(Clone)]
pub(crate) struct Service {
    pub(crate) state: Arc<State>,
    pub(crate) pool: Arc<Pool>,
    pub(crate) gossip: Gossip,
    pub(crate) shutdown: Shutdown,
}

type Answer<T> = std::result::Result<Response<T>, Status>;
type Streamed<T> = Pin<Box<dyn Stream<Item = std::result::Result<T, Status>> + Send>>;

fn answer<T>(result: Result<T>) -> Answer<T> {
    result.map(Response::new).map_err(|error| to_status(&error))
}

/// At most this long before the caller's deadline a refusal is sent, so that it is heard: both ends of the connection
/// drop a call at its deadline, and what the caller then sees says nothing.
const HEADROOM_MAX: Duration = Duration::from_millis(50);
/// The part of the time left that is kept for the same purpose when it is less.
const HEADROOM_PART: u32 = 20;

/// Room in an answer for the states of its partitions.
const STATES_BYTES_MAX: usize = 1 << 20;

/// Checks the caller and takes the request apart.
fn open<T>(request: Request<T>) -> std::result::Result<(Option<Instant>, T), Status> {
    require(&request, &[Role::Router])?;
    let deadline = deadline::of(request.metadata()).map(|at| {
        let headroom = (deadline::remaining(at) / HEADROOM_PART).min(HEADROOM_MAX);
        at.checked_sub(headroom).unwrap_or(at)
    });
    Ok((deadline, request.into_inner()))
}

/// Encodes an answer, which must fit into a message.
fn answer_to_ipc(batch: &RecordBatch) -> Result<Bytes> {
    let encoded = batch_to_ipc(batch)?;
    // Some is left for what goes with it.
    if encoded.len() > MESSAGE_BYTES_MAX - STATES_BYTES_MAX {
        let message = format!(
            "an answer of {} rows is too large; ask for fewer rows or columns",
            batch.num_rows()
        );
        return Err(Error::new(ErrorCode::TooLarge, message)
            .field("columns")
            .limit(format_args!("{MESSAGE_BYTES_MAX} bytes")));
    }
    Ok(encoded)
}

fn missing(field: &'static str) -> Error {
    Error::new(ErrorCode::MissingField, "the request lacks a field").field(field)
}

#[tonic::async_trait]
impl ShardService for Service {
    async fn search_partitions(
        &self,
        request: Request<SearchPartitionsRequest>,
    ) -> Answer<SearchPartitionsResponse> {
        let (deadline, request) = open(request)?;
        answer(self.search(request, deadline).await)
    }

    async fn fetch_rows(&self, request: Request<FetchRowsRequest>) -> Answer<FetchRowsResponse> {
        let (deadline, request) = open(request)?;
        answer(self.fetch(request, deadline).await)
    }

    type ScanPartitionsStream = Streamed<ScanPartitionsResponse>;

    async fn scan_partitions(
        &self,
        request: Request<ScanPartitionsRequest>,
    ) -> Answer<Self::ScanPartitionsStream> {
        let (deadline, request) = open(request)?;
        answer(self.scan(request, deadline).await)
    }

    async fn wait_applied(&self, request: Request<WaitAppliedRequest>) -> Answer<WaitAppliedResponse> {
        let (deadline, request) = open(request)?;
        answer(self.wait(request, deadline).await)
    }

    async fn get_shard_status(
        &self,
        request: Request<GetShardStatusRequest>,
    ) -> Answer<GetShardStatusResponse> {
        let (_, GetShardStatusRequest {}) = open(request)?;
        answer(Ok(self.status()))
    }

    type WatchShardCatalogueStream = Streamed<WatchCatalogueResponse>;

    async fn watch_shard_catalogue(
        &self,
        request: Request<WatchShardCatalogueRequest>,
    ) -> Answer<Self::WatchShardCatalogueStream> {
        let (_, WatchShardCatalogueRequest {}) = open(request)?;
        answer(Ok(self.watch()))
    }
}
