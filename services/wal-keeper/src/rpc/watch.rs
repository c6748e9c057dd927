//! Watch the catalogue: now, and after each change of it, of the leader or of the latch.

use std::sync::Arc;

use longbow_cluster::catalogue::incarnation_of;
use longbow_node::rpc::require;
use longbow_wire::internal::{WatchCatalogueRequest, WatchCatalogueResponse};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Status};

use super::{ANYBODY, BoxStream, Inner, too_many_streams};

pub(super) fn watch(
    keeper: &Arc<Inner>,
    request: &Request<WatchCatalogueRequest>,
) -> Result<BoxStream<WatchCatalogueResponse>, Status> {
    require(request, &ANYBODY)?;
    let permit = keeper
        .watches
        .clone()
        .try_acquire_owned()
        .map_err(|_| too_many_streams())?;
    let (out, views) = mpsc::channel(1);
    let keeper = keeper.clone();
    tokio::spawn(async move {
        let _permit = permit;
        let shutdown = keeper.shutdown.clone();
        tokio::select! {
            () = follow(&keeper, &out) => {}
            () = shutdown.wait() => {}
            () = out.closed() => {}
        }
    });
    Ok(Box::pin(ReceiverStream::new(views)))
}

/// A slow watcher skips what came between: each message is whole.
async fn follow(keeper: &Arc<Inner>, out: &mpsc::Sender<Result<WatchCatalogueResponse, Status>>) {
    let mut view = keeper.shared.view();
    let mut latch = keeper.latch.register();
    loop {
        // In this order: what the view holds has not changed since before this index.
        let applied = keeper.shared.status().applied_index;
        let current = view.borrow_and_update().clone();
        let register = latch.borrow_and_update().clone();
        if let Some(current) = current {
            let mut catalogue = current.catalogue.clone();
            catalogue.applied_index = catalogue.applied_index.max(applied);
            let message = WatchCatalogueResponse {
                incarnation: incarnation_of(&catalogue),
                catalogue: Some(catalogue),
                leader: current
                    .leader
                    .as_ref()
                    .map(ToString::to_string)
                    .unwrap_or_default(),
                latch: Some(register),
            };
            if out.send(Ok(message)).await.is_err() {
                return;
            }
        }
        let changed = tokio::select! {
            changed = view.changed() => changed,
            changed = latch.changed() => changed,
        };
        if changed.is_err() {
            return;
        }
    }
}
