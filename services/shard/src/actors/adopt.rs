//! Takes over the replicas that snapshots hold.

use actix::{Handler, Message};
use longbow_storage::Replica;

use super::node::ShardNode;
use crate::partition::Key;

/// Take over these replicas, each with the name of its dataset.
pub(super) struct Adopt(pub(super) Vec<(Key, String, Replica)>);

impl Message for Adopt {
    type Result = ();
}

impl Handler<Adopt> for ShardNode {
    type Result = ();

    fn handle(&mut self, Adopt(replicas): Adopt, _: &mut Self::Context) {
        for (key, name, replica) in replicas {
            self.begin(key, name, replica);
        }
        self.show();
        // Some may have rows that were not linked when their snapshots were taken.
        self.state.builders.wake();
        self.state.compactor.notify_one();
    }
}
