//! One log command for a write each row of which has a condition, and where each of its rows went.
//!
//! All conditions of a call are judged by one state, so the call is one command; and each row is judged by itself, so no
//! id may come twice.

use std::{collections::HashMap, sync::Arc};

use arrow::array::{RecordBatch, UInt64Array};
use arrow_schema::{DataType, Field, Schema};
use longbow_query::{ids::Ids, rank::IF_ROW_VERSION_COLUMN};
use longbow_types::{Error, ErrorCode, Result, limits::COMMAND_BYTES_MAX};
use longbow_wire::internal::{PartitionOutcome, WriteKind};

use super::{Command, Target, fold, partition_of, split};

/// A command, and the row of the call that each of its rows is.
#[derive(Debug, Clone, PartialEq)]
pub struct Conditional {
    command: Command,
    /// By partition, in the order in which the command has them.
    rows: HashMap<u32, Vec<u32>>,
}

/// The command of a conditional write. `versions` holds the version that each row asks for; `name` is what the call
/// calls its rows.
///
/// # Errors
/// `INVALID_VALUE` naming the second row of an id; `TOO_LARGE` if the rows need more than one command.
pub fn conditional(
    batch: &RecordBatch,
    id_column: usize,
    versions: Vec<u64>,
    name: &'static str,
    target: Target,
    kind: WriteKind,
) -> Result<Conditional> {
    let ids = Ids::new(batch.column(id_column).as_ref())?;
    if let Some(row) = fold::first_repeated(&ids) {
        let message = "an id comes twice in a call with conditions";
        return Err(Error::new(ErrorCode::InvalidValue, message)
            .field(format!("{name}[{row}]"))
            .limit("each id once"));
    }
    let mut placed: Vec<(u32, u32)> = (0..ids.len())
        .map(|row| (partition_of(&ids, row, target.partitions), row as u32))
        .collect();
    placed.sort_unstable();
    let batch = with_versions(batch, versions)?;
    let mut commands = split::into_commands(&batch, &placed, 0, target, kind)?;
    let (Some(command), true) = (commands.pop(), commands.is_empty()) else {
        let message = "rows with conditions are judged together, and these need more than one command";
        return Err(Error::new(ErrorCode::TooLarge, message)
            .field(name)
            .limit(format_args!("{COMMAND_BYTES_MAX} bytes")));
    };
    let mut rows: HashMap<u32, Vec<u32>> = HashMap::new();
    for (partition, row) in placed {
        rows.entry(partition).or_default().push(row);
    }
    Ok(Conditional { command, rows })
}

impl AsRef<[Command]> for Conditional {
    fn as_ref(&self) -> &[Command] {
        std::slice::from_ref(&self.command)
    }
}

impl Conditional {
    /// The rows of the call whose conditions did not hold, ascending.
    ///
    /// # Errors
    /// `INTERNAL` for outcomes that are not those of this command.
    pub fn unmatched<'a>(&self, outcomes: impl Iterator<Item = &'a PartitionOutcome>) -> Result<Vec<u32>> {
        let (mut unmatched, mut told) = (Vec::new(), 0);
        for outcome in outcomes {
            let rows = self.rows.get(&outcome.partition).map_or(&[][..], Vec::as_slice);
            if rows.len() != outcome.rows as usize || outcome.matched.len() != rows.len().div_ceil(8) {
                let message = format!(
                    "partition {} told of {} rows, {} were written to it",
                    outcome.partition,
                    outcome.rows,
                    rows.len()
                );
                return Err(Error::new(ErrorCode::Internal, message));
            }
            told += rows.len();
            let holds = |at: usize| outcome.matched[at / 8] & (1 << (at % 8)) != 0;
            unmatched.extend((0..).zip(rows).filter(|(at, _)| !holds(*at)).map(|(_, row)| *row));
        }
        if told as u64 != self.command.rows {
            let message = format!("{told} of {} rows were told of", self.command.rows);
            return Err(Error::new(ErrorCode::Internal, message));
        }
        unmatched.sort_unstable();
        Ok(unmatched)
    }
}

/// The batch with one column more.
fn with_versions(batch: &RecordBatch, versions: Vec<u64>) -> Result<RecordBatch> {
    let mut fields: Vec<Arc<Field>> = batch.schema().fields().iter().cloned().collect();
    fields.push(Arc::new(Field::new(
        IF_ROW_VERSION_COLUMN,
        DataType::UInt64,
        false,
    )));
    let mut columns = batch.columns().to_vec();
    columns.push(Arc::new(UInt64Array::from(versions)));
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)
        .map_err(|error| Error::new(ErrorCode::Internal, error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        ingest::read_stream,
        testing::{batch_of_all_kinds, schema_of_all_kinds},
    };
    use arrow::array::AsArray;
    use arrow::compute::take_record_batch;
    use arrow::datatypes::UInt64Type;
    use longbow_types::DatasetId;

    const TARGET: Target = Target {
        dataset: DatasetId(7),
        schema_version: 1,
        map_epoch: 3,
        partitions: 4,
    };

    fn of(batch: &RecordBatch, versions: Vec<u64>) -> Result<Conditional> {
        let id = schema_of_all_kinds().id_position();
        conditional(batch, id, versions, "rows", TARGET, WriteKind::UpsertIf)
    }

    /// What a shard would tell, if conditions held for odd versions.
    fn outcomes(command: &Command) -> Vec<PartitionOutcome> {
        let told = command.write.ranges.iter().map(|range| {
            let bytes = command
                .body
                .slice(range.offset as usize..(range.offset + range.length) as usize);
            let (_, batches) = read_stream(bytes, usize::MAX).unwrap();
            let versions = batches[0].column_by_name(IF_ROW_VERSION_COLUMN).unwrap();
            let mut matched = vec![0; (range.rows as usize).div_ceil(8)];
            for (at, version) in versions.as_primitive::<UInt64Type>().values().iter().enumerate() {
                matched[at / 8] |= ((version % 2) as u8) << (at % 8);
            }
            PartitionOutcome {
                partition: range.partition,
                rows: range.rows,
                matched: matched.into(),
                rows_matched: 0,
            }
        });
        told.collect()
    }

    #[test]
    fn outcomes_find_back_to_the_rows_of_the_call() {
        let batch = batch_of_all_kinds(50);
        let conditional = of(&batch, (0..50).collect()).unwrap();
        assert_eq!(conditional.command.write.kind(), WriteKind::UpsertIf);
        let mut told = outcomes(&conditional.command);
        assert!(told.len() > 1, "more than one partition");
        let even: Vec<u32> = (0..50).step_by(2).collect();
        assert_eq!(conditional.unmatched(told.iter()).unwrap(), even);
        // What is told of fewer rows, or of others, is no outcome.
        assert!(conditional.unmatched(told[1..].iter()).is_err());
        told[0].rows += 1;
        assert!(conditional.unmatched(told.iter()).is_err());
    }

    #[test]
    fn no_id_comes_twice() {
        let picks = arrow::array::UInt32Array::from(vec![3, 1, 2, 1, 3]);
        let batch = take_record_batch(&batch_of_all_kinds(5), &picks).unwrap();
        let error = of(&batch, vec![0; 5]).unwrap_err();
        assert_eq!(
            (error.code, error.field.as_deref()),
            (ErrorCode::InvalidValue, Some("rows[3]"))
        );
    }
}
