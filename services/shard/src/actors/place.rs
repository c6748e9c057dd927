//! Makes replicas of a dataset that was just created.

use std::panic::{AssertUnwindSafe, catch_unwind};

use actix::{Handler, Message};
use longbow_storage::{Options, Replica};
use longbow_types::{DatasetId, Schema};

use super::node::ShardNode;
use crate::apply::panic_text;
use crate::partition::Key;

/// Make empty replicas. Those that are there stay.
pub(crate) struct Place {
    /// Dataset; also the index of the entry that created it.
    pub(crate) dataset: DatasetId,
    /// Its name.
    pub(crate) name: String,
    /// Its schema.
    pub(crate) schema: Schema,
    /// Ordinals of the partitions assigned to this node.
    pub(crate) partitions: Vec<u32>,
}

impl Message for Place {
    type Result = ();
}

impl Handler<Place> for ShardNode {
    type Result = ();

    fn handle(&mut self, place: Place, _: &mut Self::Context) -> Self::Result {
        for &ordinal in &place.partitions {
            let key = Key {
                dataset: place.dataset,
                ordinal,
            };
            if self.replicas.contains_key(&key) {
                continue;
            }
            let options = Options {
                // The same graph on every replica that links rows in the same order; any number does.
                seed: place.dataset.0.rotate_left(32) ^ u64::from(ordinal),
                ..self.options
            };
            let make = || Replica::new(place.schema.clone(), &options, place.dataset.0);
            let replica = match catch_unwind(AssertUnwindSafe(make)) {
                Ok(replica) => replica,
                Err(panic) => {
                    // Reads of it are refused for want of a replica; the others go on.
                    tracing::error!(partition = %key, "no replica can be made: {}", panic_text(panic.as_ref()));
                    continue;
                }
            };
            self.begin(key, place.name.clone(), replica);
        }
        self.show();
    }
}
