//! Finds the replicas a request is about, and waits until they have come far enough.

use std::time::{Duration, Instant};

use longbow_node::rpc::deadline;
use longbow_types::limits::PARTITIONS_MAX;
use longbow_types::{DatasetId, Error, ErrorCode, Result};
use longbow_wire::internal::PartitionSet;

use super::Service;
use crate::partition::{Key, Partition, Read};

/// When a caller that met a node in replay may try again.
const RETRY_AFTER: Duration = Duration::from_millis(250);

/// How long a version of the schema is waited for that this node has not heard of: longer, and others are better asked.
const VERSION_PATIENCE: Duration = Duration::from_secs(1);

/// How far a read must wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Until {
    /// Applied.
    Applied,
    /// Applied and linked into the graph.
    Indexed,
}

/// The replicas of a request.
pub(super) struct Located {
    /// Name of the dataset.
    pub(super) dataset: String,
    /// Views of the replicas by ordinal, taken after the wait. At least one.
    pub(super) reads: Vec<Read>,
}

impl Service {
    /// Finds replicas and waits until each has applied `min_index` and, perhaps, linked what it then held. All are of the
    /// version of the schema that is asked for, if one is.
    ///
    /// # Errors
    /// `DATASET_NOT_FOUND`; `NO_REPLICA` for a partition that is not here, while the log is replayed, or while the version
    /// of the schema is an earlier one; `SCHEMA_VERSION_STALE` when it is a later one; `REPLICA_LOST` for one that this
    /// node should have and has not; `REPLICA_STOPPED` for an index that will never be applied, or rows that will never be
    /// linked;
    /// `DEADLINE_EXCEEDED`; `STOPPING`.
    pub(super) async fn locate(
        &self,
        target: Option<PartitionSet>,
        until: Until,
        deadline: Option<Instant>,
    ) -> Result<Located> {
        let target = target.ok_or_else(|| super::missing("target"))?;
        let mut ordinals = target.partitions;
        ordinals.sort_unstable();
        ordinals.dedup();
        if ordinals.is_empty() {
            return Err(super::missing("target.partitions"));
        }
        if ordinals.len() > PARTITIONS_MAX as usize {
            let message = format!("{} partitions", ordinals.len());
            return Err(Error::new(ErrorCode::TooLarge, message)
                .field("target.partitions")
                .limit(PARTITIONS_MAX));
        }
        if target.min_index == 0 && !self.state.is_caught_up() {
            // A replica in replay holds less than it acknowledged in its former life.
            let message = "this shard is still replaying the log";
            return Err(Error::new(ErrorCode::NoReplica, message).retry_after(RETRY_AFTER));
        }
        // A dataset's id is the index of the entry that created it.
        let index = target.min_index.max(target.dataset_id);
        tokio::select! {
            located = deadline::within(deadline, self.arrive(DatasetId(target.dataset_id), &ordinals, index, target.schema_version, until)) => located?,
            () = self.shutdown.wait() => Err(Error::new(ErrorCode::Stopping, "the node is stopping")),
        }
    }

    async fn arrive(
        &self,
        dataset: DatasetId,
        ordinals: &[u32],
        index: u64,
        schema_version: u32,
        until: Until,
    ) -> Result<Located> {
        if self.state.routed() < dataset.0 {
            self.routed(dataset.0).await?;
        }
        let known = self.state.catalogue();
        let known = known.dataset(dataset).ok_or_else(|| not_found(dataset))?;
        let (here, lost) = (self.state.partitions(), self.state.lost());
        let partitions = ordinals.iter().map(|&ordinal| {
            let key = Key { dataset, ordinal };
            if let Some(lost) = lost.get(&key) {
                return Err(lost.error(key));
            }
            here.get(&key).cloned().ok_or_else(|| {
                let message = format!("partition {key} is not on shard {}", self.state.me);
                Error::new(ErrorCode::NoReplica, message).field("target.partitions")
            })
        });
        let partitions = partitions.collect::<Result<Vec<_>>>()?;
        for partition in &partitions {
            self.reached(partition, index, until).await?;
            self.reached_version(partition, schema_version).await?;
        }
        let routed = self.state.routed();
        let reads: Vec<Read> = partitions
            .iter()
            .map(|partition| partition.read(routed))
            .collect();
        // A drop is done before its index counts as routed: nobody shall be told that its rows are as new as that.
        if partitions.iter().any(|partition| partition.is_evicted()) {
            return Err(not_found(dataset));
        }
        for read in &reads {
            check_version(read, schema_version)?;
        }
        Ok(Located {
            dataset: known.name.clone(),
            reads,
        })
    }

    /// Waits until everything up to an index has been routed.
    async fn routed(&self, index: u64) -> Result<()> {
        let _want = self.state.wants.add(index);
        let mut routed = self.state.watch_routed();
        let reached = routed.wait_for(|&routed| routed >= index).await;
        reached
            .map(drop)
            .map_err(|_| Error::new(ErrorCode::Stopping, "the node is stopping"))
    }

    /// Waits, for a moment, until a partition has come to a version of the schema.
    async fn reached_version(&self, partition: &Partition, wanted: u32) -> Result<()> {
        let mut progress = partition.progress();
        let come = async {
            let is_early = || partition.reader.view().layout().version() < wanted;
            while is_early() && partition.stopped().is_none() && !partition.is_evicted() {
                // The sender lives as long as the partition.
                let _ = progress.changed().await;
            }
        };
        let _ = tokio::time::timeout(VERSION_PATIENCE, come).await;
        if partition.is_evicted() {
            return Err(not_found(partition.key.dataset));
        }
        check_version(&partition.read(self.state.routed()), wanted)
    }

    /// Waits until a partition has applied an index and, perhaps, linked what it then held.
    async fn reached(&self, partition: &Partition, index: u64, until: Until) -> Result<()> {
        let (mut routed, mut progress) = (self.state.watch_routed(), partition.progress());
        // Behind the rows that the caller waits for; known once the index is applied.
        let (mut mark, mut want) = (None, None);
        loop {
            let now = *routed.borrow_and_update();
            progress.borrow_and_update();
            let read = partition.read(now);
            if mark.is_none() && read.state.applied_index >= index {
                mark = Some(partition.reader.mark());
                want = None;
            }
            if partition.is_evicted() {
                return Err(not_found(partition.key.dataset));
            }
            match &mark {
                Some(mark) if until == Until::Applied || partition.reader.passed(mark) => return Ok(()),
                Some(_) => {
                    if let Some(why) = partition.unbuildable() {
                        return Err(partition.unbuildable_error(why));
                    }
                }
                None => {
                    if let Some(why) = partition.stopped() {
                        return Err(partition.stopped_error(why));
                    }
                    want.get_or_insert_with(|| self.state.wants.add(index));
                }
            }
            // Neither sender is dropped while `self` and the partition are held.
            tokio::select! {
                _ = routed.changed(), if mark.is_none() => {}
                _ = progress.changed() => {}
            }
        }
    }
}

/// Refuses a view of another version of the schema than is asked for: its columns may be others, or of other types.
fn check_version(read: &Read, wanted: u32) -> Result<()> {
    let found = read.view.layout().version();
    if wanted == 0 || wanted == found {
        return Ok(());
    }
    let message = format!("the schema is at version {found}, the request was made for {wanted}");
    if found < wanted {
        return Err(Error::new(ErrorCode::NoReplica, message).retry_after(RETRY_AFTER));
    }
    Err(Error::new(ErrorCode::SchemaVersionStale, message)
        .field("schema_version")
        .limit(found))
}

fn not_found(dataset: DatasetId) -> Error {
    Error::new(
        ErrorCode::DatasetNotFound,
        format!("there is no dataset {dataset}"),
    )
    .field("dataset_id")
}
