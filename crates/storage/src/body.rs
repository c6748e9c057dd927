//! What does the body of a write say? Decodes and checks it whole, before anything is changed.
//!
//! Routers validate what they send, so a body that fails here is a defect or a damaged log, not a user's mistake. The
//! checks are those without which the replica could hold what it cannot give back.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use arrow::array::{Array, ArrayRef, AsArray, PrimitiveArray, RecordBatch, UInt64Array, new_null_array};
use arrow::buffer::{BooleanBuffer, Buffer};
use arrow::compute::{concat, filter};
use arrow::datatypes::{ArrowPrimitiveType, Float16Type, Float32Type, Float64Type, UInt64Type};
use arrow_schema::{DataType, Field, SchemaRef};
use longbow_query::rank::IF_ROW_VERSION_COLUMN;
use longbow_types::{Error, ErrorCode, Result, Schema, VectorElement};

use crate::Layout;
use crate::ipc::{batches_from_ipc, malformed};

/// Rows of an upsert, decoded.
pub(crate) struct Rows {
    /// Columns in stored order, without `_row_version`. They may share memory with the whole body. Vectors that rows need
    /// not have are there as lists, or where no row tells one as the nulls that are stored.
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
        check_fields(&schema, &told(layout, &schema, is_needed))?;
        Self::of(layout, &schema, &batches, rows)
    }

    /// Decodes the body of an upsert with conditions: the rows, and the versions that they ask for.
    pub(crate) fn decode_if(layout: &Layout, body: &[u8], rows: u32) -> Result<(Self, UInt64Array)> {
        let (schema, batches) = batches_from_ipc(body)?;
        let versions = version_field();
        let mut want = told(layout, &schema, is_needed);
        want.push(&versions);
        check_fields(&schema, &want)?;
        let decoded = Self::of(layout, &schema, &batches, rows)?;
        Ok((decoded, versions_of(&schema, &batches)?))
    }

    fn of(layout: &Layout, schema: &SchemaRef, batches: &[RecordBatch], rows: u32) -> Result<Self> {
        check_rows(batches, rows)?;
        let position = position(schema, layout.schema().vector_name())?;
        let vectors = batches
            .iter()
            .map(|batch| vectors(layout, batch.column(position)));
        let vectors = vectors.collect::<Result<Vec<_>>>()?;
        let mut columns = Vec::with_capacity(layout.sources().len());
        for (stored, &source) in layout.sources().iter().enumerate() {
            let name = layout.schema().name_at(source);
            columns.push(match schema.column_with_name(name) {
                // Only vectors that rows need not have are left out.
                None => new_null_array(layout.stored().field(stored).data_type(), rows as usize),
                Some((at, _)) => checked(layout, stored, column(batches, at, schema)?)?,
            });
        }
        Ok(Self {
            columns,
            vectors,
            rows: rows as usize,
        })
    }

    /// Some of the rows, with vectors of `width` bytes.
    pub(crate) fn only(self, rows: &BooleanBuffer, width: usize) -> Result<Self> {
        let count = rows.count_set_bits();
        if count == self.rows {
            return Ok(self);
        }
        let vectors = self.vector_bytes();
        let mut kept = Vec::with_capacity(count * width);
        rows.set_indices()
            .for_each(|row| kept.extend_from_slice(&vectors[row * width..][..width]));
        let mask = rows.clone().into();
        let columns = self.columns.iter().map(|column| filter(column, &mask));
        Ok(Self {
            columns: columns
                .collect::<std::result::Result<_, _>>()
                .map_err(|error| malformed(&error.to_string()))?,
            vectors: vec![Buffer::from_vec(kept)],
            rows: count,
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
    check_fields(&schema, &[id_field(layout)])?;
    check_rows(&batches, rows)?;
    column(&batches, 0, &schema)
}

/// Decodes the body of a delete with conditions: the ids, and the versions that they ask for.
pub(crate) fn decode_ids_if(layout: &Layout, body: &[u8], rows: u32) -> Result<(ArrayRef, UInt64Array)> {
    let (schema, batches) = batches_from_ipc(body)?;
    check_fields(&schema, &[id_field(layout), &version_field()])?;
    check_rows(&batches, rows)?;
    Ok((column(&batches, 0, &schema)?, versions_of(&schema, &batches)?))
}

/// Columns of rows that are there already, decoded.
pub(crate) struct Changes {
    /// By their positions among the stored columns; the id is one of them.
    pub(crate) columns: BTreeMap<usize, ArrayRef>,
    /// Vectors, row after row, if they change.
    pub(crate) vectors: Option<Vec<u8>>,
    /// The version that each row asks for.
    pub(crate) versions: UInt64Array,
}

impl Changes {
    /// Decodes the body of an update.
    pub(crate) fn decode(layout: &Layout, body: &[u8], rows: u32) -> Result<Self> {
        let (schema, batches) = batches_from_ipc(body)?;
        let versions = version_field();
        let mut want = told(layout, &schema, |schema, at| at == schema.id_position());
        want.push(&versions);
        check_fields(&schema, &want)?;
        check_rows(&batches, rows)?;
        let mut columns = BTreeMap::new();
        for (stored, &source) in layout.sources().iter().enumerate() {
            let name = layout.schema().arrow().field(source).name();
            if let Some((at, _)) = schema.column_with_name(name) {
                columns.insert(stored, checked(layout, stored, column(&batches, at, &schema)?)?);
            }
        }
        let vector = schema.column_with_name(layout.schema().vector_name());
        let vectors = vector.map(|(at, _)| {
            let parts = batches.iter().map(|batch| vectors(layout, batch.column(at)));
            let parts = parts.collect::<Result<Vec<Buffer>>>()?;
            Ok(parts.iter().flat_map(|part| part.as_slice()).copied().collect())
        });
        Ok(Self {
            columns,
            vectors: vectors.transpose()?,
            versions: versions_of(&schema, &batches)?,
        })
    }
}

/// The dataset's fields that a write tells, and those that it must.
fn told<'a>(layout: &'a Layout, body: &SchemaRef, must: impl Fn(&Schema, usize) -> bool) -> Vec<&'a Field> {
    let names: BTreeSet<&str> = body.fields().iter().map(|field| field.name().as_str()).collect();
    let fields = layout.schema().arrow().fields().iter().enumerate();
    let told =
        fields.filter(|(at, field)| names.contains(field.name().as_str()) || must(layout.schema(), *at));
    told.map(|(_, field)| field.as_ref()).collect()
}

/// Whether whole rows tell a column: all but vectors that rows need not have.
fn is_needed(schema: &Schema, position: usize) -> bool {
    position == schema.vector().position || schema.vector_at(position).is_none()
}

fn position(body: &SchemaRef, name: &str) -> Result<usize> {
    let found = body.column_with_name(name);
    found
        .map(|(at, _)| at)
        .ok_or_else(|| malformed("a column is missing that was there"))
}

/// A column as it came; vectors that rows need not have are looked at.
fn checked(layout: &Layout, stored: usize, column: ArrayRef) -> Result<ArrayRef> {
    let Some(at) = layout.further_at(stored) else {
        return Ok(column);
    };
    let vector = layout.further()[at].vector;
    let lists = column
        .as_fixed_size_list_opt()
        .filter(|lists| lists.values().len() == lists.len() * vector.dimension)
        .ok_or_else(|| malformed("a vector column is not as long as its rows"))?;
    let is_spoilt = |row: usize| lists.is_valid(row) && lists.value(row).null_count() > 0;
    if lists.values().null_count() > 0 && (0..lists.len()).any(is_spoilt) {
        let name = layout.schema().name_at(vector.position).to_owned();
        return Err(Error::new(ErrorCode::NullNotAllowed, "a vector holds a null").field(name));
    }
    Ok(column)
}

fn id_field(layout: &Layout) -> &Field {
    layout.schema().arrow().field(layout.schema().id_position())
}

fn version_field() -> Field {
    Field::new(IF_ROW_VERSION_COLUMN, DataType::UInt64, false)
}

/// The last column.
fn versions_of(schema: &SchemaRef, batches: &[RecordBatch]) -> Result<UInt64Array> {
    let versions = column(batches, schema.fields().len() - 1, schema)?;
    if versions.null_count() > 0 {
        let message = "a condition is null";
        return Err(Error::new(ErrorCode::NullNotAllowed, message).field(IF_ROW_VERSION_COLUMN));
    }
    Ok(versions.as_primitive::<UInt64Type>().clone())
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
fn check_fields(have: &SchemaRef, want: &[&Field]) -> Result<()> {
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
