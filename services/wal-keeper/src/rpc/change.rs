//! Change who is in the group: an operator's call, through a router, to the leader.

use std::sync::Arc;

use longbow_cluster::keepers::Ask;
use longbow_node::rpc::{deadline, require};
use longbow_types::{NodeId, Role};
use longbow_wire::{
    convert::status::to_status,
    internal::{ChangeKeepersRequest, ChangeKeepersResponse},
};
use tokio::sync::oneshot;
use tonic::{Request, Status};

use super::{Inner, refused};
use crate::mailbox::Request as Mail;

pub(super) async fn change(
    keeper: &Arc<Inner>,
    request: &Request<ChangeKeepersRequest>,
) -> Result<ChangeKeepersResponse, Status> {
    require(request, &[Role::Router])?;
    let until = deadline::of(request.metadata());
    let asked = request.get_ref();
    let node_id: NodeId = asked
        .node_id
        .parse()
        .map_err(|error: longbow_types::Error| to_status(&error.field("node_id")))?;
    let ask = Ask {
        change: asked.change(),
        node_id,
        log_id: asked.log_id,
        force: asked.force,
    };
    let (reply, answer) = oneshot::channel();
    let queued = keeper.mailbox.request(Mail::Change(ask, reply));
    queued.map_err(|error| to_status(&error))?;
    match deadline::within(until, answer).await {
        Ok(Ok(answer)) => answer.map_err(|refusal| refused(&refusal)),
        // The engine ended with the change in its hands.
        Ok(Err(_)) => Err(Status::unavailable(
            "the keeper ended; the change may have been made",
        )),
        // Not one of our errors: the change may still be made.
        Err(_) => Err(Status::deadline_exceeded(
            "the deadline passed before the change was made; it may still be",
        )),
    }
}
