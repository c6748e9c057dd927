//! Drops the replicas of a dataset that is gone.

use actix::{Handler, Message};
use longbow_types::DatasetId;

use super::node::ShardNode;
use super::replica::End;

/// Drop all replicas of a dataset.
pub(super) struct Evict(pub(super) DatasetId);

impl Message for Evict {
    type Result = ();
}

impl Handler<Evict> for ShardNode {
    type Result = ();

    fn handle(&mut self, Evict(dataset): Evict, _: &mut Self::Context) {
        self.state
            .change_partitions(|partitions| partitions.retain(|key, _| key.dataset != dataset));
        self.replicas.retain(|key, (partition, address)| {
            if key.dataset != dataset {
                return true;
            }
            partition.evict();
            // Full or closed: its address is forgotten here, and an actor without addresses ends by itself.
            let _ = address.try_send(End);
            false
        });
    }
}
