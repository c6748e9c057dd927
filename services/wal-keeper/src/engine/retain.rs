//! Cutting the log, and refusing what does not fit any more. Decided by a policy, executed by the disk thread.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use longbow_cluster::retention::{Coverage, Facts, admits, first_kept};
use longbow_types::{DatasetId, Error, ErrorCode, NodeId};
use longbow_wire::internal::{DurableReplica, EntryHeader, ReportDurableRequest, entry_header::Command};

use super::Engine;
use crate::Config;

/// How often the size of the log is looked at.
const INTERVAL: Duration = Duration::from_secs(1);

/// What the policy needs to know beside the catalogue.
pub(super) struct Retention {
    window: u64,
    log_bytes_max: u64,
    /// What shards told since this keeper started, by dataset and partition.
    durable: BTreeMap<(u64, u32), BTreeMap<NodeId, u64>>,
    /// Members that a snapshot is on its way to, and its index: they need what comes behind it.
    pub sending: BTreeMap<u64, u64>,
    /// Everything up to here is in a durable checkpoint.
    pub checkpointed: u64,
    log_bytes: u64,
    /// Bytes proposed since the log was measured.
    pub appended: u64,
    next_look: Option<Instant>,
    /// Entries before this one were let go already.
    pub let_go: u64,
}

impl Retention {
    pub fn new(config: &Config, checkpointed: u64) -> Self {
        Self {
            window: config.window_entries,
            log_bytes_max: config.log_bytes_max,
            durable: BTreeMap::new(),
            sending: BTreeMap::new(),
            checkpointed,
            log_bytes: 0,
            appended: 0,
            next_look: None,
            let_go: 1,
        }
    }
}

impl Engine {
    /// A shard tells what it has made durable, and what it has room for.
    pub(super) fn note(&mut self, shard: &NodeId, report: &ReportDurableRequest, now: Instant) {
        if self.parts.state.catalogue.shards().contains(shard) {
            self.credit.report(shard, report.credit.as_ref(), now);
        }
        if !report.replicas.is_empty() {
            self.note_durable(shard, &report.replicas);
        }
    }

    /// What a shard has made durable. Only what the catalogue assigns to it is kept, so that this is bounded.
    fn note_durable(&mut self, shard: &NodeId, replicas: &[DurableReplica]) {
        for replica in replicas {
            let dataset = self.parts.state.catalogue.dataset(DatasetId(replica.dataset_id));
            let assigned = dataset.and_then(|dataset| dataset.partitions.get(replica.partition as usize));
            if assigned.is_some_and(|nodes| nodes.contains(shard)) {
                let key = (replica.dataset_id, replica.partition);
                let known = self.retention.durable.entry(key).or_default();
                known.insert(shard.clone(), replica.index);
            }
        }
        self.retention.next_look = None;
    }

    /// Now and then: measures the log, and lets the disk thread cut it where it may.
    pub(super) fn retain(&mut self, now: Instant) {
        if self.retention.next_look.is_some_and(|at| now < at) || self.installing.is_some() {
            return;
        }
        self.retention.next_look = Some(now + INTERVAL);
        self.retention.log_bytes = self.parts.committed.log_bytes();
        self.retention.appended = 0;
        self.credit.retain(&self.parts.state.catalogue);
        metrics::gauge!("longbow_wal_log_bytes").set(self.retention.log_bytes as f64);
        let first_kept = first_kept(&self.facts());
        if first_kept > 1 {
            self.retention.let_go = self.retention.let_go.max(first_kept);
            // Again at every look: what could not go may go now.
            self.parts.disk.trim(self.retention.let_go);
        }
    }

    fn facts(&mut self) -> Facts {
        let Retention { durable, .. } = &mut self.retention;
        let catalogue = &self.parts.state.catalogue;
        durable.retain(|(dataset, _), _| catalogue.dataset(DatasetId(*dataset)).is_some());
        let mut partitions = Vec::new();
        for dataset in catalogue.datasets() {
            for (partition, nodes) in (0u32..).zip(&dataset.partitions) {
                let told = durable.get(&(dataset.id.0, partition));
                let index_of = |node: &NodeId| told.and_then(|told| told.get(node)).copied().unwrap_or(0);
                partitions.push(Coverage {
                    durable: nodes.iter().map(index_of).collect(),
                });
            }
        }
        Facts {
            partitions,
            pins: self.retention.sending.values().map(|index| index + 1).collect(),
            checkpointed: self.retention.checkpointed,
            window: self.retention.window,
        }
    }

    /// The refusal of a write that a shard has no memory for.
    pub(super) fn no_credit(&self, header: &EntryHeader) -> Option<Error> {
        let Some(Command::Write(write)) = &header.command else {
            return None;
        };
        let refused = self
            .credit
            .admits(write, &self.parts.state.catalogue, Instant::now());
        let error = refused.err()?;
        metrics::counter!("longbow_wal_memory_refusals_total").increment(1);
        Some(error)
    }

    /// The refusal of an append that the log has no room for.
    pub(super) fn no_room(&self, header: &EntryHeader) -> Option<Error> {
        let Retention {
            log_bytes,
            appended,
            log_bytes_max,
            ..
        } = self.retention;
        if admits(
            header.command.as_ref(),
            log_bytes.saturating_add(appended),
            log_bytes_max,
        ) {
            return None;
        }
        let message = format!(
            "the log has {log_bytes} bytes, and nothing in it may be cut before shards have made it durable elsewhere"
        );
        Some(
            Error::new(ErrorCode::LogFull, message)
                .field("keeper.log_bytes_max")
                .limit(log_bytes_max)
                .retry_after(Duration::from_secs(5)),
        )
    }
}
