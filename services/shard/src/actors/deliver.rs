//! Hands entries to the replicas they are for.

use std::collections::BTreeMap;

use actix::{Handler, Message, ResponseFuture};
use futures::future::join_all;

use super::node::ShardNode;
use super::replica::ApplyBatch;
use crate::apply::Op;
use crate::partition::Key;

/// Apply these entries; answered when every replica has applied its own, or stopped.
pub(super) struct Deliver(pub(super) BTreeMap<Key, Vec<Op>>);

impl Message for Deliver {
    type Result = ();
}

impl Handler<Deliver> for ShardNode {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, Deliver(entries): Deliver, _: &mut Self::Context) -> Self::Result {
        let sent = entries.into_iter().filter_map(|(key, ops)| {
            let (partition, address) = self.replicas.get(&key)?.clone();
            Some(async move {
                // Waits while the mailbox is full, and then for the batch to be applied.
                if let Err(error) = address.send(ApplyBatch(ops)).await {
                    tracing::error!(partition = %partition.key, %error, "the replica's actor is gone");
                    partition.stop(format!("its actor is gone: {error}"));
                }
            })
        });
        let all = join_all(sent.collect::<Vec<_>>());
        Box::pin(async move {
            all.await;
        })
    }
}
