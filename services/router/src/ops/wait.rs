//! When has a write come as far as its caller asked, and what became of its rows?
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
    internal::{PartitionOutcome, PartitionSet, WaitAppliedRequest},
    v1::AckLevel,
};

use tokio::time::MissedTickBehavior;

use super::{
    Core, Open,
    fanout::{self, Class},
};

/// Pause before a replica that failed is asked again.
const PAUSE: Duration = Duration::from_millis(100);

/// What is waited for.
#[derive(Debug, Clone, Copy)]
struct Goal {
    /// This index is applied,
    index: u64,
    /// and linked, too,
    indexed: bool,
    /// and what became of its rows is told.
    outcome: bool,
}

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
        let goal = Goal {
            index,
            indexed,
            outcome: false,
        };
        self.arrive(open, partitions, goal, at).await.map(drop)
    }

    /// Waits until one replica of each partition has applied the conditional write at `index`, and linked it if `indexed`,
    /// and tells what became of its rows.
    ///
    /// # Errors
    /// `DEADLINE_EXCEEDED`: the write is in the log all the same. `OUTCOME_UNKNOWN` if no replica remembers.
    pub(super) async fn outcomes(
        &self,
        open: &Open,
        partitions: &BTreeSet<u32>,
        index: u64,
        indexed: bool,
        at: Instant,
    ) -> Result<BTreeMap<u32, PartitionOutcome>> {
        let goal = Goal {
            index,
            indexed,
            outcome: true,
        };
        self.arrive(open, partitions, goal, at).await
    }

    async fn arrive(
        &self,
        open: &Open,
        partitions: &BTreeSet<u32>,
        goal: Goal,
        at: Instant,
    ) -> Result<BTreeMap<u32, PartitionOutcome>> {
        let mut missing = partitions.clone();
        let mut outcomes = BTreeMap::new();
        let mut forgotten = Forgotten::default();
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
                            calls.push(self.wait_on(open, member, held, goal, at));
                        }
                    }
                }
                Some((node, held, outcome)) = calls.next(), if !calls.is_empty() => {
                    match outcome {
                        Ok(told) if goal.outcome => {
                            outcomes.extend(told.into_iter().map(|outcome| (outcome.partition, outcome)));
                            missing.retain(|partition| !outcomes.contains_key(partition));
                            forgotten.add(open, &node, held.iter().filter(|held| missing.contains(*held)))?;
                        }
                        Ok(_) => missing.retain(|partition| !held.contains(partition)),
                        Err((error, Class::Final)) => return Err(error),
                        Err((error, _)) => {
                            asked.remove(&node);
                            last = Some(error);
                        }
                    }
                }
                () = tokio::time::sleep_until(at.into()) => return Err(late(&missing, last)),
            }
        }
        Ok(outcomes)
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
        goal: Goal,
        at: Instant,
    ) -> (NodeId, Vec<u32>, Result<Vec<PartitionOutcome>, (Error, Class)>) {
        let target = PartitionSet {
            dataset_id: open.dataset.id.0,
            partitions: held.clone(),
            min_index: goal.index,
            schema_version: 0,
        };
        let request = fanout::request(
            WaitAppliedRequest {
                target: Some(target),
                indexed: goal.indexed,
                outcome: goal.outcome,
            },
            at,
        );
        let mut shard = self.shard(&member);
        let outcome = match deadline::within(Some(at), shard.wait_applied(request)).await {
            Ok(Ok(answer)) => Ok(answer.into_inner().outcomes),
            Ok(Err(status)) => Err(fanout::failure(&status)),
            Err(late) => Err((late, Class::Later)),
        };
        (member.node_id, held, outcome)
    }
}

/// Replicas that do not remember what became of a write's rows, by partition.
#[derive(Debug, Default)]
struct Forgotten(BTreeMap<u32, BTreeSet<NodeId>>);

impl Forgotten {
    /// One replica of each of these does not.
    ///
    /// # Errors
    /// `OUTCOME_UNKNOWN` if no replica is left that may.
    fn add<'a>(
        &mut self,
        open: &Open,
        node: &NodeId,
        partitions: impl Iterator<Item = &'a u32>,
    ) -> Result<()> {
        for &partition in partitions {
            let nodes = self.0.entry(partition).or_default();
            nodes.insert(node.clone());
            let replicas = open.dataset.partitions.get(partition as usize);
            if replicas.is_none_or(|replicas| replicas.iter().all(|replica| nodes.contains(replica))) {
                let message = format!(
                    "the write is applied, but no replica of partition {partition} remembers which rows it changed: read \
                     them, and compare their versions"
                );
                return Err(Error::new(ErrorCode::OutcomeUnknown, message));
            }
        }
        Ok(())
    }
}

fn late(missing: &BTreeSet<u32>, last: Option<Error>) -> Error {
    let why = last.map_or(String::new(), |error| format!(": {error}"));
    let message = format!(
        "the write is in the log, but no replica of partitions {missing:?} came as far as asked before the deadline{why}"
    );
    Error::new(ErrorCode::DeadlineExceeded, message).field("ack")
}
