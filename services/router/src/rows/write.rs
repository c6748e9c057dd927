//! Rows spelt out in a message, as a batch of the dataset's schema.

use std::{collections::BTreeSet, sync::Arc};

use arrow::array::{ArrayRef, Float64Builder, ListBuilder, RecordBatch};
use longbow_types::{Error, ErrorCode, Result, RowId, Schema, VectorColumn, limits::WRITE_ROWS_MAX};
use longbow_wire::{
    convert::default_value,
    v1::{self, value::Kind},
};

use super::{
    ids::{id_array, id_from_proto},
    values,
};
use crate::ingest::vectors;

/// Checks rows and turns them into a batch.
///
/// # Errors
/// Everything that can be wrong with a row, naming `rows[i].<column>`; `MISSING_FIELD` for none and `TOO_LARGE` for
/// too many rows.
pub fn batch_from_rows(rows: &[v1::Row], schema: &Schema) -> Result<RecordBatch> {
    check_count(rows.len(), "rows")?;
    for (position, row) in rows.iter().enumerate() {
        check_columns(row, position, schema)?;
    }
    let mut fields = Vec::with_capacity(schema.arrow().fields().len());
    let mut columns = Vec::with_capacity(fields.capacity());
    for (position, field) in schema.arrow().fields().iter().enumerate() {
        let column = if position == schema.id_position() {
            ids(rows, schema)?
        } else if position == schema.vector().position {
            vector_column(rows, schema)?
        } else if let Some(vector) = schema.vector_at(position) {
            // Nulls would be as wide as vectors.
            if !rows.iter().any(|row| row.columns.contains_key(field.name())) {
                continue;
            }
            further_column(rows, schema, &vector)?
        } else {
            let at = |row: usize| format!("rows[{row}].{}", field.name());
            let default = schema.default_of(position).map(default_value::to_proto);
            let cells: Vec<Option<&v1::Value>> = rows
                .iter()
                .map(|row| row.columns.get(field.name()).or(default.as_ref()))
                .collect();
            values::column(&cells, field, &at)?
        };
        fields.push(field.clone());
        columns.push(column);
    }
    RecordBatch::try_new(Arc::new(arrow_schema::Schema::new(fields)), columns)
        .map_err(|error| Error::new(ErrorCode::Internal, error.to_string()))
}

/// Checks rows that tell some columns and turns them into a batch of these, in the order of the schema, and the id's place
/// in it.
///
/// # Errors
/// Those of [`batch_from_rows`] that what is told can cause; `INVALID_VALUE` for a row that tells other columns than the
/// first; `MISSING_FIELD` for rows that tell none.
pub fn changes_from_rows(rows: &[v1::Row], schema: &Schema) -> Result<(RecordBatch, usize)> {
    check_count(rows.len(), "rows")?;
    let first = &rows[0];
    for (position, row) in rows.iter().enumerate() {
        check_columns(row, position, schema)?;
        if !row.columns.keys().eq(first.columns.keys()) || row.vector.is_some() != first.vector.is_some() {
            let message = "all rows of an update tell the same columns";
            return Err(Error::new(ErrorCode::InvalidValue, message)
                .field(format!("rows[{position}]"))
                .limit("the columns of rows[0]"));
        }
    }
    if first.columns.is_empty() && first.vector.is_none() {
        let message = "there is nothing to change";
        return Err(Error::new(ErrorCode::MissingField, message).field("rows[0].columns"));
    }
    let (mut fields, mut columns, mut id) = (Vec::new(), Vec::new(), 0);
    for (position, field) in schema.arrow().fields().iter().enumerate() {
        let column = if position == schema.id_position() {
            id = columns.len();
            ids(rows, schema)?
        } else if position == schema.vector().position {
            if first.vector.is_none() {
                continue;
            }
            vector_column(rows, schema)?
        } else {
            if !first.columns.contains_key(field.name()) {
                continue;
            }
            if let Some(vector) = schema.vector_at(position) {
                fields.push(field.clone());
                columns.push(further_column(rows, schema, &vector)?);
                continue;
            }
            let at = |row: usize| format!("rows[{row}].{}", field.name());
            let cells: Vec<Option<&v1::Value>> =
                rows.iter().map(|row| row.columns.get(field.name())).collect();
            values::column(&cells, field, &at)?
        };
        fields.push(field.clone());
        columns.push(column);
    }
    let batch = RecordBatch::try_new(Arc::new(arrow_schema::Schema::new(fields)), columns);
    let batch = batch.map_err(|error| Error::new(ErrorCode::Internal, error.to_string()))?;
    Ok((batch, id))
}

/// Checks how many rows or ids one call brings.
///
/// # Errors
/// `MISSING_FIELD` or `TOO_LARGE`, naming `field`.
pub fn check_count(count: usize, field: &'static str) -> Result<()> {
    let limit = format!("1 to {WRITE_ROWS_MAX}");
    if count == 0 {
        return Err(
            Error::new(ErrorCode::MissingField, format!("there are no {field}"))
                .field(field)
                .limit(limit),
        );
    }
    if count > WRITE_ROWS_MAX {
        return Err(
            Error::new(ErrorCode::TooLarge, format!("{count} {field} in one call"))
                .field(field)
                .limit(limit),
        );
    }
    Ok(())
}

/// Refuses columns that are not there, and the id or vector spelt as a column.
fn check_columns(row: &v1::Row, position: usize, schema: &Schema) -> Result<()> {
    for name in row.columns.keys() {
        let (column, _) = schema
            .column(name)
            .map_err(|error| error.field(format!("rows[{position}].{name}")))?;
        if column == schema.id_position() || column == schema.vector().position {
            let message = "the id and the vector have fields of their own";
            return Err(
                Error::new(ErrorCode::InvalidValue, message).field(format!("rows[{position}].{name}"))
            );
        }
    }
    Ok(())
}

fn ids(rows: &[v1::Row], schema: &Schema) -> Result<ArrayRef> {
    let kind = schema.id_kind();
    let ids = rows
        .iter()
        .enumerate()
        .map(|(position, row)| id_from_proto(row.id.as_ref(), kind, &format!("rows[{position}].id")))
        .collect::<Result<Vec<RowId>>>()?;
    Ok(id_array(ids.iter(), kind))
}

fn vector_column(rows: &[v1::Row], schema: &Schema) -> Result<ArrayRef> {
    let vector = schema.vector();
    let mut elements = Vec::with_capacity(rows.len().saturating_mul(vector.dimension).min(1 << 24));
    for (position, row) in rows.iter().enumerate() {
        let values = row.vector.as_ref().map_or(&[][..], |vector| &vector.values);
        if values.len() != vector.dimension {
            let message = format!("a vector of {} elements", values.len());
            return Err(Error::new(ErrorCode::DimensionMismatch, message)
                .field(format!("rows[{position}].vector"))
                .limit(vector.dimension));
        }
        elements.extend_from_slice(values);
    }
    let wrapped = vectors::wrap(vectors::from_f32(elements, vector.element), schema)?;
    vectors::adapt(&wrapped, schema, &vector, 0).map_err(|error| rename(error, schema.vector_name()))
}

/// Vectors that rows need not have, of which some rows tell one.
fn further_column(rows: &[v1::Row], schema: &Schema, vector: &VectorColumn) -> Result<ArrayRef> {
    let name = schema.name_at(vector.position);
    // What 32 bits hold is the same in 64; it is rounded to fewer where all elements are. Rows without a value take no room.
    let mut lists = ListBuilder::new(Float64Builder::new());
    for (position, row) in rows.iter().enumerate() {
        let at = || format!("rows[{position}].{name}");
        match row.columns.get(name).map(|value| &value.kind) {
            None | Some(Some(Kind::Null(_))) => lists.append_null(),
            Some(Some(Kind::Vector(told))) => {
                lists.append_value(told.values.iter().map(|&x| Some(f64::from(x))));
            }
            Some(Some(Kind::Vector64(told))) => lists.append_value(told.values.iter().map(|&x| Some(x))),
            Some(Some(_)) => {
                let message = format!("the column {name:?} holds vectors");
                return Err(Error::new(ErrorCode::TypeMismatch, message)
                    .field(at())
                    .limit("vector or vector64"));
            }
            Some(None) => {
                let message = "the value is empty: set one of its kinds, `null` for a null";
                return Err(Error::new(ErrorCode::MissingField, message).field(at()));
            }
        }
    }
    vectors::adapt(&(Arc::new(lists.finish()) as ArrayRef), schema, vector, 0)
}

/// In a row spelt out the vector's field is called `vector`, whatever the column's name.
fn rename(mut error: Error, column: &str) -> Error {
    let suffix = format!("].{column}");
    if let Some(start) = error
        .field
        .as_deref()
        .and_then(|field| field.strip_suffix(suffix.as_str()))
    {
        error.field = Some(format!("{start}].vector").into());
    }
    error
}

/// Ids of a call, each once, with the order in which they were asked for.
///
/// # Errors
/// Those of [`id_from_proto`], naming `ids[i]`.
pub fn checked_ids(ids: &[v1::RowId], schema: &Schema) -> Result<Vec<RowId>> {
    ids.iter()
        .enumerate()
        .map(|(position, id)| id_from_proto(Some(id), schema.id_kind(), &format!("ids[{position}]")))
        .collect()
}

/// Distinct ids in order.
pub fn distinct(ids: &[RowId]) -> BTreeSet<&RowId> {
    ids.iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        rows::{id_to_proto, read},
        testing::{batch_of_all_kinds, schema_of, schema_of_all_kinds},
    };
    use longbow_query::ids::Ids;
    use longbow_types::{DefaultValue, Metric, VectorElement};

    fn row(id: u64, vector: &[f32]) -> v1::Row {
        v1::Row {
            id: Some(id_to_proto(&RowId::U64(id))),
            vector: Some(v1::Vector {
                values: vector.to_vec(),
            }),
            columns: Default::default(),
        }
    }

    fn text(kind: Option<Kind>) -> v1::Value {
        v1::Value { kind }
    }

    /// Every row of a batch, spelt out.
    fn spelt(batch: &RecordBatch, schema: &Schema) -> Vec<v1::Row> {
        let ids = Ids::new(batch.column(schema.id_position()).as_ref()).unwrap();
        let projection = read::Projection::new(schema, &["*".to_owned()], true).unwrap();
        (0..batch.num_rows())
            .map(|row| v1::Row {
                id: Some(id_to_proto(&ids.get(row))),
                vector: projection.vector(batch, row).unwrap().0,
                columns: projection.columns(batch, row).unwrap(),
            })
            .collect()
    }

    #[test]
    fn every_kind_of_column_makes_the_round_trip() {
        let schema = schema_of_all_kinds();
        let mut batch = batch_of_all_kinds(7);
        // A null inside a list has no spelling: compare what reads alike.
        let last = batch.num_columns() - 1;
        batch.remove_column(last);
        let again = batch_from_rows(&spelt(&batch_of_all_kinds(7), &schema), &schema).unwrap();
        let order: Vec<usize> = (0..last).collect();
        assert_eq!(again.project(&order).unwrap().columns(), batch.columns());
        let lists = spelt(&again, &schema);
        assert_eq!(lists, spelt(&batch_of_all_kinds(7), &schema));
    }

    #[test]
    fn every_fault_is_named() {
        let schema = schema_of(VectorElement::F16, 2, Metric::Cosine);
        let fine = || row(1, &[1.0, 2.0]);
        let with = |name: &str, value: v1::Value| {
            let mut row = fine();
            row.columns.insert(name.to_owned(), value);
            row
        };
        let mut no_id = fine();
        no_id.id = None;
        let mut wrong_id = fine();
        wrong_id.id = Some(id_to_proto(&RowId::Utf8("a".into())));
        let mut no_vector = fine();
        no_vector.vector = None;
        let cases = [
            (no_id, ErrorCode::MissingField, "rows[1].id"),
            (wrong_id, ErrorCode::TypeMismatch, "rows[1].id"),
            (no_vector, ErrorCode::DimensionMismatch, "rows[1].vector"),
            (row(2, &[1.0]), ErrorCode::DimensionMismatch, "rows[1].vector"),
            (
                row(2, &[f32::NAN, 0.0]),
                ErrorCode::InvalidVector,
                "rows[1].vector",
            ),
            (row(2, &[1e6, 0.0]), ErrorCode::InvalidVector, "rows[1].vector"),
            (row(2, &[0.0, 0.0]), ErrorCode::InvalidVector, "rows[1].vector"),
            (
                with("color", text(None)),
                ErrorCode::UnknownColumn,
                "rows[1].color",
            ),
            (
                with("vector", text(None)),
                ErrorCode::InvalidValue,
                "rows[1].vector",
            ),
            (with("text", text(None)), ErrorCode::MissingField, "rows[1].text"),
            (
                with("text", text(Some(Kind::I64(1)))),
                ErrorCode::TypeMismatch,
                "rows[1].text",
            ),
        ];
        for (bad, code, field) in cases {
            let error = batch_from_rows(&[fine(), bad], &schema).unwrap_err();
            assert_eq!(
                (error.code, error.field.as_deref()),
                (code, Some(field)),
                "{error}"
            );
        }
        assert_eq!(
            batch_from_rows(&[], &schema).unwrap_err().code,
            ErrorCode::MissingField
        );
        let many = vec![fine(); WRITE_ROWS_MAX + 1];
        assert_eq!(
            batch_from_rows(&many, &schema).unwrap_err().code,
            ErrorCode::TooLarge
        );
    }

    #[test]
    fn columns_left_out_hold_their_default() {
        let schema = schema_of_all_kinds()
            .with_default("i8", DefaultValue::Int(-7))
            .unwrap();
        let mut rows = spelt(&batch_of_all_kinds(3), &schema);
        rows[0].columns.remove("i8");
        rows[1].columns.insert("i8".into(), text(Some(Kind::Null(0))));
        rows[2].columns.insert("i8".into(), text(Some(Kind::I64(3))));
        let batch = batch_from_rows(&rows, &schema).unwrap();
        let again = spelt(&batch, &schema);
        let held: Vec<_> = again.iter().map(|row| row.columns["i8"].kind.clone()).collect();
        assert_eq!(
            held,
            [Some(Kind::I64(-7)), Some(Kind::Null(0)), Some(Kind::I64(3))]
        );
    }

    #[test]
    fn children_are_checked_by_their_paths() {
        let schema = schema_of_all_kinds();
        let with = |children: &[(&str, Kind)]| {
            let mut row = spelt(&batch_of_all_kinds(1), &schema).remove(0);
            let children = children
                .iter()
                .map(|(name, kind)| ((*name).to_owned(), text(Some(kind.clone()))));
            let structure = Kind::Structure(v1::StructValue {
                children: children.collect(),
            });
            row.columns.insert("struct".into(), text(Some(structure)));
            batch_from_rows(&[row], &schema)
        };
        let number = || ("number", Kind::I64(1));
        let made = with(&[number()]).unwrap();
        let again = spelt(&made, &schema).remove(0);
        let Some(Kind::Structure(told)) = &again.columns["struct"].kind else {
            panic!("{again:?}")
        };
        assert_eq!(told.children["text"], text(Some(Kind::Null(0))));
        for (children, code, field) in [
            (
                &[("text", Kind::Utf8("a".into()))][..],
                ErrorCode::NullNotAllowed,
                "number",
            ),
            (
                &[number(), ("colour", Kind::I64(1))][..],
                ErrorCode::UnknownColumn,
                "colour",
            ),
            (
                &[("number", Kind::I64(1 << 20))][..],
                ErrorCode::TypeMismatch,
                "number",
            ),
        ] {
            let error = with(children).unwrap_err();
            let path = format!("rows[0].struct.{field}");
            assert_eq!(
                (error.code, error.field.as_deref()),
                (code, Some(path.as_str())),
                "{error}"
            );
        }
    }

    #[test]
    fn numbers_must_fit_their_column() {
        let schema = schema_of_all_kinds();
        let base = || {
            let mut row = spelt(&batch_of_all_kinds(1), &schema).remove(0);
            row.columns.retain(|name, _| name == "required");
            row
        };
        let fits = [
            ("u8", Kind::I64(255)),
            ("i8", Kind::U64(127)),
            ("f32", Kind::I64(3)),
            ("f16", Kind::F64(0.1)),
            ("decimal", Kind::Utf8("-12.34".into())),
            ("decimal", Kind::F64(0.1)),
            ("decimal", Kind::I64(12_345_678)),
            ("wide", Kind::Utf8(format!("-{}.125", "9".repeat(57)))),
            ("wide", Kind::U64(u64::MAX)),
        ];
        for (name, kind) in fits {
            let mut row = base();
            row.columns.insert(name.to_owned(), text(Some(kind)));
            batch_from_rows(&[row], &schema).unwrap();
        }
        let bad = [
            ("u8", Kind::I64(256)),
            ("u64", Kind::I64(-1)),
            ("i8", Kind::U64(128)),
            ("i64", Kind::F64(1.0)),
            ("f32", Kind::F64(1e300)),
            ("f64", Kind::U64(u64::MAX)),
            ("bool", Kind::I64(1)),
            ("decimal", Kind::Utf8("1.234".into())),
            ("decimal", Kind::F64(0.123)),
            ("decimal", Kind::I64(123_456_789)),
            ("wide", Kind::Utf8("0.0001".into())),
            ("wide", Kind::Utf8("9".repeat(58))),
            ("list", Kind::Utf8("a".into())),
            ("struct", Kind::I64(1)),
        ];
        for (name, kind) in bad {
            let mut row = base();
            row.columns.insert(name.to_owned(), text(Some(kind)));
            let error = batch_from_rows(&[row], &schema).unwrap_err();
            assert_eq!(error.code, ErrorCode::TypeMismatch, "{name}");
            assert_eq!(error.field.as_deref(), Some(format!("rows[0].{name}").as_str()));
        }
        let mut null = base();
        null.columns.insert("required".into(), text(Some(Kind::Null(0))));
        assert_eq!(
            batch_from_rows(&[null], &schema).unwrap_err().code,
            ErrorCode::NullNotAllowed
        );
    }
}
