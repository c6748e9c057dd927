//! What a shard has made durable outside the log, which decides what of the log may go, and how much more it has room for,
//! which decides what may come.

use std::sync::Arc;

use longbow_node::rpc::require;
use longbow_types::{Error, ErrorCode, Role};
use longbow_wire::{
    convert::status::to_status,
    internal::{ReportDurableRequest, ReportDurableResponse},
};
use tokio::sync::oneshot;
use tonic::{Request, Status};

use super::{Inner, refused, stopping};
use crate::mailbox::Request as Mail;

/// Most replicas in one report.
const REPLICAS_MAX: usize = 65_536;

pub(super) async fn report(
    keeper: &Arc<Inner>,
    request: Request<ReportDurableRequest>,
) -> Result<ReportDurableResponse, Status> {
    let shard = require(&request, &[Role::Shard])?.node_id.clone();
    let report = request.into_inner();
    let credits = report.credit.as_ref().map_or(0, |credit| credit.replicas.len());
    let replicas = report.replicas.len().max(credits);
    if replicas > REPLICAS_MAX {
        let message = format!("a report of {replicas} replicas");
        let error = Error::new(ErrorCode::TooLarge, message).field("replicas");
        return Err(to_status(&error.limit(REPLICAS_MAX)));
    }
    let mine = keeper.committed.log_id();
    let log_id = report.log_id;
    if log_id != mine {
        let message = format!("a report of log {log_id:016x}, and this keeper has {mine:016x}");
        let error = Error::new(ErrorCode::WrongCluster, message).field("log_id");
        return Err(to_status(&error));
    }
    // Behind the cut, a shard that has not gone back yet has snapshots of entries that the log does not have.
    let (life, mine) = (report.incarnation.max(1), keeper.committed.incarnation());
    if life != mine {
        let message = format!("a report of life {life} of the log, and this keeper has {mine}");
        let error = Error::new(ErrorCode::WrongCluster, message).field("incarnation");
        return Err(to_status(&error.limit(mine)));
    }
    let (reply, answer) = oneshot::channel();
    let queued = keeper
        .mailbox
        .request(Mail::Durable(shard, Box::new(report), reply));
    queued.map_err(|error| to_status(&error))?;
    let noted = answer.await.map_err(|_| stopping())?;
    noted.map_err(|refusal| refused(&refusal))?;
    Ok(ReportDurableResponse {})
}
