//! Describes one dataset, with counts from the replicas that are most advanced.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use longbow_node::rpc::deadline;
use longbow_types::{Result, Role};
use longbow_wire::internal::{GetShardStatusRequest, ReplicaState, ShardMemory};
use longbow_wire::v1;

use super::{Core, Open, fanout};

/// How long a shard may take to tell how it is.
const PATIENCE: Duration = Duration::from_secs(1);

/// What replicas hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Live rows.
    pub rows: u64,
    /// Bytes of live rows.
    pub bytes: u64,
    /// Rows not yet linked into the graph.
    pub rows_unindexed: u64,
}

/// A dataset and its counts.
#[derive(Debug, Clone)]
pub struct Described {
    /// The dataset.
    pub open: Open,
    /// Absent if some partition has no replica that answered.
    pub counts: Option<Counts>,
}

impl Described {
    /// The dataset as a message.
    pub fn to_proto(&self) -> v1::Dataset {
        v1::Dataset {
            rows: self.counts.map(|counts| counts.rows),
            bytes: self.counts.map(|counts| counts.bytes),
            ..self.open.to_proto()
        }
    }
}

/// What all shards said about their replicas.
pub(super) struct Census {
    /// Shards that answered.
    shards: HashMap<String, Shard>,
}

/// What one shard said.
struct Shard {
    /// Its replicas, by dataset and partition.
    replicas: HashMap<(u64, u32), ReplicaState>,
    memory: Option<ShardMemory>,
}

impl Census {
    /// The memory that a shard takes, if it told.
    pub fn memory(&self, node: &str) -> Option<&ShardMemory> {
        self.shards.get(node)?.memory.as_ref()
    }

    /// Each replica of a partition that answered, with the id of its shard. A shard that answers but has not heard of
    /// the partition yet holds nothing of it.
    pub fn replicas<'a>(
        &'a self,
        open: &'a Open,
        partition: u32,
    ) -> impl Iterator<Item = (&'a str, Option<&'a ReplicaState>)> {
        let nodes = open
            .dataset
            .partitions
            .get(partition as usize)
            .into_iter()
            .flatten();
        nodes.filter_map(move |node| {
            let replicas = &self.shards.get(node.as_str())?.replicas;
            Some((node.as_str(), replicas.get(&(open.dataset.id.0, partition))))
        })
    }

    /// What a dataset holds, counted on the most advanced replica of each partition. A lost one counts as one that does
    /// not answer: it would say that there is nothing.
    pub fn counts(&self, open: &Open) -> Option<Counts> {
        let mut counts = Counts::default();
        let is_there = |replica: &ReplicaState| replica.lost.is_empty();
        for partition in open.all_partitions() {
            let replicas = self.replicas(open, partition);
            let held = replicas.filter(|(_, replica)| replica.is_none_or(is_there));
            let newest = held.max_by_key(|(_, replica)| {
                replica
                    .and_then(|r| r.state)
                    .map_or(0, |state| state.applied_index)
            })?;
            if let (_, Some(replica)) = newest {
                counts.rows += replica.rows;
                counts.bytes += replica.bytes;
                counts.rows_unindexed += replica.rows_unindexed;
            }
        }
        Some(counts)
    }
}

impl Core {
    /// Describes one dataset.
    ///
    /// # Errors
    /// Those of [`Core::open`].
    pub async fn get_dataset(&self, name: &str, at: Instant) -> Result<Described> {
        let open = self.open_newest(name, at).await?;
        let counts = self.census(at).await.counts(&open);
        Ok(Described { open, counts })
    }

    /// Asks every live shard how it is, and waits for those that answer soon.
    pub(super) async fn census(&self, at: Instant) -> Census {
        let until = at.min(Instant::now() + PATIENCE);
        let asked = self.0.gossip.live(Role::Shard).into_iter().map(|member| {
            let mut shard = self.shard(&member);
            async move {
                let request = fanout::request(GetShardStatusRequest {}, until);
                let answer = deadline::within(Some(until), shard.get_shard_status(request))
                    .await
                    .ok()?
                    .ok()?;
                let answer = answer.into_inner();
                let (replicas, memory) = (answer.replicas.into_iter(), answer.memory);
                let keyed = replicas.filter_map(|replica| {
                    let partition = replica.state?.partition;
                    Some(((replica.dataset_id, partition), replica))
                });
                let replicas = keyed.collect();
                Some((member.node_id.to_string(), Shard { replicas, memory }))
            }
        });
        let shards = futures::future::join_all(asked)
            .await
            .into_iter()
            .flatten()
            .collect();
        Census { shards }
    }
}
