//! Write rows: judged here, done by the shards.

use longbow_types::{DatasetId, ErrorCode};
use longbow_wire::internal::{PartitionRange, Verdict, WriteCommand, WriteKind};

use super::{Catalogue, verdict_of};

impl Catalogue {
    pub(super) fn apply_write(&self, command: &WriteCommand) -> Result<(), Verdict> {
        let id = DatasetId(command.dataset_id);
        let dataset = self.datasets.get(&id).ok_or_else(|| not_found(id))?;
        if command.schema_version != dataset.schema_version {
            let message = format!(
                "rows of schema version {}, the dataset is at {}: read the dataset again and send the write again",
                command.schema_version, dataset.schema_version
            );
            return Err(verdict_of(
                ErrorCode::SchemaVersionStale,
                message,
                "schema_version",
            ));
        }
        if command.map_epoch != self.map_epoch {
            let message = format!(
                "rows partitioned by map epoch {}, the map is at {}: send the write again",
                command.map_epoch, self.map_epoch
            );
            return Err(verdict_of(ErrorCode::MapEpochStale, message, "map_epoch"));
        }
        if command.kind() == WriteKind::Unspecified {
            let message = "the kind of write is not set, or is not known to this version";
            return Err(verdict_of(ErrorCode::InvalidValue, message, "kind"));
        }
        check_ranges(&command.ranges, dataset.partitions.len())
    }
}

pub(super) fn not_found(id: DatasetId) -> Verdict {
    verdict_of(
        ErrorCode::DatasetNotFound,
        format!("there is no dataset {id}"),
        "dataset_id",
    )
}

/// Ranges are there, sorted by partition, disjoint, and name partitions that exist.
fn check_ranges(ranges: &[PartitionRange], partitions: usize) -> Result<(), Verdict> {
    let wrong = |message: String| Err(verdict_of(ErrorCode::InvalidValue, message, "ranges"));
    if ranges.is_empty() {
        return wrong("a write of no partition".to_owned());
    }
    let (mut next_partition, mut end) = (0u64, 0u64);
    for range in ranges {
        let partition = u64::from(range.partition);
        if partition < next_partition || partition >= partitions as u64 {
            return wrong(format!("partition {partition} of {partitions}, or out of order"));
        }
        if range.offset < end {
            return wrong(format!("the range of partition {partition} overlaps another"));
        }
        let Some(range_end) = range.offset.checked_add(range.length) else {
            return wrong(format!("the range of partition {partition} has no end"));
        };
        (next_partition, end) = (partition + 1, range_end);
    }
    Ok(())
}
