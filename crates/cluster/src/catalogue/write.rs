//! Write rows: judged here, done by the shards.

use longbow_types::{DatasetId, ErrorCode};
use longbow_wire::internal::{PartitionRange, Verdict, WriteCommand, WriteKind};

use super::{Catalogue, verdict_of};

/// The version of the rules that filters in the log are evaluated by. Other rules are another version: all who apply an
/// entry come to the same rows, or do not apply it.
pub const FILTER_SEMANTICS: u32 = 1;

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
        let semantics = u32::from(command.kind() == WriteKind::DeleteWhere) * FILTER_SEMANTICS;
        if command.filter_semantics != semantics {
            let message = format!(
                "a filter of semantics version {}, this version knows {semantics}",
                command.filter_semantics
            );
            return Err(verdict_of(ErrorCode::Unsupported, message, "filter_semantics"));
        }
        if command.kind() == WriteKind::DeleteWhere {
            return check_shared(&command.ranges, dataset.partitions.len());
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

/// Every partition has a range, and all ranges are one.
fn check_shared(ranges: &[PartitionRange], partitions: usize) -> Result<(), Verdict> {
    let wrong = |message: String| Err(verdict_of(ErrorCode::InvalidValue, message, "ranges"));
    if ranges.len() != partitions {
        return wrong(format!("{} ranges for {partitions} partitions", ranges.len()));
    }
    for (ordinal, range) in (0..).zip(ranges) {
        if range.partition != ordinal || (range.offset, range.length) != (ranges[0].offset, ranges[0].length)
        {
            return wrong(format!(
                "the range of partition {} is not that of all",
                range.partition
            ));
        }
    }
    Ok(())
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
