//! How large do rows become once each holds its own values, in the dataset's types?
//!
//! A few bytes can ask for gigabytes: a dictionary's value is sent once and stored for every row that names it, and a
//! column that is left out is stored as nulls, which are as wide as values, or as its default. So size is reckoned before anything is
//! built, over all columns and batches of a call together.

use arrow::{
    array::{Array, ArrayRef, AsArray, DictionaryArray, OffsetSizeTrait, RecordBatch},
    datatypes::ArrowDictionaryKeyType,
    downcast_dictionary_array,
};
use arrow_schema::{DataType, Field};
use longbow_types::{DefaultValue, Error, ErrorCode, Result, Schema, limits::WRITE_BYTES_MAX};

/// Refuses rows that are more than one write may hold.
///
/// # Errors
/// `TOO_LARGE` naming the limit.
pub fn check(bytes: u64) -> Result<()> {
    if bytes <= WRITE_BYTES_MAX as u64 {
        return Ok(());
    }
    let message = format!(
        "the rows are {bytes} bytes once every row holds all columns of the dataset: send fewer rows at once"
    );
    Err(Error::new(ErrorCode::TooLarge, message)
        .field("rows")
        .limit(format_args!("{WRITE_BYTES_MAX} bytes")))
}

/// Bytes that a batch becomes in a dataset, columns that it leaves out included.
pub fn in_dataset(batch: &RecordBatch, schema: &Schema) -> u64 {
    let rows = batch.num_rows();
    let left_out = |name: &str| {
        if batch.column_by_name(name).is_none() {
            rows
        } else {
            0
        }
    };
    text(batch)
        .saturating_add(items(batch, schema))
        .saturating_add(fixed(rows, schema, |name| batch.column_by_name(name).is_some()))
        .saturating_add(defaults(schema, left_out))
}

/// Bytes of the numbers in columns of lists, in the dataset's width.
fn items(batch: &RecordBatch, schema: &Schema) -> u64 {
    let fields = schema.arrow().fields().iter();
    fields
        .filter_map(|field| Some(items_of(batch.column_by_name(field.name())?, field.data_type())))
        .fold(0, u64::saturating_add)
}

/// The same of a column, or a child of one, that is kept as another type.
fn items_of(column: &ArrayRef, kept: &DataType) -> u64 {
    match kept {
        DataType::List(item) => {
            // Whatever is of no fixed width is counted with the text.
            let width = item.data_type().primitive_width().unwrap_or(0) as u64;
            let items = match column.data_type() {
                DataType::List(_) => spanned(column.as_list::<i32>().value_offsets()),
                DataType::LargeList(_) => spanned(column.as_list::<i64>().value_offsets()),
                _ => 0,
            };
            items.saturating_mul(width)
        }
        DataType::Struct(children) => {
            let structs = column.as_struct_opt();
            let items = children.iter().filter_map(|child| {
                let column = structs?.column_by_name(child.name())?;
                Some(items_of(column, child.data_type()))
            });
            items.fold(0, u64::saturating_add)
        }
        _ => 0,
    }
}

fn spanned<O: OffsetSizeTrait>(offsets: &[O]) -> u64 {
    let ends = offsets.first().zip(offsets.last());
    ends.map_or(0, |(first, last)| (*last - *first).as_usize() as u64)
}

/// Bytes of the defaults of text and bytes, where `left_out` tells how many rows do not tell a column.
pub fn defaults(schema: &Schema, left_out: impl Fn(&str) -> usize) -> u64 {
    let columns = schema.arrow().fields().iter().enumerate();
    columns
        .map(|(position, field)| {
            let bytes = match schema.default_of(position) {
                Some(DefaultValue::Text(text)) => text.len(),
                Some(DefaultValue::Bytes(bytes)) => bytes.len(),
                _ => return 0,
            };
            (bytes as u64).saturating_mul(left_out(field.name()) as u64)
        })
        .fold(0, u64::saturating_add)
}

/// Bytes that rows take whatever they hold: those of columns of fixed width, null or not, and of the offsets of others.
/// Vectors that rows need not have count where they are told.
pub fn fixed(rows: usize, schema: &Schema, is_told: impl Fn(&str) -> bool) -> u64 {
    let fields = schema.arrow().fields().iter();
    let is_left_out = |field: &Field| {
        matches!(field.data_type(), DataType::FixedSizeList(..))
            && field.is_nullable()
            && !is_told(field.name())
    };
    let kept = fields.filter(|field| !is_left_out(field));
    let width: usize = kept.map(|field| width(field.data_type())).sum();
    (rows as u64).saturating_mul(width as u64)
}

fn width(data_type: &DataType) -> usize {
    match data_type {
        DataType::FixedSizeList(item, size) => {
            item.data_type().primitive_width().unwrap_or(16) * usize::try_from(*size).unwrap_or(0)
        }
        DataType::Struct(children) => children.iter().map(|child| width(child.data_type())).sum(),
        // Text, bytes and lists have an offset for each row; a truth value is counted as a whole byte.
        other => other
            .primitive_width()
            .unwrap_or(if *other == DataType::Boolean { 1 } else { 4 }),
    }
}

/// Bytes of text of a batch, with shared values as often as rows name them.
pub fn text(batch: &RecordBatch) -> u64 {
    batch.columns().iter().map(text_of).fold(0, u64::saturating_add)
}

/// Bytes of text of a column, with shared values as often as rows name them; zero for types of fixed width.
pub fn text_of(column: &ArrayRef) -> u64 {
    fn keyed<K: ArrowDictionaryKeyType>(array: &DictionaryArray<K>) -> u64 {
        let lengths = lengths(array.values());
        array
            .keys_iter()
            .flatten()
            .map(|key| lengths.get(key).copied().unwrap_or(0))
            .fold(0, u64::saturating_add)
    }
    fn items<O: OffsetSizeTrait>(offsets: &[O], values: &ArrayRef) -> u64 {
        let start = offsets.first().map_or(0, |offset| offset.as_usize());
        let items = values.slice(start, spanned(offsets) as usize);
        // Each item has an offset of its own.
        text_of(&items).saturating_add(4 * items.len() as u64)
    }
    let array = column.as_ref();
    match array.data_type() {
        DataType::Utf8 => spanned(column.as_string::<i32>().value_offsets()),
        DataType::LargeUtf8 => spanned(column.as_string::<i64>().value_offsets()),
        DataType::Binary => spanned(column.as_binary::<i32>().value_offsets()),
        DataType::LargeBinary => spanned(column.as_binary::<i64>().value_offsets()),
        DataType::FixedSizeBinary(size) => {
            (column.len() as u64).saturating_mul(u64::try_from(*size).unwrap_or(0))
        }
        DataType::Utf8View | DataType::BinaryView => lengths(column).into_iter().sum(),
        // Vectors come in lists too; numbers are counted by the dataset's own width.
        DataType::List(item) if !item.data_type().is_numeric() => {
            let list = column.as_list::<i32>();
            items(list.value_offsets(), list.values())
        }
        DataType::LargeList(item) if !item.data_type().is_numeric() => {
            let list = column.as_list::<i64>();
            items(list.value_offsets(), list.values())
        }
        DataType::Struct(_) => {
            let children = column.as_struct().columns().iter();
            children.map(text_of).fold(0, u64::saturating_add)
        }
        DataType::Dictionary(..) => downcast_dictionary_array!(
            array => keyed(array),
            _ => 0
        ),
        _ => 0,
    }
}

/// Bytes of each value; zero for types of fixed width.
fn lengths(values: &ArrayRef) -> Vec<u64> {
    fn differences<O: OffsetSizeTrait>(offsets: &[O]) -> Vec<u64> {
        offsets
            .windows(2)
            .map(|pair| (pair[1] - pair[0]).as_usize() as u64)
            .collect()
    }
    // The low 32 bits of a view are its length.
    let viewed = |views: &[u128]| views.iter().map(|view| u64::from(*view as u32)).collect();
    match values.data_type() {
        DataType::Utf8 => differences(values.as_string::<i32>().value_offsets()),
        DataType::LargeUtf8 => differences(values.as_string::<i64>().value_offsets()),
        DataType::Binary => differences(values.as_binary::<i32>().value_offsets()),
        DataType::LargeBinary => differences(values.as_binary::<i64>().value_offsets()),
        DataType::Utf8View => viewed(values.as_string_view().views()),
        DataType::BinaryView => viewed(values.as_binary_view().views()),
        DataType::FixedSizeBinary(size) => vec![u64::try_from(*size).unwrap_or(0); values.len()],
        _ => vec![0; values.len()],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{batch_of_all_kinds, schema_of_all_kinds};
    use arrow::array::{DictionaryArray, Int32Array, StringArray, StringViewArray};
    use std::sync::Arc;

    fn one(column: ArrayRef) -> u64 {
        text_of(&column)
    }

    #[test]
    fn shared_values_count_as_often_as_they_are_named() {
        let values = Arc::new(StringArray::from(vec!["x".repeat(1_000), "yy".to_owned()]));
        let keys = Int32Array::from(vec![Some(0), None, Some(0), Some(1)]);
        let dictionary: ArrayRef = Arc::new(DictionaryArray::new(keys, values));
        assert_eq!(one(dictionary.clone()), 2_002);
        assert_eq!(one(dictionary.slice(2, 2)), 1_002, "a slice counts its own rows");
        assert_eq!(one(Arc::new(StringViewArray::from(vec!["abc", "de"]))), 5);
        assert_eq!(
            one(Arc::new(StringArray::from(vec!["abc", "de", "f"]).slice(1, 2))),
            3
        );
    }

    #[test]
    fn columns_left_out_count_like_those_that_are_there() {
        let (schema, batch) = (schema_of_all_kinds(), batch_of_all_kinds(50));
        let whole = in_dataset(&batch, &schema);
        let built = crate::commands::row_bytes(&batch).iter().sum::<usize>() as u64;
        assert!(whole <= built && built <= whole * 2, "{whole} for {built}");
        let few = batch.project(&[0, 1, 2]).unwrap();
        assert_eq!(
            in_dataset(&few, &schema),
            text(&few) + fixed(50, &schema, |_| true)
        );
        // 50 lists of two numbers of 32 bits, and as many in structs.
        assert_eq!(items(&batch, &schema), 2 * 50 * 2 * 4);
        assert_eq!(
            whole - text(&batch) - items(&batch, &schema),
            fixed(50, &schema, |_| true)
        );
    }

    #[test]
    fn defaults_count_for_each_row_that_leaves_them_out() {
        let (schema, batch) = (schema_of_all_kinds(), batch_of_all_kinds(50));
        let with = schema
            .clone()
            .with_default("utf8", DefaultValue::Text("x".repeat(100)))
            .unwrap();
        assert_eq!(in_dataset(&batch, &with), in_dataset(&batch, &schema));
        let few = batch.project(&[0, 1, 2]).unwrap();
        assert!(few.column_by_name("utf8").is_none());
        assert_eq!(in_dataset(&few, &with), in_dataset(&few, &schema) + 5_000);
    }

    #[test]
    fn the_refusal_names_the_limit() {
        check(WRITE_BYTES_MAX as u64).unwrap();
        let error = check(WRITE_BYTES_MAX as u64 + 1).unwrap_err();
        assert_eq!(error.code, ErrorCode::TooLarge);
        assert_eq!(error.limit.as_deref(), Some("268435456 bytes"));
    }
}
