//! The node's actor: which replicas are here, and on which thread.

use std::collections::BTreeMap;
use std::sync::Arc;

use actix::{Actor, Addr, ArbiterHandle, Context};
use longbow_storage::{Options, Replica};

use super::replica::ShardActor;
use crate::apply::Applier;
use crate::partition::{Key, Partition};
use crate::state::State;

/// Messages that may wait for the node's actor. The tail sends one at a time.
const MAILBOX: usize = 16;

/// Starts, stops and looks after the replicas' actors.
pub(super) struct ShardNode {
    pub(super) state: Arc<State>,
    pub(super) options: Options,
    /// Replicas by partition.
    pub(super) replicas: BTreeMap<Key, (Arc<Partition>, Addr<ShardActor>)>,
    arbiters: Vec<ArbiterHandle>,
    placed: usize,
}

impl ShardNode {
    /// A node without replicas.
    pub(super) fn new(state: Arc<State>, options: Options, arbiters: Vec<ArbiterHandle>) -> Self {
        Self {
            state,
            options,
            replicas: BTreeMap::new(),
            arbiters,
            placed: 0,
        }
    }

    /// Starts the actor of a replica.
    pub(super) fn begin(&mut self, key: Key, dataset: String, replica: Replica) {
        let partition = Arc::new(Partition::new(key, dataset, replica.reader().clone()));
        let shared = Arc::clone(&partition);
        let builders = Arc::clone(&self.state.builders);
        let compactor = Arc::clone(&self.state.compactor);
        let address = ShardActor::start_in_arbiter(&self.next_arbiter(), move |_| ShardActor {
            applier: Applier::new(replica, shared),
            builders,
            compactor,
        });
        self.replicas.insert(key, (partition, address));
    }

    /// Shows readers all replicas there are.
    pub(super) fn show(&self) {
        self.state.change_partitions(|partitions| {
            let shown = self
                .replicas
                .iter()
                .map(|(key, (partition, _))| (*key, Arc::clone(partition)));
            partitions.extend(shown);
        });
    }

    /// The thread for the next replica, in turn.
    fn next_arbiter(&mut self) -> ArbiterHandle {
        self.placed += 1;
        self.arbiters[self.placed % self.arbiters.len()].clone()
    }
}

impl Actor for ShardNode {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        context.set_mailbox_capacity(MAILBOX);
    }
}
