//! Where does one command end and the next begin?
//!
//! Rows come sorted by partition. A command takes rows until their estimated size reaches the limit; the estimate is
//! never below the truth (tested in `encode`), so a command never has to be cut after it was built.

use arrow::array::RecordBatch;
use arrow_schema::ArrowError;
use longbow_types::{Error, ErrorCode, Result, limits::COMMAND_BYTES_MAX};
use longbow_wire::internal::{PartitionRange, WriteCommand, WriteKind};

use super::{Command, Target, encode, gather::gather};

/// A generous bound on the header without its ranges, and on the entry's own framing.
const HEADER_BYTES: usize = 256;
/// A generous bound on one range of the header.
const RANGE_BYTES: usize = 40;

/// Commands for rows given as (partition, row), sorted. `first_row` is the row of the call that the batch starts with.
///
/// # Errors
/// `TOO_LARGE` naming a row that fits no command.
pub fn into_commands(
    batch: &RecordBatch,
    placed: &[(u32, u32)],
    first_row: usize,
    target: Target,
    kind: WriteKind,
) -> Result<Vec<Command>> {
    let overhead = encode::stream_overhead(batch.schema_ref()).map_err(internal)? + RANGE_BYTES;
    let row_bytes = encode::row_bytes(batch);
    let budget = COMMAND_BYTES_MAX - HEADER_BYTES;
    let (mut commands, mut start, mut bytes) = (Vec::new(), 0, 0);
    for (position, &(partition, row)) in placed.iter().enumerate() {
        let own = row_bytes[row as usize];
        if overhead + own > budget {
            let message = format!("a row of {own} bytes");
            return Err(Error::new(ErrorCode::TooLarge, message)
                .field(format!("rows[{}]", first_row + row as usize))
                .limit(format_args!("{} bytes", budget - overhead.min(budget))));
        }
        let starts_stream = position == start || placed[position - 1].0 != partition;
        let cost = own + if starts_stream { overhead } else { 0 };
        if position > start && bytes + cost > budget {
            commands.push(build(batch, &placed[start..position], target, kind)?);
            (start, bytes) = (position, own + overhead);
        } else {
            bytes += cost;
        }
    }
    if start < placed.len() {
        commands.push(build(batch, &placed[start..], target, kind)?);
    }
    Ok(commands)
}

fn build(batch: &RecordBatch, placed: &[(u32, u32)], target: Target, kind: WriteKind) -> Result<Command> {
    let (mut body, mut ranges) = (Vec::new(), Vec::new());
    for stretch in placed.chunk_by(|a, b| a.0 == b.0) {
        let rows: Vec<u32> = stretch.iter().map(|&(_, row)| row).collect();
        let offset = body.len();
        let gathered = gather(batch, &rows).map_err(internal)?;
        encode::stream(&gathered, &mut body).map_err(internal)?;
        ranges.push(PartitionRange {
            partition: stretch[0].0,
            offset: offset as u64,
            length: (body.len() - offset) as u64,
            rows: rows.len() as u32,
        });
    }
    Ok(Command {
        write: WriteCommand {
            dataset_id: target.dataset.0,
            schema_version: target.schema_version,
            map_epoch: target.map_epoch,
            kind: kind as i32,
            ranges,
            filter_semantics: 0,
        },
        body: body.into(),
        rows: placed.len() as u64,
    })
}

fn internal(error: ArrowError) -> Error {
    Error::new(ErrorCode::Internal, error.to_string())
}
