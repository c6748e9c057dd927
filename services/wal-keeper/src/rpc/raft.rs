//! Raft messages of another keeper: each must be from the member that the caller proved to be.

use std::sync::Arc;

use longbow_node::rpc::require;
use longbow_types::Role;
use longbow_wire::{
    convert::status::to_status,
    internal::{RaftRequest, RaftResponse},
};
use tonic::{Request, Status, Streaming};

use super::Inner;

pub(super) async fn raft(
    keeper: &Arc<Inner>,
    request: Request<Streaming<RaftRequest>>,
) -> Result<RaftResponse, Status> {
    let caller = require(&request, &[Role::WalKeeper])?;
    let mut stream = request.into_inner();
    loop {
        let next = tokio::select! {
            next = stream.message() => next?,
            () = keeper.shutdown.wait() => return Ok(RaftResponse {}),
        };
        let Some(RaftRequest { messages }) = next else {
            return Ok(RaftResponse {});
        };
        for message in messages {
            if let Err(error) = keeper.roster.admit(&caller.node_id, message.from) {
                tracing::warn!(%error, "raft messages were refused");
                return Err(to_status(&error));
            }
            if !keeper.mailbox.message(message) {
                metrics::counter!("longbow_wal_raft_messages_dropped_total").increment(1);
            }
        }
    }
}
