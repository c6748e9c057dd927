//! One row to write, spelt out; and row ids on the wire.

use std::collections::BTreeMap;

use longbow_types::{Error, ErrorCode, Result, RowId};
use longbow_wire::v1;

use crate::value::Value;

/// One row to write. Columns left out are null.
///
/// ```
/// use longbow_client::Row;
///
/// let row = Row::new(7_u64)
///     .vector(vec![0.1, 0.2, 0.3])
///     .column("pos", "noun")
///     .column("lemmas", vec!["dog", "domestic dog"])
///     .column("word_count", 2);
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    id: RowId,
    vector: Vec<f32>,
    columns: BTreeMap<String, Value>,
}

impl Row {
    /// A row with an id; `u64`, `i64` and text become ids of those kinds.
    pub fn new(id: impl IntoRowId) -> Self {
        Self {
            id: id.into_row_id(),
            vector: Vec::new(),
            columns: BTreeMap::new(),
        }
    }

    /// Sets the vector; its length must be the dataset's dimension.
    #[must_use]
    pub fn vector(mut self, vector: impl Into<Vec<f32>>) -> Self {
        self.vector = vector.into();
        self
    }

    /// Sets the vector of a further vector column; its length must be that column's dimension. A row without one, or with a
    /// [`Value::Null`], has no value there.
    #[must_use]
    pub fn further_vector(self, column: impl Into<String>, vector: impl Into<Vec<f32>>) -> Self {
        self.column(column, Value::Vector(vector.into()))
    }

    /// Sets a column.
    #[must_use]
    pub fn column(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.columns.insert(name.into(), value.into());
        self
    }

    pub(crate) fn into_proto(self) -> v1::Row {
        v1::Row {
            id: Some(id_to_proto(&self.id)),
            vector: Some(v1::Vector { values: self.vector }),
            columns: columns_to_proto(self.columns),
        }
    }

    /// Rough size on the wire, to keep messages below their limit.
    pub(crate) fn wire_bytes(&self) -> usize {
        let columns = self.columns.iter().map(|(name, value)| {
            name.len()
                + 16
                + match value {
                    Value::Utf8(text) => text.len(),
                    Value::Binary(bytes) => bytes.len(),
                    Value::Utf8List(list) => list.iter().map(|text| text.len() + 4).sum(),
                    Value::List(list) => list.iter().map(item_bytes).sum(),
                    children @ Value::Struct(_) => item_bytes(children),
                    Value::Vector(values) => values.len() * 4,
                    Value::Vector64(values) => values.len() * 8,
                    _ => 8,
                }
        });
        self.vector.len() * 4 + 32 + columns.sum::<usize>()
    }
}

/// Rough size of an item of a list, or of a struct, on the wire.
fn item_bytes(item: &Value) -> usize {
    match item {
        Value::Utf8(text) => text.len() + 8,
        Value::Binary(bytes) => bytes.len() + 8,
        Value::Utf8List(list) => list.iter().map(|text| text.len() + 4).sum(),
        Value::List(list) => list.iter().map(item_bytes).sum(),
        Value::Struct(children) => {
            let children = children.iter();
            children
                .map(|(name, value)| name.len() + 8 + item_bytes(value))
                .sum()
        }
        _ => 16,
    }
}

/// What can be a row id.
pub trait IntoRowId {
    /// The id.
    fn into_row_id(self) -> RowId;
}

macro_rules! into_row_id {
    ($($source:ty => |$id:ident| $make:expr;)*) => {
        $(impl IntoRowId for $source {
            fn into_row_id(self) -> RowId {
                let $id = self;
                $make
            }
        })*
    };
}

into_row_id! {
    RowId => |id| id;
    &RowId => |id| id.clone();
    u64 => |id| RowId::U64(id);
    u32 => |id| RowId::U64(id.into());
    i64 => |id| RowId::I64(id);
    &str => |id| RowId::Utf8(id.into());
    String => |id| RowId::Utf8(id.into());
}

pub(crate) fn id_to_proto(id: &RowId) -> v1::RowId {
    use v1::row_id::Kind;
    let kind = match id {
        RowId::U64(id) => Kind::U64(*id),
        RowId::I64(id) => Kind::I64(*id),
        RowId::Utf8(id) => Kind::Utf8(id.to_string()),
    };
    v1::RowId { kind: Some(kind) }
}

pub(crate) fn id_from_proto(id: Option<v1::RowId>) -> Result<RowId> {
    use v1::row_id::Kind;
    match id.and_then(|id| id.kind) {
        Some(Kind::U64(id)) => Ok(RowId::U64(id)),
        Some(Kind::I64(id)) => Ok(RowId::I64(id)),
        Some(Kind::Utf8(id)) => Ok(RowId::Utf8(id.into())),
        None => Err(Error::new(ErrorCode::Internal, "the server sent a row without an id").field("id")),
    }
}

pub(crate) fn columns_to_proto(columns: BTreeMap<String, Value>) -> BTreeMap<String, v1::Value> {
    columns
        .into_iter()
        .map(|(name, value)| (name, value.into_proto()))
        .collect()
}

pub(crate) fn columns_from_proto(columns: BTreeMap<String, v1::Value>) -> BTreeMap<String, Value> {
    columns
        .into_iter()
        .map(|(name, value)| (name, Value::from_proto(value)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_survive_the_wire() {
        for id in [1_u64.into_row_id(), (-1_i64).into_row_id(), "dog".into_row_id()] {
            assert_eq!(id_from_proto(Some(id_to_proto(&id))).unwrap(), id);
        }
        assert!(id_from_proto(None).is_err());
    }
}
