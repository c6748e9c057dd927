//! Copies runs of rows of some columns into a new one: whole runs at a time, whatever the type.
//!
//! Values of fixed width are copied as they lie, bits (of validity and of booleans) are shifted into place by the word,
//! offsets of texts and lists are moved by a constant for each run and their values copied as they lie, and the children
//! of lists and structs are copied by the same rules. Nothing is looked at row by row, and memory is asked for once.

mod bits;

use std::sync::Arc;

use arrow::array::{
    Array, ArrayData, ArrayRef, AsArray, BooleanArray, Capacities, ListArray, MutableArrayData, make_array,
};
use arrow::buffer::{BooleanBuffer, NullBuffer};
use arrow::compute::concat;
use arrow_schema::{ArrowError, DataType};
use longbow_types::{Error, ErrorCode, Result};

use bits::Bits;

/// Consecutive rows of one of several columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    /// Which column.
    pub source: usize,
    /// The first row.
    pub start: usize,
    /// Rows, at least one.
    pub len: usize,
}

/// Rows copied between two looks at whether to go on.
const PIECE_ROWS: usize = 1 << 14;

/// The rows of some runs, one run after the other. Columns are of one type; there are at least one of them and one run.
///
/// The copy shares no memory with the columns, but for the values of dictionaries that all have in common. `cancel` is
/// asked again and again.
///
/// # Errors
/// `CANCELLED`; `INTERNAL` if columns differ in type or the copy would be too long for its type.
///
/// # Panics
/// If there is no column.
pub fn copy(columns: &[&dyn Array], runs: &[Run], cancel: &dyn Fn() -> bool) -> Result<ArrayRef> {
    let data_type = columns[0].data_type();
    if let Some(other) = columns.iter().find(|column| column.data_type() != data_type) {
        let message = format!("columns of type {data_type} and {}", other.data_type());
        return Err(failed(ArrowError::InvalidArgumentError(message)));
    }
    match data_type {
        // The values of dictionaries are those of all columns: only where they are merged do keys stay as short.
        DataType::Dictionary(..) => {
            let parts: Vec<ArrayRef> = runs
                .iter()
                .map(|run| columns[run.source].slice(run.start, run.len))
                .collect();
            let parts: Vec<&dyn Array> = parts.iter().map(AsRef::as_ref).collect();
            concat(&parts).map_err(failed)
        }
        // Views are copied, not what they show: that is gathered here.
        DataType::Utf8View => Ok(Arc::new(blocks(columns, runs, cancel)?.as_string_view().gc())),
        DataType::BinaryView => Ok(Arc::new(blocks(columns, runs, cancel)?.as_binary_view().gc())),
        DataType::Boolean => booleans(columns, runs, cancel),
        _ => blocks(columns, runs, cancel),
    }
}

/// Booleans are nothing but bits, so that it shows whether these are written once.
fn booleans(columns: &[&dyn Array], runs: &[Run], cancel: &dyn Fn() -> bool) -> Result<ArrayRef> {
    let columns: Vec<&BooleanArray> = columns.iter().map(|column| column.as_boolean()).collect();
    let rows = runs.iter().map(|run| run.len).sum();
    let mut values = Bits::with_capacity(rows);
    let has_nulls = columns.iter().any(|column| column.null_count() > 0);
    let mut valid = has_nulls.then(|| Bits::with_capacity(rows));
    for piece in pieces(runs) {
        if cancel() {
            return Err(given_up());
        }
        let column = columns[piece.source];
        values.append(&column.values().slice(piece.start, piece.len));
        if let Some(valid) = &mut valid {
            match column.nulls() {
                Some(nulls) => valid.append(&nulls.inner().slice(piece.start, piece.len)),
                None => valid.append(&BooleanBuffer::new_set(piece.len)),
            }
        }
    }
    let nulls = valid.map(|valid| NullBuffer::new(valid.finish()));
    Ok(Arc::new(BooleanArray::new(values.finish(), nulls)))
}

/// Runs, none of them longer than what is copied between two looks at whether to go on.
fn pieces(runs: &[Run]) -> impl Iterator<Item = Run> + '_ {
    runs.iter().flat_map(|run| {
        let end = run.start + run.len;
        (run.start..end).step_by(PIECE_ROWS).map(move |start| Run {
            start,
            len: (end - start).min(PIECE_ROWS),
            ..*run
        })
    })
}

fn blocks(columns: &[&dyn Array], runs: &[Run], cancel: &dyn Fn() -> bool) -> Result<ArrayRef> {
    let data: Vec<ArrayData> = columns.iter().map(|column| column.to_data()).collect();
    let mut copy =
        MutableArrayData::try_with_capacities(data.iter().collect(), false, capacities(columns, runs))
            .map_err(failed)?;
    for piece in pieces(runs) {
        if cancel() {
            return Err(given_up());
        }
        let end = piece.start + piece.len;
        copy.try_extend(piece.source, piece.start, end).map_err(failed)?;
    }
    Ok(make_array(copy.freeze()))
}

fn given_up() -> Error {
    Error::new(ErrorCode::Cancelled, "the copy was given up")
}

pub(super) fn failed(error: ArrowError) -> Error {
    Error::new(ErrorCode::Internal, format!("copying columns: {error}"))
}

/// The memory that the runs take.
fn capacities(columns: &[&dyn Array], runs: &[Run]) -> Capacities {
    let rows = runs.iter().map(|run| run.len).sum();
    if let DataType::List(_) = columns[0].data_type() {
        let lists: Vec<&ListArray> = columns.iter().map(|column| column.as_list()).collect();
        let children: Vec<&dyn Array> = lists.iter().map(|lists| lists.values().as_ref()).collect();
        let items = runs.iter().map(|run| {
            let offsets = lists[run.source].value_offsets();
            Run {
                source: run.source,
                start: offsets[run.start] as usize,
                len: span(offsets, run),
            }
        });
        let items = items.collect::<Vec<_>>();
        return Capacities::List(rows, Some(Box::new(capacities(&children, &items))));
    }
    if let DataType::Struct(fields) = columns[0].data_type() {
        let children = (0..fields.len()).map(|at| {
            let children = columns
                .iter()
                .map(|column| column.as_struct().column(at).as_ref());
            capacities(&children.collect::<Vec<_>>(), runs)
        });
        return Capacities::Struct(rows, Some(children.collect()));
    }
    let bytes: Option<usize> = runs.iter().map(|run| text_bytes(columns[run.source], run)).sum();
    match bytes {
        Some(bytes) => Capacities::Binary(rows, Some(bytes)),
        None => Capacities::Array(rows),
    }
}

/// Bytes of texts, if a column holds such.
fn text_bytes(column: &dyn Array, run: &Run) -> Option<usize> {
    match column.data_type() {
        DataType::Utf8 => Some(span(column.as_string::<i32>().value_offsets(), run)),
        DataType::Binary => Some(span(column.as_binary::<i32>().value_offsets(), run)),
        DataType::LargeUtf8 => Some(span(column.as_string::<i64>().value_offsets(), run)),
        DataType::LargeBinary => Some(span(column.as_binary::<i64>().value_offsets(), run)),
        _ => None,
    }
}

/// Values that belong to the rows of a run.
fn span<O: Copy + TryInto<usize>>(offsets: &[O], run: &Run) -> usize {
    let at = |row: usize| offsets[row].try_into().unwrap_or(0);
    at(run.start + run.len) - at(run.start)
}

#[cfg(test)]
mod tests;
