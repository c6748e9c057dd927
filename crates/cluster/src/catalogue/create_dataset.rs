//! Create a dataset.

use std::{collections::BTreeSet, sync::Arc};

use longbow_types::{
    DatasetId, Error, ErrorCode, NodeId, limits::PARTITIONS_MAX, schema::check_dataset_name,
};
use longbow_wire::internal::{CreateDatasetCommand, ReplicaSet, Verdict};

use super::{
    Catalogue, Dataset,
    verdict::{refusal, verdict_of},
};
use crate::placement;

const SCHEMA_VERSION_FIRST: u32 = 1;

impl Catalogue {
    /// Fills in where the partitions of a new dataset go. The leader calls this before it proposes the command.
    ///
    /// `live` shards are preferred to others that are registered. When there are too few shards, or the number of
    /// partitions is out of bounds, the command is left without partitions, and [`Catalogue::apply`] refuses it.
    pub fn place(&self, command: &mut CreateDatasetCommand, live: &BTreeSet<NodeId>) {
        command.partitions.clear();
        if !(1..=PARTITIONS_MAX).contains(&command.partition_count) {
            return;
        }
        let placed = placement::assign(
            command.partition_count,
            command.replication_factor,
            &self.shards,
            live,
            &self.load(),
        );
        command.partitions = placed
            .unwrap_or_default()
            .into_iter()
            .map(|replicas| ReplicaSet {
                node_ids: replicas.iter().map(|node| node.as_str().to_owned()).collect(),
            })
            .collect();
    }

    pub(super) fn apply_create_dataset(
        &mut self,
        index: u64,
        command: &CreateDatasetCommand,
    ) -> Result<(), Verdict> {
        check_dataset_name(&command.name).map_err(|error| refusal(&error))?;
        if self.by_name.contains_key(&command.name) {
            let message = format!("there is a dataset {:?} already", command.name);
            return Err(verdict_of(ErrorCode::DatasetExists, message, "name"));
        }
        if !(1..=PARTITIONS_MAX).contains(&command.partition_count) {
            let message = format!("{} partitions", command.partition_count);
            return Err(refusal(
                &Error::new(ErrorCode::InvalidValue, message)
                    .field("partition_count")
                    .limit(format_args!("1 to {PARTITIONS_MAX}")),
            ));
        }
        let partitions = self.check_partitions(command)?;
        let id = DatasetId(index);
        let dataset = Dataset {
            id,
            name: command.name.clone(),
            schema_version: SCHEMA_VERSION_FIRST,
            schema: command.schema.clone(),
            partitions,
            rows_expire: command.rows_expire,
        };
        self.by_name.insert(command.name.clone(), id);
        self.datasets.insert(id, Arc::new(dataset));
        Ok(())
    }

    /// The partitions that the leader placed, checked against the shards there are.
    fn check_partitions(&self, command: &CreateDatasetCommand) -> Result<Vec<Vec<NodeId>>, Verdict> {
        let copies = command.replication_factor.max(1);
        if command.partitions.is_empty() {
            let message = format!("{copies} shards are needed, {} are registered", self.shards.len());
            return Err(refusal(
                &Error::new(ErrorCode::NotEnoughShards, message)
                    .field("replication_factor")
                    .limit(format_args!("at most {}", self.shards.len())),
            ));
        }
        if command.partitions.len() != command.partition_count as usize {
            let message = format!(
                "{} partitions are placed, {} were asked for",
                command.partitions.len(),
                command.partition_count
            );
            return Err(verdict_of(ErrorCode::InvalidValue, message, "partitions"));
        }
        command
            .partitions
            .iter()
            .map(|set| self.check_replicas(set, copies))
            .collect()
    }

    fn check_replicas(&self, set: &ReplicaSet, copies: u32) -> Result<Vec<NodeId>, Verdict> {
        let mut seen = BTreeSet::new();
        for text in &set.node_ids {
            let known = text
                .parse::<NodeId>()
                .ok()
                .and_then(|node| self.shards.get(&node).cloned());
            let Some(node) = known else {
                let message = format!("the shard {text:?} is not registered");
                return Err(verdict_of(ErrorCode::NotEnoughShards, message, "partitions"));
            };
            if !seen.insert(node) {
                let message = format!("two copies of one partition on the shard {text:?}");
                return Err(verdict_of(ErrorCode::InvalidValue, message, "partitions"));
            }
        }
        if seen.len() < copies as usize {
            let message = format!("{copies} copies are asked for, {} are placed", seen.len());
            return Err(verdict_of(ErrorCode::NotEnoughShards, message, "partitions"));
        }
        // The leader's order stays: the first replica is the one asked first.
        Ok(set.node_ids.iter().filter_map(|text| text.parse().ok()).collect())
    }
}
