//! Row ids: messages, the shared type, and Arrow columns.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, StringArray, UInt64Array};
use longbow_types::{Error, ErrorCode, IdKind, Result, RowId};
use longbow_wire::v1::{self, row_id::Kind};

/// The id of a message, checked to be one that a dataset of `kind` may hold.
///
/// # Errors
/// `MISSING_FIELD`, `TYPE_MISMATCH` or `INVALID_VALUE`, naming `field`.
pub fn id_from_proto(id: Option<&v1::RowId>, kind: IdKind, field: &str) -> Result<RowId> {
    let id = match id.and_then(|id| id.kind.as_ref()) {
        Some(Kind::U64(id)) => RowId::U64(*id),
        Some(Kind::I64(id)) => RowId::I64(*id),
        Some(Kind::Utf8(id)) => RowId::Utf8(id.as_str().into()),
        None => {
            return Err(Error::new(ErrorCode::MissingField, "the id is missing")
                .field(field.to_owned())
                .limit(kind));
        }
    };
    id.check(kind, field)?;
    Ok(id)
}

/// The message of an id.
pub fn id_to_proto(id: &RowId) -> v1::RowId {
    let kind = match id {
        RowId::U64(id) => Kind::U64(*id),
        RowId::I64(id) => Kind::I64(*id),
        RowId::Utf8(id) => Kind::Utf8(id.to_string()),
    };
    v1::RowId { kind: Some(kind) }
}

/// Ids of one kind as a column. Ids of another kind are left out: callers have checked them.
pub fn id_array<'a>(ids: impl Iterator<Item = &'a RowId>, kind: IdKind) -> ArrayRef {
    match kind {
        IdKind::U64 => Arc::new(UInt64Array::from_iter_values(ids.filter_map(|id| match id {
            RowId::U64(id) => Some(*id),
            _ => None,
        }))),
        IdKind::I64 => Arc::new(Int64Array::from_iter_values(ids.filter_map(|id| match id {
            RowId::I64(id) => Some(*id),
            _ => None,
        }))),
        IdKind::Utf8 => Arc::new(StringArray::from_iter_values(ids.filter_map(|id| match id {
            RowId::Utf8(id) => Some(id.as_ref()),
            _ => None,
        }))),
    }
}
