//! How is a chunk read that was written under an earlier version of the schema?
//!
//! Chunks stay as they were written when the schema changes. What may change (see `longbow_types::evolution`) leaves a
//! simple relation: an old chunk has the first of the stored columns in their places, perhaps in a narrower type, and
//! `_row_version` last. Columns that it has not got read as their default, or as null; narrower ones are widened, for
//! the rows that are wanted only. Where chunks are merged anyway, the merged one is of the newest version.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, RecordBatch, RecordBatchOptions, StructArray, UInt32Array, new_null_array,
};
use arrow::compute::{cast, take};
use arrow_schema::{ArrowError, DataType, Field, Schema as ArrowSchema};
use longbow_query::fill::repeated;
use longbow_types::evolution::widens;
use longbow_types::schema::splits;
use longbow_types::{Error, ErrorCode, Result};

use crate::Layout;

/// What a chunk has of a stored column.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Source<'a> {
    /// The column as the layout has it.
    Same(&'a ArrayRef),
    /// The column before it became wider.
    Narrow(&'a ArrayRef),
    /// Nothing: every row holds the one value of this array.
    Absent(&'a ArrayRef),
}

/// Finds a stored column of a layout in a batch of the same or an earlier version.
pub(crate) fn source<'a>(layout: &'a Layout, batch: &'a RecordBatch, column: usize) -> Source<'a> {
    // Behind the columns that there were stands `_row_version`.
    let old = batch.num_columns() - 1;
    let at = match column {
        version if version == layout.row_version() => old,
        column if column < old => column,
        added => return Source::Absent(layout.fill(added)),
    };
    let array = batch.column(at);
    if array.data_type() == layout.stored().field(column).data_type() {
        Source::Same(array)
    } else {
        Source::Narrow(array)
    }
}

/// Some rows of a column that became wider.
pub(crate) fn widened(array: &ArrayRef, rows: Vec<u32>, layout: &Layout, column: usize) -> Result<ArrayRef> {
    let picked = take(array.as_ref(), &UInt32Array::from(rows), None).map_err(internal)?;
    wider(&picked, layout.stored().field(column).data_type()).map_err(internal)
}

/// A column, or a child of one, in a type that it widens to. Children that it has not got are null.
fn wider(array: &ArrayRef, data_type: &DataType) -> std::result::Result<ArrayRef, ArrowError> {
    let DataType::Struct(fields) = data_type else {
        return cast(array, data_type);
    };
    let narrow = array.as_struct();
    let children = fields
        .iter()
        .map(|field| match narrow.column_by_name(field.name()) {
            Some(child) if child.data_type() == field.data_type() => Ok(Arc::clone(child)),
            Some(child) => wider(child, field.data_type()),
            None => Ok(new_null_array(field.data_type(), narrow.len())),
        });
    let children = children.collect::<std::result::Result<Vec<_>, _>>()?;
    let structs = StructArray::try_new(fields.clone(), children, narrow.nulls().cloned())?;
    Ok(Arc::new(structs))
}

/// A whole column.
pub(crate) fn whole(layout: &Layout, batch: &RecordBatch, column: usize) -> Result<ArrayRef> {
    match source(layout, batch, column) {
        Source::Same(array) => Ok(Arc::clone(array)),
        Source::Narrow(array) => wider(array, layout.stored().field(column).data_type()).map_err(internal),
        Source::Absent(one) => repeated(one, batch.num_rows()),
    }
}

/// A batch as one of the layout's version. Costs nothing if it is.
pub(crate) fn upgraded<'a>(layout: &Layout, batch: &'a RecordBatch) -> Result<Cow<'a, RecordBatch>> {
    if is_current(layout, batch) {
        return Ok(Cow::Borrowed(batch));
    }
    let columns = (0..layout.stored().fields().len()).map(|column| whole(layout, batch, column));
    RecordBatch::try_new(Arc::clone(layout.stored()), columns.collect::<Result<Vec<_>>>()?)
        .map(Cow::Owned)
        .map_err(internal)
}

/// A batch that a predicate of the layout's schema can be asked of, which looks at some columns.
///
/// Columns that read as null may be missing, and integers may be narrow: predicates know that.
pub(crate) fn for_predicate<'a>(
    layout: &Layout,
    batch: &'a RecordBatch,
    names: &BTreeSet<&str>,
) -> Result<Cow<'a, RecordBatch>> {
    if is_current(layout, batch) {
        return Ok(Cow::Borrowed(batch));
    }
    let (mut fields, mut columns) = (Vec::with_capacity(names.len()), Vec::with_capacity(names.len()));
    // Of children the columns that they are in, each once.
    let columns_of = names.iter().filter_map(|name| {
        let stored = layout.stored();
        let child = || splits(name).find_map(|(parent, _)| stored.column_with_name(parent));
        stored.column_with_name(name).or_else(child)
    });
    let wanted: BTreeMap<usize, &Field> = columns_of.collect();
    for (column, field) in wanted {
        let name = field.name();
        let array = match source(layout, batch, column) {
            Source::Same(array) => Arc::clone(array),
            Source::Narrow(array) if array.data_type().is_integer() => Arc::clone(array),
            Source::Absent(one) if one.is_null(0) => continue,
            Source::Narrow(_) | Source::Absent(_) => whole(layout, batch, column)?,
        };
        fields.push(Field::new(name, array.data_type().clone(), field.is_nullable()));
        columns.push(array);
    }
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(Arc::new(ArrowSchema::new(fields)), columns, &options)
        .map(Cow::Owned)
        .map_err(internal)
}

fn is_current(layout: &Layout, batch: &RecordBatch) -> bool {
    Arc::ptr_eq(batch.schema_ref(), layout.stored()) || batch.schema_ref() == layout.stored()
}

/// A batch from a disk as one of the layout's version or of an earlier one, its columns' nulls checked.
///
/// # Errors
/// What does not fit, in words.
pub(crate) fn recognised(layout: &Layout, batch: &RecordBatch) -> std::result::Result<RecordBatch, String> {
    let (have, want) = (batch.schema(), layout.stored());
    let names = |schema: &ArrowSchema| -> Vec<String> {
        schema.fields().iter().map(|field| field.name().clone()).collect()
    };
    let (have_names, want_names) = (names(&have), names(want));
    let wanted = want_names.split_last().filter(|(version, columns)| {
        // The id was there from the beginning.
        have_names
            .split_last()
            .is_some_and(|(last, first)| last == *version && columns.starts_with(first))
            && have_names.len() > layout.id() + 1
    });
    if wanted.is_none() {
        return Err(format!(
            "columns {} are not {}, nor those of an earlier version",
            have_names.join(", "),
            want_names.join(", ")
        ));
    }
    let old = have_names.len() - 1;
    let mut fields = Vec::with_capacity(old + 1);
    for (at, field) in have.fields().iter().enumerate() {
        let column = if at == old { layout.row_version() } else { at };
        let want = want.field(column);
        if field.data_type() != want.data_type() && !widens(field.data_type(), want.data_type()) {
            return Err(format!("the column {field} cannot be read as {want}"));
        }
        fields.push(want.clone().with_data_type(field.data_type().clone()));
    }
    for column in old..layout.row_version() {
        if layout.fill(column).is_null(0) && !want.field(column).is_nullable() {
            let name = want.field(column).name();
            return Err(format!("the column {name} is missing, and cannot be null"));
        }
    }
    let schema = if have_names.len() == want_names.len()
        && fields.iter().eq(want.fields().iter().map(AsRef::as_ref))
    {
        Arc::clone(want)
    } else {
        Arc::new(ArrowSchema::new(fields))
    };
    RecordBatch::try_new(schema, batch.columns().to_vec()).map_err(|error| error.to_string())
}

fn internal(error: ArrowError) -> Error {
    let message = format!("columns of an earlier version: {error}");
    Error::new(ErrorCode::Internal, message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{AsArray, Int16Array, UInt64Array};
    use arrow::datatypes::{Int32Type, Int64Type};
    use arrow_schema::DataType;
    use longbow_types::schema::vector_type;
    use longbow_types::{DefaultValue, Metric, Schema, VectorElement};

    fn schema(more: Vec<Field>) -> Schema {
        let mut fields = vec![
            Field::new("id", DataType::UInt64, false),
            Field::new("v", vector_type(VectorElement::F32, 2), false),
        ];
        fields.extend(more);
        Schema::new(fields, "id", Metric::L2).unwrap()
    }

    fn old() -> Layout {
        Layout::new(schema(vec![Field::new("n", DataType::Int16, true)]))
    }

    fn new() -> Layout {
        let added = vec![
            Field::new("n", DataType::Int64, true),
            Field::new("text", DataType::Utf8, true),
            Field::new("seven", DataType::Int32, false),
        ];
        let schema = schema(added).with_default("seven", DefaultValue::Int(7)).unwrap();
        Layout::at(schema, 2)
    }

    fn rows() -> RecordBatch {
        let columns: Vec<ArrayRef> = vec![
            Arc::new(UInt64Array::from(vec![1, 2])),
            Arc::new(Int16Array::from(vec![Some(-3), None])),
            Arc::new(UInt64Array::from(vec![9, 9])),
        ];
        RecordBatch::try_new(Arc::clone(old().stored()), columns).unwrap()
    }

    #[test]
    fn old_rows_are_rows_of_the_new_schema() {
        let (layout, rows) = (new(), rows());
        let read = upgraded(&layout, &rows).unwrap();
        assert_eq!(read.schema_ref(), layout.stored());
        let numbers = read.column(1).as_primitive::<Int64Type>();
        assert_eq!(numbers.iter().collect::<Vec<_>>(), [Some(-3), None]);
        assert_eq!(read.column(2).null_count(), 2);
        assert_eq!(read.column(3).as_primitive::<Int32Type>().values()[..], [7, 7]);
        assert!(matches!(upgraded(&old(), &rows).unwrap(), Cow::Borrowed(_)));
    }

    #[test]
    fn predicates_are_given_what_they_look_at() {
        let (layout, rows) = (new(), rows());
        let given = for_predicate(&layout, &rows, &["n", "text", "seven"].into()).unwrap();
        let names: Vec<_> = given.schema().fields().iter().map(|f| f.name().clone()).collect();
        assert_eq!(names, ["n", "seven"], "what is null need not be there");
        assert_eq!(given.column(0).data_type(), &DataType::Int16, "it is not copied");
        let none = for_predicate(&layout, &rows, &["text"].into()).unwrap();
        assert_eq!((none.num_rows(), none.num_columns()), (2, 0));
    }

    #[test]
    fn only_earlier_versions_are_recognised() {
        let fits = |layout: &Layout, batch: &RecordBatch| recognised(layout, batch);
        fits(&old(), &rows()).unwrap();
        let read = fits(&new(), &rows()).unwrap();
        assert_eq!(read.schema().field(1).data_type(), &DataType::Int16);
        let current = upgraded(&new(), &rows()).unwrap().into_owned();
        assert_eq!(fits(&new(), &current).unwrap(), current);
        // A newer one, one without ids, one of another type, and a null where there is none.
        assert!(fits(&old(), &current).unwrap_err().contains("earlier version"));
        assert!(fits(&old(), &rows().project(&[2]).unwrap()).is_err());
        let renamed = Layout::new(schema(vec![Field::new("m", DataType::Int16, true)]));
        assert!(fits(&renamed, &rows()).unwrap_err().contains("n"));
        let narrower = Layout::new(schema(vec![Field::new("n", DataType::Int8, true)]));
        assert!(
            fits(&narrower, &rows())
                .unwrap_err()
                .contains("cannot be read as")
        );
        let required = Layout::new(schema(vec![Field::new("n", DataType::Int16, false)]));
        assert!(fits(&required, &rows()).is_err());
        let without = Layout::at(
            schema(vec![
                Field::new("n", DataType::Int16, true),
                Field::new("text", DataType::Utf8, false),
            ]),
            2,
        );
        assert!(fits(&without, &rows()).unwrap_err().contains("text is missing"));
    }
}
