//! Read index: what a fresh read must have applied.

use std::sync::Arc;

use longbow_node::rpc::{deadline, require};
use longbow_types::Role;
use longbow_wire::{
    convert::status::to_status,
    internal::{ReadIndexRequest, ReadIndexResponse},
};
use tokio::sync::oneshot;
use tonic::{Request, Status};

use super::{Inner, refused, stopping};
use crate::{GROUP, mailbox::Request as Mail};

pub(super) async fn read_index(
    keeper: &Arc<Inner>,
    request: &Request<ReadIndexRequest>,
) -> Result<ReadIndexResponse, Status> {
    require(request, &[Role::Router, Role::Shard])?;
    let until = deadline::of(request.metadata());
    let (reply, answer) = oneshot::channel();
    let queued = keeper.mailbox.request(Mail::ReadIndex(reply));
    queued.map_err(|error| to_status(&error))?;
    let answer = deadline::within(until, answer)
        .await
        .map_err(|error| to_status(&error))?;
    let index = answer
        .map_err(|_| stopping())?
        .map_err(|refusal| refused(&refusal))?;
    Ok(ReadIndexResponse {
        group: GROUP,
        incarnation: keeper.committed.incarnation(),
        index,
    })
}
