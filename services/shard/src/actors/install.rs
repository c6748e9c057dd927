//! Hands a merged chunk to the replica it is for.

use actix::{Handler, Message, ResponseFuture};
use longbow_storage::compact::{Merged, Moved};

use super::node::ShardNode;
use super::replica::InstallChunk;
use crate::partition::Key;

/// Install a merged chunk; answered when it is shown to readers. Nothing if the replica is gone, or its chunks are.
pub(super) struct Install(pub(super) Key, pub(super) Merged);

impl Message for Install {
    type Result = Option<Moved>;
}

impl Handler<Install> for ShardNode {
    type Result = ResponseFuture<Option<Moved>>;

    fn handle(&mut self, Install(key, merged): Install, _: &mut Self::Context) -> Self::Result {
        let address = self.replicas.get(&key).map(|(_, address)| address.clone());
        Box::pin(async move {
            // An actor that ended meanwhile has nothing to install it in.
            address?.send(InstallChunk(merged)).await.ok()?
        })
    }
}
