//! The native API, `longbow.v1`: messages in, verbs of the core, messages out. No decision is made here.

mod cluster;
mod dataset;
mod search;
mod write;

use std::time::{Duration, Instant};

use longbow_node::rpc::deadline;
use longbow_types::{Result, limits::MESSAGE_BYTES_MAX};
use longbow_wire::{
    convert::status::to_status,
    v1::{
        cluster_service_server::ClusterServiceServer, dataset_service_server::DatasetServiceServer,
        search_service_server::SearchServiceServer, write_service_server::WriteServiceServer,
    },
};
use tonic::{Response, Status, metadata::MetadataMap, service::Routes};

use crate::ops::{Core, deadline_or_default};

/// The native API over the core.
#[derive(Debug, Clone)]
pub struct Api {
    core: Core,
}

impl Api {
    /// The API of a core.
    pub fn new(core: Core) -> Self {
        Self { core }
    }

    /// Adds the four services.
    pub fn add_to(self, routes: Routes) -> Routes {
        routes
            .add_service(DatasetServiceServer::new(self.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX))
            .add_service(WriteServiceServer::new(self.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX))
            .add_service(SearchServiceServer::new(self.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX))
            .add_service(ClusterServiceServer::new(self).max_decoding_message_size(MESSAGE_BYTES_MAX))
    }
}

/// The moment by which a request must be answered: a little before its caller stops waiting, so that the caller gets
/// our error rather than its own.
pub(crate) fn deadline_of(metadata: &MetadataMap) -> Instant {
    match deadline::of(metadata) {
        Some(at) => {
            let slack = deadline::remaining(at) / 20;
            at - slack.min(Duration::from_millis(20))
        }
        None => deadline_or_default(None),
    }
}

/// Runs a verb until the deadline and turns its outcome into an answer.
pub(crate) async fn answer<T>(
    at: Instant,
    verb: impl Future<Output = Result<T>>,
) -> Result<Response<T>, Status> {
    let outcome = deadline::within(Some(at), verb).await.and_then(|outcome| outcome);
    outcome.map(Response::new).map_err(|error| to_status(&error))
}
