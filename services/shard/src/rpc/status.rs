//! `GetShardStatus`: how the replicas of this shard are.

use longbow_wire::internal::{GetShardStatusResponse, PartitionState, ReplicaState};

use super::Service;
use crate::memory::Account;

impl Service {
    pub(super) fn status(&self) -> GetShardStatusResponse {
        let routed = self.state.routed();
        let partitions = self.state.partitions();
        let replicas = partitions.values().map(|partition| {
            let read = partition.read(routed);
            ReplicaState {
                dataset_id: partition.key.dataset.0,
                rows: read.view.rows() as u64,
                rows_unindexed: partition.reader.unlinked() as u64,
                bytes: read.view.bytes(),
                stopped: partition.stopped().unwrap_or_default().to_owned(),
                state: Some(read.state),
                digest: read.view.digest().to_string(),
                memory_bytes: partition.reader.memory().total(),
                ..ReplicaState::default()
            }
        });
        let lost = self.state.lost();
        let lost = lost.iter().map(|(key, lost)| ReplicaState {
            dataset_id: key.dataset.0,
            // It has applied nothing.
            state: Some(PartitionState {
                partition: key.ordinal,
                ..PartitionState::default()
            }),
            lost: lost.why.clone(),
            ..ReplicaState::default()
        });
        GetShardStatusResponse {
            replicas: replicas.chain(lost).collect(),
            applied_index: routed,
            memory: Some(Account::of(&self.state).to_proto(self.state.memory_budget)),
        }
    }
}
