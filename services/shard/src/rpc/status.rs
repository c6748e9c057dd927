//! `GetShardStatus`: how the replicas of this shard are.

use longbow_wire::internal::{GetShardStatusResponse, ReplicaState};

use super::Service;

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
            }
        });
        GetShardStatusResponse {
            replicas: replicas.collect(),
            applied_index: routed,
        }
    }
}
