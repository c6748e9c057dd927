//! The log command for a delete by filter: the filter once, for all partitions.

use longbow_cluster::catalogue::FILTER_SEMANTICS;
use longbow_types::{Error, ErrorCode, Result, limits::COMMAND_BYTES_MAX};
use longbow_wire::{
    internal::{PartitionRange, WriteCommand, WriteKind},
    v1,
};
use prost::Message;

use super::{Command, Target};

/// A generous bound on the header, with a range for each of as many partitions as there may be.
const HEADER_BYTES: usize = 64 << 10;

/// The command that deletes the rows of which a filter is true, which has been checked.
///
/// # Errors
/// `TOO_LARGE` for a filter that fits no command.
pub fn delete_where(filter: &v1::Filter, target: Target) -> Result<Command> {
    let limit = COMMAND_BYTES_MAX - HEADER_BYTES;
    let bytes = filter.encoded_len();
    if bytes > limit {
        return Err(
            Error::new(ErrorCode::TooLarge, format!("a filter of {bytes} bytes"))
                .field("filter")
                .limit(format_args!("{limit} bytes")),
        );
    }
    let range = |partition| PartitionRange {
        partition,
        offset: 0,
        length: bytes as u64,
        rows: 0,
    };
    Ok(Command {
        write: WriteCommand {
            dataset_id: target.dataset.0,
            schema_version: target.schema_version,
            map_epoch: target.map_epoch,
            kind: WriteKind::DeleteWhere as i32,
            ranges: (0..target.partitions).map(range).collect(),
            filter_semantics: FILTER_SEMANTICS,
        },
        body: filter.encode_to_vec().into(),
        rows: 0,
    })
}
