//! `WatchShardCatalogue`: the catalogue as this shard has applied it, now and after each change.

use std::sync::Arc;

use futures::stream::unfold;
use longbow_cluster::catalogue::incarnation_of;
use longbow_wire::internal::WatchCatalogueResponse;

use super::{Service, Streamed};

impl Service {
    pub(super) fn watch(&self) -> Streamed<WatchCatalogueResponse> {
        let service = self.clone();
        let (mut catalogue, mut latch) = (self.state.watch_catalogue(), self.gossip.latch());
        catalogue.mark_changed();
        latch.mark_changed();
        let next = move |(mut catalogue, mut latch): (
            tokio::sync::watch::Receiver<Arc<longbow_cluster::catalogue::Catalogue>>,
            tokio::sync::watch::Receiver<longbow_wire::internal::LatchRegister>,
        )| {
            let service = service.clone();
            async move {
                tokio::select! {
                    changed = catalogue.changed() => changed.ok()?,
                    changed = latch.changed() => changed.ok()?,
                    () = service.shutdown.wait() => return None,
                }
                // A catalogue in replay is an old one: nobody shall take it for what there is.
                tokio::select! {
                    () = service.state.caught_up() => {}
                    () = service.shutdown.wait() => return None,
                }
                // In this order: the catalogue does not change between its own index and `routed`, unless a newer
                // one is published, which is sent next.
                let routed = service.state.routed();
                let mut message = catalogue.borrow_and_update().to_proto(false);
                message.applied_index = message.applied_index.max(routed);
                let response = WatchCatalogueResponse {
                    incarnation: incarnation_of(&message),
                    catalogue: Some(message),
                    // Shards do not follow who leads.
                    leader: String::new(),
                    latch: Some(latch.borrow_and_update().clone()),
                };
                Some((Ok(response), (catalogue, latch)))
            }
        };
        Box::pin(unfold((catalogue, latch), next))
    }
}
