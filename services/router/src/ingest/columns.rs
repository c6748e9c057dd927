//! How does a batch from outside become a batch of the dataset?
//!
//! Columns may come in any order and in any encoding of the same meaning; those that are nullable or have a default may
//! be left out. What comes out has exactly the dataset's Arrow schema, but for vectors that rows need not have, which are
//! left out where they were, and every row in it would be accepted by every shard.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow_schema::{DataType, Field};
use longbow_query::fill;
use longbow_types::{Error, ErrorCode, IdKind, Result, Schema, id::check_utf8};

use super::{scalars, vectors};

/// Turns a batch into one of the dataset's schema, having checked every value.
///
/// `first_row` is the row of the call that the batch starts with: errors name `rows[i].<column>`.
///
/// # Errors
/// `UNKNOWN_COLUMN`, `MISSING_FIELD`, `TYPE_MISMATCH`, `NULL_NOT_ALLOWED`, `INVALID_VALUE`, and those of
/// [`vectors::adapt`].
pub fn adapt(batch: &RecordBatch, schema: &Schema, first_row: usize) -> Result<RecordBatch> {
    let source = batch.schema_ref();
    for (position, field) in source.fields().iter().enumerate() {
        schema.column(field.name())?;
        if source.fields()[..position]
            .iter()
            .any(|other| other.name() == field.name())
        {
            let message = format!("the column {:?} is there twice", field.name());
            return Err(Error::new(ErrorCode::SchemaMismatch, message).field(field.name().clone()));
        }
    }
    let mut fields = Vec::with_capacity(schema.arrow().fields().len());
    let mut columns = Vec::with_capacity(fields.capacity());
    for (position, field) in schema.arrow().fields().iter().enumerate() {
        let at = |row: usize| format!("rows[{}].{}", first_row + row, field.name());
        let column = match (batch.column_by_name(field.name()), schema.vector_at(position)) {
            // Nulls would be as wide as vectors.
            (None, Some(_)) if field.is_nullable() => continue,
            (None, _) => left_out(schema, position, batch.num_rows())?,
            (Some(column), Some(vector)) => vectors::adapt(column, schema, &vector, first_row)?,
            (Some(column), None) => {
                let column = scalars::adapt(column, field, &at)?;
                check_nulls(&column, field, &at)?;
                if position == schema.id_position() {
                    check_ids(&column, schema.id_kind(), &at)?;
                }
                column
            }
        };
        fields.push(Arc::clone(field));
        columns.push(column);
    }
    RecordBatch::try_new(Arc::new(arrow_schema::Schema::new(fields)), columns)
        .map_err(|error| Error::new(ErrorCode::Internal, error.to_string()))
}

/// A batch of the id column alone.
///
/// # Errors
/// `INTERNAL` if the array is of another type.
pub fn id_batch(ids: ArrayRef, schema: &Schema) -> Result<RecordBatch> {
    let field = schema.arrow().field(schema.id_position()).clone();
    RecordBatch::try_new(Arc::new(arrow_schema::Schema::new(vec![field])), vec![ids])
        .map_err(|error| Error::new(ErrorCode::Internal, error.to_string()))
}

fn check_nulls(column: &ArrayRef, field: &Field, at: &dyn Fn(usize) -> String) -> Result<()> {
    if field.is_nullable() || column.null_count() == 0 {
        return Ok(());
    }
    let row = (0..column.len()).find(|&row| column.is_null(row)).unwrap_or(0);
    let message = format!("the column {:?} cannot be null", field.name());
    Err(Error::new(ErrorCode::NullNotAllowed, message).field(at(row)))
}

fn check_ids(column: &ArrayRef, kind: IdKind, at: &dyn Fn(usize) -> String) -> Result<()> {
    if kind != IdKind::Utf8 || *column.data_type() != DataType::Utf8 {
        return Ok(());
    }
    for (row, id) in column.as_string::<i32>().iter().enumerate() {
        if let Some(id) = id
            && check_utf8(id, "").is_err()
        {
            return check_utf8(id, &at(row));
        }
    }
    Ok(())
}

/// What rows hold in a column that their write leaves out.
fn left_out(schema: &Schema, position: usize, rows: usize) -> Result<ArrayRef> {
    let field = schema.arrow().field(position);
    let default = schema.default_of(position);
    if default.is_none() && !field.is_nullable() {
        return Err(missing(field));
    }
    fill::repeated(&fill::one(default, field.data_type())?, rows)
}

fn missing(field: &Field) -> Error {
    let message = format!("the column {:?} is missing and cannot be null", field.name());
    Error::new(ErrorCode::MissingField, message).field(field.name().clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{batch_of_all_kinds, schema_of_all_kinds};
    use arrow::array::{Int64Array, StringArray, UInt64Array};
    use arrow::compute::concat_batches;
    use longbow_types::{DefaultValue, limits::ID_BYTES_MAX};

    fn without(batch: &RecordBatch, name: &str) -> RecordBatch {
        let keep: Vec<usize> = (0..batch.num_columns())
            .filter(|&i| batch.schema_ref().field(i).name() != name)
            .collect();
        batch.project(&keep).unwrap()
    }

    fn with(batch: &RecordBatch, name: &str, column: ArrayRef) -> RecordBatch {
        let rest = without(batch, name);
        let mut fields: Vec<_> = rest.schema_ref().fields().iter().cloned().collect();
        fields.push(Arc::new(Field::new(name, column.data_type().clone(), true)));
        let mut columns = rest.columns().to_vec();
        columns.push(column);
        RecordBatch::try_new(Arc::new(arrow_schema::Schema::new(fields)), columns).unwrap()
    }

    #[test]
    fn columns_may_come_in_any_order_and_nullable_ones_not_at_all() {
        let schema = schema_of_all_kinds();
        let batch = batch_of_all_kinds(4);
        let order: Vec<usize> = (0..batch.num_columns()).rev().collect();
        let adapted = adapt(&batch.project(&order).unwrap(), &schema, 0).unwrap();
        assert_eq!(adapted, batch);
        let adapted = adapt(&without(&batch, "utf8"), &schema, 0).unwrap();
        assert_eq!(adapted.column_by_name("utf8").unwrap().null_count(), 4);
        // Batches of one dataset are of one schema, however they came.
        concat_batches(schema.arrow(), [&adapted, &batch]).unwrap();
    }

    #[test]
    fn columns_left_out_hold_their_default() {
        let schema = schema_of_all_kinds()
            .with_default("required", DefaultValue::Int(-7))
            .unwrap()
            .with_default("utf8", DefaultValue::Text("none".into()))
            .unwrap();
        let batch = batch_of_all_kinds(3);
        let left_out = without(&without(&batch, "required"), "utf8");
        let adapted = adapt(&left_out, &schema, 0).unwrap();
        let numbers: &Int64Array = adapted.column_by_name("required").unwrap().as_primitive();
        assert_eq!(numbers.values()[..], [-7; 3]);
        let texts = adapted.column_by_name("utf8").unwrap().as_string::<i32>();
        assert!(texts.iter().all(|text| text == Some("none")));
        // What is told stays, also a null.
        let null: ArrayRef = Arc::new(StringArray::from(vec![None::<&str>; 3]));
        let adapted = adapt(&with(&batch, "utf8", null), &schema, 0).unwrap();
        assert_eq!(adapted.column_by_name("utf8").unwrap().null_count(), 3);
    }

    #[test]
    fn what_does_not_fit_is_refused_by_name() {
        let schema = schema_of_all_kinds();
        let batch = batch_of_all_kinds(2);
        let text = |texts: Vec<Option<&str>>| Arc::new(StringArray::from(texts)) as ArrayRef;
        let numbers = || Arc::new(UInt64Array::from(vec![1, 2])) as ArrayRef;
        let long = "x".repeat(ID_BYTES_MAX + 1);
        let cases = [
            (
                with(&batch, "color", numbers()),
                ErrorCode::UnknownColumn,
                "color",
            ),
            (without(&batch, "id"), ErrorCode::MissingField, "id"),
            (without(&batch, "vector"), ErrorCode::MissingField, "vector"),
            (without(&batch, "required"), ErrorCode::MissingField, "required"),
            (with(&batch, "utf8", numbers()), ErrorCode::TypeMismatch, "utf8"),
            (
                with(&batch, "vector", numbers()),
                ErrorCode::TypeMismatch,
                "vector",
            ),
            (with(&batch, "id", numbers()), ErrorCode::TypeMismatch, "id"),
            (
                with(&batch, "id", text(vec![Some("a"), None])),
                ErrorCode::NullNotAllowed,
                "rows[8].id",
            ),
            (
                with(&batch, "id", text(vec![Some("a"), Some("")])),
                ErrorCode::InvalidValue,
                "rows[8].id",
            ),
            (
                with(&batch, "id", text(vec![Some(&long), Some("b")])),
                ErrorCode::InvalidValue,
                "rows[7].id",
            ),
            (
                with(
                    &batch,
                    "required",
                    Arc::new(Int64Array::from(vec![None, Some(1)])),
                ),
                ErrorCode::NullNotAllowed,
                "rows[7].required",
            ),
        ];
        for (batch, code, field) in cases {
            let error = adapt(&batch, &schema, 7).unwrap_err();
            assert_eq!(
                (error.code, error.field.as_deref()),
                (code, Some(field)),
                "{error}"
            );
        }
        let twice: Vec<usize> = [0, 0].into_iter().chain(1..batch.num_columns()).collect();
        let error = adapt(&batch.project(&twice).unwrap(), &schema, 0).unwrap_err();
        assert_eq!(error.code, ErrorCode::SchemaMismatch);
    }
}
