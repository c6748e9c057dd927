//! When has a write come as far as its caller asked?
//!
//! Every replica of every touched partition is asked at once; a partition has come that far when one of its replicas
//! says so. The others are not waited for.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use futures::{StreamExt, stream::FuturesUnordered};
use longbow_node::{gossip::Member, rpc::deadline};
use longbow_types::{Error, ErrorCode, NodeId, Result, Token};
use longbow_wire::{
    internal::{PartitionSet, WaitAppliedRequest},
    v1::AckLevel,
};

use tokio::time::MissedTickBehavior;

use super::{
    Core, Open,
    fanout::{self, Class},
};

/// Pause before a replica that failed is asked again.
const PAUSE: Duration = Duration::from_millis(100);

impl Core {
    /// Waits until one replica of each partition has applied `index`, and linked it if `level` says so.
    ///
    /// # Errors
    /// `DEADLINE_EXCEEDED`: the write is in the log all the same.
    pub(super) async fn wait_for(
        &self,
        open: &Open,
        partitions: &BTreeSet<u32>,
        index: u64,
        level: AckLevel,
        at: Instant,
    ) -> Result<()> {
        let indexed = match level {
            AckLevel::Unspecified | AckLevel::Logged => return Ok(()),
            AckLevel::Applied => false,
            AckLevel::Indexed => true,
        };
        let mut missing = partitions.clone();
        let mut last: Option<Error> = None;
        let mut asked: BTreeSet<NodeId> = BTreeSet::new();
        let mut calls = FuturesUnordered::new();
        // Replicas whose call failed are asked again, and so are those that gossip has told of since, whatever the calls
        // under way do: one that hangs holds up its own partitions alone.
        let mut rounds = tokio::time::interval(PAUSE);
        rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while !missing.is_empty() {
            tokio::select! {
                _ = rounds.tick() => {
                    for (member, held) in self.holders(open, &missing) {
                        if asked.insert(member.node_id.clone()) {
                            calls.push(self.wait_on(open, member, held, index, indexed, at));
                        }
                    }
                }
                Some((node, held, outcome)) = calls.next(), if !calls.is_empty() => {
                    asked.remove(&node);
                    match outcome {
                        Ok(()) => held.iter().for_each(|partition| {
                            missing.remove(partition);
                        }),
                        Err((error, Class::Final)) => return Err(error),
                        Err((error, _)) => last = Some(error),
                    }
                }
                () = tokio::time::sleep_until(at.into()) => return Err(late(&missing, last)),
            }
        }
        Ok(())
    }

    /// Waits until writes have come as far as `level` says, on one replica of each partition that they touched.
    ///
    /// # Errors
    /// `DATASET_NOT_FOUND` if the dataset was dropped meanwhile; `DEADLINE_EXCEEDED`.
    pub async fn await_writes(
        &self,
        dataset: &str,
        partitions: &BTreeSet<u32>,
        token: &Token,
        level: AckLevel,
        at: Instant,
    ) -> Result<()> {
        let open = self.open(dataset, at).await?;
        let index = token.in_group(0).map_or(0, |lsn| lsn.index);
        self.wait_for(&open, partitions, index, level, at).await
    }

    /// Shards that gossip knows, each with those of the partitions that it holds.
    pub(super) fn holders(&self, open: &Open, partitions: &BTreeSet<u32>) -> Vec<(Member, Vec<u32>)> {
        let mut held: BTreeMap<&NodeId, Vec<u32>> = BTreeMap::new();
        for &partition in partitions {
            for node in open
                .dataset
                .partitions
                .get(partition as usize)
                .into_iter()
                .flatten()
            {
                held.entry(node).or_default().push(partition);
            }
        }
        let member = |node| self.0.gossip.member(node);
        held.into_iter()
            .filter_map(|(node, held)| Some((member(node)?, held)))
            .collect()
    }

    async fn wait_on(
        &self,
        open: &Open,
        member: Member,
        held: Vec<u32>,
        index: u64,
        indexed: bool,
        at: Instant,
    ) -> (NodeId, Vec<u32>, Result<(), (Error, Class)>) {
        let target = PartitionSet {
            dataset_id: open.dataset.id.0,
            partitions: held.clone(),
            min_index: index,
            schema_version: 0,
        };
        let request = fanout::request(
            WaitAppliedRequest {
                target: Some(target),
                indexed,
            },
            at,
        );
        let mut shard = self.shard(&member);
        let outcome = match deadline::within(Some(at), shard.wait_applied(request)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(status)) => Err(fanout::failure(&status)),
            Err(late) => Err((late, Class::Later)),
        };
        (member.node_id, held, outcome)
    }
}

fn late(missing: &BTreeSet<u32>, last: Option<Error>) -> Error {
    let why = last.map_or(String::new(), |error| format!(": {error}"));
    let message = format!(
        "the write is in the log, but no replica of partitions {missing:?} came as far as asked before the deadline{why}"
    );
    Error::new(ErrorCode::DeadlineExceeded, message).field("ack")
}
