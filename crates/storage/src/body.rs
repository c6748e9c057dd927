//! What does the body of a write say? Decodes and checks it whole, before anything is changed.
//!
//! Routers validate what they send, so a body that fails here is a defect or a damaged log, not a user's mistake. The
//! checks are those without which the replica could hold what it cannot give back.

use std::borrow::Cow;

use arrow::array::{Array, ArrayRef, AsArray, PrimitiveArray, RecordBatch};
use arrow::buffer::Buffer;
use arrow::compute::concat;
use arrow::datatypes::{ArrowPrimitiveType, Float16Type, Float32Type, Float64Type};
use arrow_schema::{Field, SchemaRef};
use longbow_types::{Error, ErrorCode, Result, VectorElement};

use crate::Layout;
use crate::ipc::{batches_from_ipc, malformed};

/// Rows of an upsert, decoded.
pub(crate) struct Rows {
    /// Columns in stored order, without `_row_version`. They may share memory with the whole body.
    pub(crate) columns: Vec<ArrayRef>,
    /// Vectors, row after row, in native byte order.
    pub(crate) vectors: Vec<Buffer>,
    /// Number of rows.
    pub(crate) rows: usize,
}

impl Rows {
    /// Decodes the body of an upsert.
    pub(crate) fn decode(layout: &Layout, body: &[u8], rows: u32) -> Result<Self> {
        let (schema, batches) = batches_from_ipc(body)?;
        check_fields(
            &schema,
            layout.schema().arrow().fields().iter().map(AsRef::as_ref),
        )?;
        check_rows(&batches, rows)?;
        let position = layout.schema().vector().position;
        let vectors = batches
            .iter()
            .map(|batch| vectors(layout, batch.column(position)));
        let vectors = vectors.collect::<Result<Vec<_>>>()?;
        let columns = layout
            .sources()
            .iter()
            .map(|&source| column(&batches, source, &schema));
        Ok(Self {
            columns: columns.collect::<Result<Vec<_>>>()?,
            vectors,
            rows: rows as usize,
        })
    }

    /// All vectors as one run of bytes.
    pub(crate) fn vector_bytes(&self) -> Cow<'_, [u8]> {
        match self.vectors.as_slice() {
            [one] => Cow::Borrowed(one.as_slice()),
            many => Cow::Owned(many.iter().flat_map(|part| part.as_slice()).copied().collect()),
        }
    }
}

/// Decodes the body of a delete: the ids.
pub(crate) fn decode_ids(layout: &Layout, body: &[u8], rows: u32) -> Result<ArrayRef> {
    let (schema, batches) = batches_from_ipc(body)?;
    let schema_id = layout.schema().id_position();
    check_fields(&schema, std::iter::once(layout.schema().arrow().field(schema_id)))?;
    check_rows(&batches, rows)?;
    column(&batches, 0, &schema)
}

fn column(batches: &[RecordBatch], position: usize, schema: &SchemaRef) -> Result<ArrayRef> {
    match batches {
        [one] => Ok(one.column(position).clone()),
        [] => Ok(arrow::array::new_empty_array(schema.field(position).data_type())),
        many => {
            let parts: Vec<&dyn Array> = many.iter().map(|batch| batch.column(position).as_ref()).collect();
            concat(&parts).map_err(|error| malformed(&error.to_string()))
        }
    }
}

/// Names, types and nullability must be those of the dataset; metadata does not matter.
fn check_fields<'a>(have: &SchemaRef, want: impl ExactSizeIterator<Item = &'a Field>) -> Result<()> {
    if have.fields().len() != want.len() {
        let message = format!("a write has {} columns, not {}", have.fields().len(), want.len());
        return Err(Error::new(ErrorCode::SchemaMismatch, message)
            .field("columns")
            .limit(want.len()));
    }
    for (have, want) in have.fields().iter().zip(want) {
        if have.name() != want.name()
            || have.data_type() != want.data_type()
            || (have.is_nullable() && !want.is_nullable())
        {
            let message = format!("a write's column {have} is not the dataset's {want}");
            return Err(Error::new(ErrorCode::SchemaMismatch, message).field(want.name().clone()));
        }
    }
    Ok(())
}

fn check_rows(batches: &[RecordBatch], rows: u32) -> Result<()> {
    let have: usize = batches.iter().map(RecordBatch::num_rows).sum();
    if have != rows as usize {
        return Err(malformed(&format!(
            "it holds {have} rows where its header says {rows}"
        )));
    }
    Ok(())
}

/// The bytes of a vector column.
fn vectors(layout: &Layout, column: &ArrayRef) -> Result<Buffer> {
    let lists = column
        .as_fixed_size_list_opt()
        .ok_or_else(|| malformed("the vector column is not a list"))?;
    if lists.null_count() > 0 || lists.values().null_count() > 0 {
        let name = layout.schema().vector_name().to_owned();
        return Err(Error::new(ErrorCode::NullNotAllowed, "a vector is null or holds a null").field(name));
    }
    // A list array's values are exactly those of its rows, also where it is a slice.
    let values = lists.values();
    if values.len() != lists.len() * layout.schema().vector().dimension {
        return Err(malformed("the vector column is not as long as its rows"));
    }
    Ok(match layout.schema().vector().element {
        VectorElement::F16 => raw(values.as_primitive::<Float16Type>()),
        VectorElement::F32 => raw(values.as_primitive::<Float32Type>()),
        VectorElement::F64 => raw(values.as_primitive::<Float64Type>()),
    })
}

fn raw<T: ArrowPrimitiveType>(values: &PrimitiveArray<T>) -> Buffer {
    values.values().inner().clone()
}
