//! Lets go of all replicas, because the log they followed goes on without them.

use actix::{Handler, Message};

use super::node::ShardNode;
use super::replica::End;

/// Let go of all replicas. Their datasets are still there: who waits for one is told that it stopped, and why.
pub(super) struct Release(pub(super) String);

impl Message for Release {
    type Result = ();
}

impl Handler<Release> for ShardNode {
    type Result = ();

    fn handle(&mut self, Release(why): Release, _: &mut Self::Context) {
        self.state.change_partitions(|partitions| partitions.clear());
        for (partition, address) in std::mem::take(&mut self.replicas).into_values() {
            partition.stop(why.clone());
            // Full or closed: its address is forgotten here, and an actor without addresses ends by itself.
            let _ = address.try_send(End);
        }
    }
}
