//! The only place of actix: a node's actor that starts, stops and looks after one actor for each replica.
//!
//! Everybody else holds [`Actors`], a handle. Mailboxes take control messages, one for each batch of entries, and are
//! bounded: whoever sends waits. Actors run on a few threads of their own, so that applying never holds a thread of the
//! RPC server. Searches do not pass through here.

mod adopt;
mod deliver;
mod evict;
mod install;
mod node;
mod place;
mod release;
mod replica;

use std::collections::BTreeMap;
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};

use actix::{Actor, Addr, Arbiter, Message, System};
use anyhow::Context as _;
use longbow_storage::compact::{Merged, Moved};
use longbow_storage::{Options, Replica};
use longbow_types::{DatasetId, Error, ErrorCode, Result};

use crate::apply::Op;
use crate::partition::Key;
use crate::state::State;
use node::ShardNode;

pub(crate) use place::Place;

/// Running actors: a handle for the tail.
pub(crate) struct Actors {
    node: Addr<ShardNode>,
    system: System,
    thread: JoinHandle<()>,
}

impl Actors {
    /// Starts the actors' threads and the node's actor.
    pub(crate) fn start(threads: usize, options: Options, state: Arc<State>) -> anyhow::Result<Self> {
        let (send, receive) = mpsc::channel();
        let run = move || {
            let runner = System::new();
            let (node, arbiters) = runner.block_on(async {
                let arbiters: Vec<Arbiter> = (0..threads).map(|_| Arbiter::new()).collect();
                let handles = arbiters.iter().map(Arbiter::handle).collect();
                (ShardNode::new(state, options, handles).start(), arbiters)
            });
            // The starter waits for this; if it is gone there is nobody to run for.
            if send.send((node, System::current())).is_ok()
                && let Err(error) = runner.run()
            {
                tracing::error!(%error, "the actors' system stopped");
            }
            for arbiter in arbiters {
                arbiter.stop();
                // Its panics were printed; there is nothing to hear from it.
                let _ = arbiter.join();
            }
        };
        let thread = thread::Builder::new().name("actors".to_owned()).spawn(run)?;
        let (node, system) = receive.recv().context("the actors' thread did not start")?;
        Ok(Self { node, system, thread })
    }

    /// Makes empty replicas of a dataset that was just created.
    pub(crate) async fn place(&self, place: Place) -> Result<()> {
        self.ask(place).await
    }

    /// Takes over replicas that snapshots hold, each with the name of its dataset.
    pub(crate) async fn adopt(&self, replicas: Vec<(Key, String, Replica)>) -> Result<()> {
        self.ask(adopt::Adopt(replicas)).await
    }

    /// Drops all replicas of a dataset.
    pub(crate) async fn evict(&self, dataset: DatasetId) -> Result<()> {
        self.ask(evict::Evict(dataset)).await
    }

    /// Lets go of all replicas, with what to tell those who wait for one.
    pub(crate) async fn release(&self, why: String) -> Result<()> {
        self.ask(release::Release(why)).await
    }

    /// Applies entries. Returns when each replica has applied its own, or stopped.
    pub(crate) async fn deliver(&self, entries: BTreeMap<Key, Vec<Op>>) -> Result<()> {
        self.ask(deliver::Deliver(entries)).await
    }

    /// Puts a merged chunk into the place of those it was merged from, and shows it to readers. Returns what was done,
    /// or nothing if the replica or one of the chunks is not there any more.
    pub(crate) async fn install(&self, key: Key, merged: Merged) -> Result<Option<Moved>> {
        self.ask(install::Install(key, merged)).await
    }

    async fn ask<M>(&self, message: M) -> Result<M::Result>
    where
        M: Message + Send + 'static,
        M::Result: Send,
        ShardNode: actix::Handler<M>,
        <ShardNode as Actor>::Context: actix::dev::ToEnvelope<ShardNode, M>,
    {
        let gone = |error| Error::new(ErrorCode::Stopping, format!("the node's actor is gone: {error}"));
        self.node.send(message).await.map_err(gone)
    }

    /// Stops all actors and waits for their threads. Blocks.
    pub(crate) fn stop(self) {
        self.system.stop();
        // Its panics were printed; there is nothing to hear from it.
        let _ = self.thread.join();
    }
}

#[cfg(test)]
mod tests;
