//! What a keeper serves: one file for each call.

mod append;
mod catalogue;
mod change;
mod durable;
mod install;
mod raft;
mod read_index;
mod reset;
mod status;
mod tail;
mod watch;

use std::{pin::Pin, sync::Arc};

use longbow_node::{rpc::MESSAGE_BYTES_MAX, shutdown::Shutdown};
use longbow_types::{Error, ErrorCode, Role, limits::COMMAND_BYTES_MAX};
use longbow_wire::{
    convert::status::to_status,
    internal::{
        AppendRequest, AppendResponse, ChangeKeepersRequest, ChangeKeepersResponse, GetCatalogueRequest,
        GetCatalogueResponse, GetKeeperStatusRequest, GetKeeperStatusResponse, InstallSnapshotRequest,
        InstallSnapshotResponse, RaftRequest, RaftResponse, ReadIndexRequest, ReadIndexResponse,
        ReportDurableRequest, ReportDurableResponse, ResetKeeperLatchRequest, ResetKeeperLatchResponse,
        TailRequest, TailResponse, WatchCatalogueRequest, WatchCatalogueResponse,
        keeper_service_server::{KeeperService, KeeperServiceServer},
    },
};
use tokio::sync::Semaphore;
use tokio_stream::Stream;
use tonic::{Request, Response, Status, Streaming, service::Routes};

use crate::{
    committed::Committed,
    group::Group,
    latch::Latch,
    mailbox::{Mailbox, Refusal},
    roster::Roster,
    status::Shared,
};

/// Most streams of each kind at a time.
const STREAMS_MAX: usize = 512;

/// Most bytes of one message to a keeper: one command, or raft messages that end with one.
const REQUEST_BYTES_MAX: usize = 3 * COMMAND_BYTES_MAX;

/// Any node of the cluster.
const ANYBODY: [Role; 3] = [Role::Router, Role::Shard, Role::WalKeeper];

type BoxStream<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// The service. Clones share everything.
#[derive(Clone)]
pub(crate) struct Keeper(Arc<Inner>);

pub(crate) struct Inner {
    /// As it was at the start: one that is added meanwhile has another raft id.
    pub group: Group,
    pub roster: Arc<Roster>,
    pub mailbox: Arc<Mailbox>,
    pub committed: Arc<Committed>,
    pub shared: Arc<Shared>,
    pub latch: Arc<Latch>,
    /// Streams end when this is thrown.
    pub shutdown: Shutdown,
    tails: Arc<Semaphore>,
    watches: Arc<Semaphore>,
    /// A snapshot is held in memory while it comes.
    snapshots: Arc<Semaphore>,
    /// And so is a catalogue while its message is made.
    catalogues: Arc<Semaphore>,
}

impl Keeper {
    pub fn new(
        group: Group,
        roster: Arc<Roster>,
        mailbox: Arc<Mailbox>,
        committed: Arc<Committed>,
        shared: Arc<Shared>,
        latch: Arc<Latch>,
        shutdown: Shutdown,
    ) -> Self {
        Self(Arc::new(Inner {
            group,
            roster,
            mailbox,
            committed,
            shared,
            latch,
            shutdown,
            tails: Arc::new(Semaphore::new(STREAMS_MAX)),
            watches: Arc::new(Semaphore::new(STREAMS_MAX)),
            snapshots: Arc::new(Semaphore::new(1)),
            catalogues: Arc::new(Semaphore::new(1)),
        }))
    }

    pub fn routes(self) -> Routes {
        let service = KeeperServiceServer::new(self)
            .max_decoding_message_size(REQUEST_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX);
        Routes::new(service)
    }
}

/// The status of something the engine did not do.
fn refused(refusal: &Refusal) -> Status {
    // Without details of ours the caller knows that the answer, not the entry, was lost.
    let mut status = if refusal.outcome_unknown {
        Status::unavailable(refusal.error.message.to_string())
    } else {
        to_status(&refusal.error)
    };
    if let Some(leader) = refusal
        .leader
        .as_ref()
        .and_then(|leader| leader.as_str().parse().ok())
    {
        status.metadata_mut().insert("leader", leader);
    }
    status
}

/// The engine is gone, or too many wait.
fn stopping() -> Status {
    to_status(&Error::new(ErrorCode::Stopping, "the keeper is stopping"))
}

fn too_many_streams() -> Status {
    to_status(&Error::new(ErrorCode::Overloaded, "too many streams are open").limit(STREAMS_MAX))
}

#[tonic::async_trait]
impl KeeperService for Keeper {
    type TailStream = BoxStream<TailResponse>;
    type WatchCatalogueStream = BoxStream<WatchCatalogueResponse>;

    async fn append(&self, request: Request<AppendRequest>) -> Result<Response<AppendResponse>, Status> {
        append::append(&self.0, request).await.map(Response::new)
    }

    async fn read_index(
        &self,
        request: Request<ReadIndexRequest>,
    ) -> Result<Response<ReadIndexResponse>, Status> {
        read_index::read_index(&self.0, &request).await.map(Response::new)
    }

    async fn tail(&self, request: Request<TailRequest>) -> Result<Response<Self::TailStream>, Status> {
        tail::tail(&self.0, &request).map(Response::new)
    }

    async fn watch_catalogue(
        &self,
        request: Request<WatchCatalogueRequest>,
    ) -> Result<Response<Self::WatchCatalogueStream>, Status> {
        watch::watch(&self.0, &request).map(Response::new)
    }

    async fn raft(&self, request: Request<Streaming<RaftRequest>>) -> Result<Response<RaftResponse>, Status> {
        raft::raft(&self.0, request).await.map(Response::new)
    }

    async fn get_keeper_status(
        &self,
        request: Request<GetKeeperStatusRequest>,
    ) -> Result<Response<GetKeeperStatusResponse>, Status> {
        status::status(&self.0, &request).map(Response::new)
    }

    async fn change_keepers(
        &self,
        request: Request<ChangeKeepersRequest>,
    ) -> Result<Response<ChangeKeepersResponse>, Status> {
        change::change(&self.0, &request).await.map(Response::new)
    }

    async fn report_durable(
        &self,
        request: Request<ReportDurableRequest>,
    ) -> Result<Response<ReportDurableResponse>, Status> {
        durable::report(&self.0, request).await.map(Response::new)
    }

    async fn get_catalogue(
        &self,
        request: Request<GetCatalogueRequest>,
    ) -> Result<Response<GetCatalogueResponse>, Status> {
        catalogue::get(&self.0, &request).await.map(Response::new)
    }

    async fn install_snapshot(
        &self,
        request: Request<Streaming<InstallSnapshotRequest>>,
    ) -> Result<Response<InstallSnapshotResponse>, Status> {
        install::install(&self.0, request).await.map(Response::new)
    }

    async fn reset_keeper_latch(
        &self,
        request: Request<ResetKeeperLatchRequest>,
    ) -> Result<Response<ResetKeeperLatchResponse>, Status> {
        reset::reset(&self.0, &request).await.map(Response::new)
    }
}
