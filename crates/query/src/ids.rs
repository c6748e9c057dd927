//! What ids does a column hold? The three kinds of id columns behind one typed view.

use std::cmp::Ordering;

use arrow::array::{Array, AsArray, Int64Array, StringArray, UInt64Array};
use arrow::datatypes::{Int64Type, UInt64Type};
use arrow_schema::DataType;
use longbow_types::{Error, ErrorCode, IdKind, Result, RowId};

/// An id column, typed.
#[derive(Debug, Clone, Copy)]
pub enum Ids<'a> {
    /// Unsigned 64-bit ids.
    U64(&'a UInt64Array),
    /// Signed 64-bit ids.
    I64(&'a Int64Array),
    /// UTF-8 ids.
    Utf8(&'a StringArray),
}

impl<'a> Ids<'a> {
    /// Looks at an array as ids.
    ///
    /// # Errors
    /// `TYPE_MISMATCH` if it is of no id type, `NULL_NOT_ALLOWED` if it holds a null.
    pub fn new(array: &'a dyn Array) -> Result<Self> {
        if array.null_count() > 0 {
            return Err(Error::new(ErrorCode::NullNotAllowed, "an id is null").field("id"));
        }
        match array.data_type() {
            DataType::UInt64 => Ok(Ids::U64(array.as_primitive::<UInt64Type>())),
            DataType::Int64 => Ok(Ids::I64(array.as_primitive::<Int64Type>())),
            DataType::Utf8 => Ok(Ids::Utf8(array.as_string::<i32>())),
            other => {
                let message = format!("a column of type {other} cannot hold ids");
                Err(Error::new(ErrorCode::TypeMismatch, message)
                    .field("id")
                    .limit("uint64, int64 or utf8"))
            }
        }
    }

    /// Kind of the ids.
    pub fn kind(&self) -> IdKind {
        match self {
            Ids::U64(_) => IdKind::U64,
            Ids::I64(_) => IdKind::I64,
            Ids::Utf8(_) => IdKind::Utf8,
        }
    }

    /// Number of ids.
    pub fn len(&self) -> usize {
        match self {
            Ids::U64(ids) => ids.len(),
            Ids::I64(ids) => ids.len(),
            Ids::Utf8(ids) => ids.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The id of a row. Panics beyond the end.
    pub fn get(&self, row: usize) -> RowId {
        match self {
            Ids::U64(ids) => RowId::U64(ids.value(row)),
            Ids::I64(ids) => RowId::I64(ids.value(row)),
            Ids::Utf8(ids) => RowId::Utf8(ids.value(row).into()),
        }
    }

    /// Orders the id of a row against the id of a row of another column of the same kind. Columns of different kinds
    /// order by kind.
    pub fn compare(&self, row: usize, other: &Ids<'_>, other_row: usize) -> Ordering {
        match (self, other) {
            (Ids::U64(a), Ids::U64(b)) => a.value(row).cmp(&b.value(other_row)),
            (Ids::I64(a), Ids::I64(b)) => a.value(row).cmp(&b.value(other_row)),
            (Ids::Utf8(a), Ids::Utf8(b)) => a.value(row).cmp(b.value(other_row)),
            (a, b) => a.kind().as_str().cmp(b.kind().as_str()),
        }
    }
}
