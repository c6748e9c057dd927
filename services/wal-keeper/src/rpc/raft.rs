//! Raft messages of another keeper: each must be from the member that the caller proved to be.

use std::sync::Arc;

use longbow_node::rpc::require;
use longbow_types::{Error, ErrorCode, Role};
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
    let Some(member) = keeper.group.raft_id_of(&caller.node_id) else {
        let message = format!("the keeper {} is no member of this group", caller.node_id);
        let error = Error::new(ErrorCode::RoleNotAllowed, message).field("keeper.initial_voters");
        tracing::warn!(%error, "a stranger was refused");
        return Err(to_status(&error));
    };
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
            if message.from != member {
                let text = format!("a message from member {} sent by member {member}", message.from);
                return Err(to_status(
                    &Error::new(ErrorCode::InvalidValue, text).field("from"),
                ));
            }
            if !keeper.mailbox.message(message) {
                metrics::counter!("longbow_wal_raft_messages_dropped_total").increment(1);
            }
        }
    }
}
