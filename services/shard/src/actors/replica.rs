//! A replica's actor: owns the writer, on one thread.

use std::sync::Arc;

use actix::{Actor, ActorContext, Context, Handler, Message};
use longbow_storage::compact::{Merged, Moved};
use tokio::sync::Notify;

use crate::apply::{Applier, Op};
use crate::builders::Wake;

/// Messages that may wait for a replica.
const MAILBOX: usize = 8;

/// Applies entries to one replica.
pub(super) struct ShardActor {
    pub(super) applier: Applier,
    pub(super) builders: Arc<Wake>,
    pub(super) compactor: Arc<Notify>,
}

impl Actor for ShardActor {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        context.set_mailbox_capacity(MAILBOX);
    }
}

/// Apply these entries.
pub(super) struct ApplyBatch(pub(super) Vec<Op>);

impl Message for ApplyBatch {
    type Result = ();
}

impl Handler<ApplyBatch> for ShardActor {
    type Result = ();

    fn handle(&mut self, batch: ApplyBatch, _: &mut Self::Context) {
        // Catches what panics, entry by entry, so the actor lives as long as its node wants it.
        self.applier.apply(&batch.0);
        self.builders.wake();
        self.compactor.notify_one();
    }
}

/// Put a merged chunk into the place of those it was merged from. Says what it did, if these were still there.
pub(super) struct InstallChunk(pub(super) Merged);

impl Message for InstallChunk {
    type Result = Option<Moved>;
}

impl Handler<InstallChunk> for ShardActor {
    type Result = Option<Moved>;

    fn handle(&mut self, InstallChunk(merged): InstallChunk, _: &mut Self::Context) -> Self::Result {
        self.applier.install(merged)
    }
}

/// End, and free what the replica holds once its readers have let go of it.
pub(super) struct End;

impl Message for End {
    type Result = ();
}

impl Handler<End> for ShardActor {
    type Result = ();

    fn handle(&mut self, _: End, context: &mut Self::Context) {
        context.stop();
    }
}
