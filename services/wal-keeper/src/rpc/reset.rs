//! Reset the latch, or only test the disk for it: an operator's call, through a router.

use std::sync::Arc;

use longbow_node::rpc::require;
use longbow_types::{Error, ErrorCode, Role};
use longbow_wire::{
    convert::status::to_status,
    internal::{ResetKeeperLatchRequest, ResetKeeperLatchResponse},
};
use tonic::{Request, Status};

use super::Inner;

pub(super) async fn reset(
    keeper: &Arc<Inner>,
    request: &Request<ResetKeeperLatchRequest>,
) -> Result<ResetKeeperLatchResponse, Status> {
    require(request, &[Role::Router])?;
    let fatal = keeper.shared.fatal().borrow().clone();
    if let Some(fatal) = fatal {
        let message = format!(
            "this keeper stopped writing and must be started again on a disk that works: {}",
            fatal.cause
        );
        return Err(to_status(
            &Error::new(ErrorCode::LatchTripped, message).field("latch"),
        ));
    }
    let latch = keeper.latch.clone();
    let ResetKeeperLatchRequest { test_only, reason } = request.get_ref().clone();
    let work = move || match test_only {
        true => latch.test(),
        false => latch.reset(&reason),
    };
    let reset = tokio::task::spawn_blocking(work).await;
    let reset =
        reset.unwrap_or_else(|error| Err(Error::new(ErrorCode::Internal, format!("the disk test: {error}"))));
    let register = reset.map_err(|error| to_status(&error))?;
    Ok(ResetKeeperLatchResponse {
        latch: Some(register),
    })
}
