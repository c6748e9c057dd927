//! How this keeper is: what the engine said last, and what stands beside it.

use longbow_node::rpc::require;
use longbow_wire::internal::{GetKeeperStatusRequest, GetKeeperStatusResponse};
use tonic::{Request, Status};

use super::{ANYBODY, Inner};

pub(super) fn status(
    keeper: &Inner,
    request: &Request<GetKeeperStatusRequest>,
) -> Result<GetKeeperStatusResponse, Status> {
    require(request, &ANYBODY)?;
    let keepers = keeper.roster.current();
    let names = |nodes: &[longbow_types::NodeId]| nodes.iter().map(ToString::to_string).collect();
    Ok(GetKeeperStatusResponse {
        voters: names(&keepers.voters()),
        initial_voters: names(&keeper.group.initial_voters),
        membership: Some(keepers.to_proto()),
        log_id: keeper.group.log_id,
        first_index: keeper.committed.first_index(),
        log_bytes: keeper.committed.log_bytes(),
        ..keeper.shared.status()
    })
}
