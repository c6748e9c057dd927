//! Do two replicas hold the same rows? Their digests tell, and no row is sent.
//!
//! A digest is a sum over rows, so that it does not matter in which order they came, nor what became of them since: how
//! chunks were merged, what is linked, whether the replica was restarted. It is kept as rows come and go. All numbers
//! little-endian and sums modulo 2^128,
//!
//! ```text
//! digest = sum of row
//! row    = xxh3-128(cells:16 row-version:8 vector:16)
//! vector = xxh3-128(elements as they were written)
//! cells  = sum over columns, without the vector that every row has, of cell - untold
//! cell   = xxh3-128(value, seed = xxh3-64(name of the column))
//! value  = boolean:1 | integer, date, time or decimal:16, of more than 38 digits :32 | float:8, a double | text | bytes
//!          | vector, its elements as they were written
//! list   = xxh3-128(list so far:16 item:16, seed), begun with its length:16 as a value
//! struct = xxh3-128("struct", seed) + sum over children of child - null child, a child's seed being xxh3-64(name, seed)
//! null   = xxh3-128("null", seed = not xxh3-64(name of the column))
//! ```
//!
//! where untold is the cell of a row that does not tell the column: a null, or the column's default. So a column that is
//! added, or becomes wider, leaves the digest of the rows that are there as it is. All NaNs are one.
//!
//! Two different sets of rows have one digest by a chance of 2^-128, or because somebody chose them so.

use std::fmt;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{
    ArrowNativeType, Decimal256Type, Float16Type, Float32Type, Float64Type, UInt32Type, UInt64Type,
};
use arrow_schema::DataType;
use longbow_index::VectorIndex;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed, xxh3_128, xxh3_128_with_seed};

use crate::columns::Chunk;
use crate::further::Further;
use crate::versions::{self, Source};
use crate::{Layout, View};

/// What the rows of a partition add up to. Equal rows have equal digests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Digest(u128);

impl Digest {
    /// With some rows more.
    pub(crate) fn with(self, rows: Self) -> Self {
        Self(self.0.wrapping_add(rows.0))
    }

    /// With some rows less.
    pub(crate) fn without(self, rows: Self) -> Self {
        Self(self.0.wrapping_sub(rows.0))
    }

    /// As it stands in files.
    pub(crate) fn to_bytes(self) -> [u8; 16] {
        self.0.to_le_bytes()
    }

    /// Undoes [`Self::to_bytes`].
    pub(crate) fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(u128::from_le_bytes(bytes))
    }
}

/// 32 hexadecimal digits.
impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl View {
    /// The digest of the rows. It is that of every replica that shows the same
    /// [`touched_index`](Self::touched_index).
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// The same, from the rows as they are now. O(rows), and reads every vector.
    pub fn digest_anew(&self) -> Digest {
        let located = self.located();
        self.chunks.iter().fold(Digest::default(), |sum, chunk| {
            let rows: Vec<usize> = located.runs(chunk).into_iter().flatten().collect();
            sum.with(of_stored(
                &self.layout,
                (&self.index, &self.further),
                chunk,
                &rows,
            ))
        })
    }
}

/// How the cells of a column are hashed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cells {
    seed: u64,
    /// The hash of what rows hold that do not tell the column.
    untold: u128,
}

impl Cells {
    /// Of a column, and the one value of rows that do not tell it.
    pub(crate) fn new(name: &str, fill: &dyn Array) -> Self {
        let seed = xxh3_64(name.as_bytes());
        let mut hashed = Vec::with_capacity(1);
        hash(fill, 0..1, seed, &mut hashed);
        Self {
            seed,
            untold: hashed[0],
        }
    }
}

/// The hash of a vector.
pub(crate) fn vector(bytes: &[u8]) -> u128 {
    xxh3_128(bytes)
}

/// The digest of some rows of a chunk whose slots hold their vectors.
pub(crate) fn of_stored(
    layout: &Layout,
    (index, further): (&VectorIndex, &[Further]),
    chunk: &Chunk,
    rows: &[usize],
) -> Digest {
    let mut bytes = Vec::with_capacity(layout.vector_bytes());
    of_rows(layout, further, &chunk.batch, rows.iter().copied(), |row| {
        bytes.clear();
        let is_there = index.vector(chunk.slots.at(row), &mut bytes);
        debug_assert!(is_there, "a row that is live has its vector");
        vector(&bytes)
    })
}

/// The digest of some rows of a batch that is of the layout's version or of an earlier one, whose further vectors are in
/// their indexes. `vector` tells the hash of a row's vector.
pub(crate) fn of_rows(
    layout: &Layout,
    further: &[Further],
    batch: &RecordBatch,
    rows: impl Iterator<Item = usize> + Clone,
    mut vector: impl FnMut(usize) -> u128,
) -> Digest {
    let mut cells = vec![0_u128; rows.clone().count()];
    let mut hashed = Vec::with_capacity(cells.len());
    for column in 0..layout.row_version() {
        let (Source::Same(array) | Source::Narrow(array)) = versions::source(layout, batch, column) else {
            continue;
        };
        let Cells { seed, untold } = layout.cells(column);
        hashed.clear();
        match layout.further_at(column) {
            Some(at) => vectors(
                array.as_ref(),
                &further[at].index,
                rows.clone(),
                seed,
                &mut hashed,
            ),
            None => hash(array.as_ref(), rows.clone(), seed, &mut hashed),
        }
        for (cells, hashed) in cells.iter_mut().zip(&hashed) {
            *cells = cells.wrapping_add(hashed.wrapping_sub(untold));
        }
    }
    let row_versions = batch.column(batch.num_columns() - 1).as_primitive::<UInt64Type>();
    let sum = rows.zip(cells).fold(0_u128, |sum, (row, cells)| {
        let mut bytes = [0; 40];
        bytes[..16].copy_from_slice(&cells.to_le_bytes());
        bytes[16..24].copy_from_slice(&row_versions.value(row).to_le_bytes());
        bytes[24..].copy_from_slice(&vector(row).to_le_bytes());
        sum.wrapping_add(xxh3_128(&bytes))
    });
    Digest(sum)
}

/// Adds the hash of each of some vectors, of which a column holds the slots.
fn vectors(
    array: &dyn Array,
    index: &VectorIndex,
    rows: impl Iterator<Item = usize>,
    seed: u64,
    out: &mut Vec<u128>,
) {
    let (slots, mut bytes) = (array.as_primitive::<UInt32Type>(), Vec::new());
    each(array, rows, seed, out, |row| {
        bytes.clear();
        let is_there = index.vector(slots.value(row), &mut bytes);
        debug_assert!(is_there, "a row has its vector as long as it lives");
        xxh3_128_with_seed(&bytes, seed)
    });
}

/// Adds the hash of each of some cells.
fn hash(array: &dyn Array, rows: impl Iterator<Item = usize>, seed: u64, out: &mut Vec<u128>) {
    use DataType as T;
    match array.data_type() {
        T::Boolean => {
            let values = array.as_boolean();
            each(array, rows, seed, out, |row| {
                xxh3_128_with_seed(&[u8::from(values.value(row))], seed)
            });
        }
        T::Int8 => integers::<i8>(array, rows, seed, out),
        T::Int16 => integers::<i16>(array, rows, seed, out),
        T::Int32 | T::Date32 | T::Time32(_) => integers::<i32>(array, rows, seed, out),
        T::UInt8 => integers::<u8>(array, rows, seed, out),
        T::UInt16 => integers::<u16>(array, rows, seed, out),
        T::UInt32 => integers::<u32>(array, rows, seed, out),
        T::UInt64 => integers::<u64>(array, rows, seed, out),
        T::Decimal128(..) => integers::<i128>(array, rows, seed, out),
        T::Decimal256(..) => {
            let values = array.as_primitive::<Decimal256Type>();
            each(array, rows, seed, out, |row| {
                xxh3_128_with_seed(&values.value(row).to_le_bytes(), seed)
            });
        }
        T::Float16 => {
            let values = array.as_primitive::<Float16Type>();
            each(array, rows, seed, out, |row| {
                float(values.value(row).to_f64(), seed)
            });
        }
        T::Float32 => {
            let values = array.as_primitive::<Float32Type>();
            each(array, rows, seed, out, |row| {
                float(values.value(row).into(), seed)
            });
        }
        T::Float64 => {
            let values = array.as_primitive::<Float64Type>();
            each(array, rows, seed, out, |row| float(values.value(row), seed));
        }
        T::Utf8 => {
            let values = array.as_string::<i32>();
            each(array, rows, seed, out, |row| {
                xxh3_128_with_seed(values.value(row).as_bytes(), seed)
            });
        }
        T::Binary => {
            let values = array.as_binary::<i32>();
            each(array, rows, seed, out, |row| {
                xxh3_128_with_seed(values.value(row), seed)
            });
        }
        T::List(_) => lists(array, rows, seed, out),
        T::Struct(_) => structs(array, rows, seed, out),
        // What a schema allows besides is kept in 64 bits: dates, times, timestamps, durations.
        _ => integers::<i64>(array, rows, seed, out),
    }
}

fn integers<N: ArrowNativeType + Into<i128>>(
    array: &dyn Array,
    rows: impl Iterator<Item = usize>,
    seed: u64,
    out: &mut Vec<u128>,
) {
    let data = array.to_data();
    let values = data.buffer::<N>(0);
    each(array, rows, seed, out, |row| {
        let value: i128 = values[row].into();
        xxh3_128_with_seed(&value.to_le_bytes(), seed)
    });
}

fn lists(array: &dyn Array, rows: impl Iterator<Item = usize>, seed: u64, out: &mut Vec<u128>) {
    let lists = array.as_list::<i32>();
    let (items, offsets) = (lists.values(), lists.value_offsets());
    let mut hashed = Vec::new();
    each(array, rows, seed, out, |row| {
        let (from, to) = (offsets[row] as usize, offsets[row + 1] as usize);
        hashed.clear();
        hash(items.as_ref(), from..to, seed, &mut hashed);
        let begun = xxh3_128_with_seed(&(hashed.len() as u128).to_le_bytes(), seed);
        hashed.iter().fold(begun, |list, item| {
            let mut bytes = [0; 32];
            bytes[..16].copy_from_slice(&list.to_le_bytes());
            bytes[16..].copy_from_slice(&item.to_le_bytes());
            xxh3_128_with_seed(&bytes, seed)
        })
    });
}

/// A child that is null counts for nothing, so that children may be added.
fn structs(array: &dyn Array, rows: impl Iterator<Item = usize>, seed: u64, out: &mut Vec<u128>) {
    let (structs, rows) = (array.as_struct(), rows.collect::<Vec<_>>());
    let mut sums = vec![xxh3_128_with_seed(b"struct", seed); rows.len()];
    let mut hashed = Vec::with_capacity(rows.len());
    for (field, child) in structs.fields().iter().zip(structs.columns()) {
        let seed = xxh3_64_with_seed(field.name().as_bytes(), seed);
        hashed.clear();
        hash(child.as_ref(), rows.iter().copied(), seed, &mut hashed);
        let null = null_hash(seed);
        for (sum, cell) in sums.iter_mut().zip(&hashed) {
            *sum = sum.wrapping_add(cell.wrapping_sub(null));
        }
    }
    // `each` asks for the rows that are not null, in order.
    let valid = rows.iter().zip(sums).filter(|(row, _)| array.is_valid(**row));
    let mut sums = valid.map(|(_, sum)| sum).collect::<Vec<_>>().into_iter();
    each(array, rows.iter().copied(), seed, out, |_| {
        sums.next().expect("one for each row that is not null")
    });
}

fn null_hash(seed: u64) -> u128 {
    xxh3_128_with_seed(b"null", !seed)
}

fn float(value: f64, seed: u64) -> u128 {
    let value = if value.is_nan() { f64::NAN } else { value };
    xxh3_128_with_seed(&value.to_bits().to_le_bytes(), seed)
}

/// Adds the hashes of cells, some of which may be null.
fn each(
    array: &dyn Array,
    rows: impl Iterator<Item = usize>,
    seed: u64,
    out: &mut Vec<u128>,
    mut value: impl FnMut(usize) -> u128,
) {
    let Some(nulls) = array.nulls() else {
        out.extend(rows.map(value));
        return;
    };
    let null = null_hash(seed);
    out.extend(rows.map(|row| if nulls.is_valid(row) { value(row) } else { null }));
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use arrow::array::{
        ArrayRef, BooleanArray, Decimal128Array, Decimal256Array, Float32Array, Int16Array, Int32Array,
        Int64Array, ListBuilder, StringArray, StringBuilder, TimestampSecondArray, UInt16Array, UInt64Array,
        new_null_array,
    };
    use arrow::compute::cast;
    use arrow::datatypes::i256;
    use arrow_schema::Field;
    use longbow_types::schema::vector_type;
    use longbow_types::{DefaultValue, Metric, Schema, VectorElement};

    fn layout(columns: Vec<Field>, version: u32) -> Layout {
        let mut fields = vec![
            Field::new("id", DataType::UInt64, false),
            Field::new("v", vector_type(VectorElement::F32, 2), false),
        ];
        fields.extend(columns);
        Layout::at(Schema::new(fields, "id", Metric::L2).unwrap(), version)
    }

    /// The hash of every cell of a column that rows need not tell.
    fn cells(array: &dyn Array) -> Vec<u128> {
        let mut hashed = Vec::new();
        hash(array, 0..array.len(), 7, &mut hashed);
        hashed
    }

    fn rows(layout: &Layout, columns: Vec<ArrayRef>, vectors: [u128; 2]) -> Digest {
        let mut all: Vec<ArrayRef> = vec![Arc::new(UInt64Array::from(vec![1, 2]))];
        all.extend(columns);
        all.push(Arc::new(UInt64Array::from(vec![9, 9])));
        let batch = RecordBatch::try_new(Arc::clone(layout.stored()), all).unwrap();
        of_rows(layout, &[], &batch, 0..2, |row| vectors[row])
    }

    #[test]
    fn a_value_keeps_its_hash_in_a_wider_type() {
        let numbers: ArrayRef = Arc::new(Int16Array::from(vec![Some(-3), None, Some(300)]));
        for wider in [DataType::Int32, DataType::Int64] {
            assert_eq!(cells(&cast(&numbers, &wider).unwrap()), cells(&numbers));
        }
        let unsigned: ArrayRef = Arc::new(UInt16Array::from(vec![u16::MAX, 0]));
        for wider in [DataType::UInt64, DataType::Int32, DataType::Int64] {
            assert_eq!(cells(&cast(&unsigned, &wider).unwrap()), cells(&unsigned));
        }
        let floats = [0.1, -0.0, f32::NAN, -f32::NAN, f32::MIN_POSITIVE];
        let floats: ArrayRef = Arc::new(Float32Array::from(floats.to_vec()));
        let hashed = cells(&floats);
        assert_eq!(cells(&cast(&floats, &DataType::Float64).unwrap()), hashed);
        assert_eq!(hashed[2], hashed[3], "one NaN is as good as another");
    }

    #[test]
    fn different_values_have_different_hashes() {
        let mut lists = ListBuilder::new(StringBuilder::new());
        for items in [&["ab"][..], &["a", "b"], &["b", "a"], &[""], &[]] {
            lists.append_value(items.iter().map(Some));
        }
        lists.append_value([None::<&str>]);
        lists.append_null();
        let wide = [
            Some(i256::ONE),
            Some(i256::from_parts(1, 1)),
            None,
            Some(i256::MINUS_ONE),
        ];
        let columns: [ArrayRef; 7] = [
            Arc::new(Decimal256Array::from(wide.to_vec())),
            Arc::new(lists.finish()),
            Arc::new(StringArray::from(vec![Some("null"), Some(""), None, Some("0")])),
            Arc::new(BooleanArray::from(vec![Some(true), Some(false), None])),
            Arc::new(Int64Array::from(vec![Some(-1), Some(1), Some(i64::MIN), None])),
            Arc::new(TimestampSecondArray::from(vec![Some(1), Some(2), None])),
            Arc::new(Decimal128Array::from(vec![Some(1), Some(1 << 100), None])),
        ];
        for column in columns {
            let mut hashed = cells(&column);
            // What stands before the rows looked at is none of their business.
            assert_eq!(cells(&column.slice(1, 2)), hashed[1..3], "{column:?}");
            let rows = hashed.len();
            hashed.sort_unstable();
            hashed.dedup();
            assert_eq!(hashed.len(), rows, "{column:?}");
        }
    }

    #[test]
    fn a_column_that_is_added_changes_nothing_and_one_that_is_told_does() {
        let before = rows(&layout(Vec::new(), 1), Vec::new(), [5, 6]);
        let more = |default| {
            let field = Field::new("n", DataType::Int32, true);
            let mut schema = layout(vec![field], 2).schema().clone();
            if let Some(value) = default {
                schema = schema.with_default("n", DefaultValue::Int(value)).unwrap();
            }
            Layout::at(schema, 2)
        };
        let numbers =
            |values: [Option<i32>; 2]| -> Vec<ArrayRef> { vec![Arc::new(Int32Array::from(values.to_vec()))] };
        let null = vec![new_null_array(&DataType::Int32, 2)];
        assert_eq!(rows(&more(None), null.clone(), [5, 6]), before);
        assert_eq!(rows(&more(Some(7)), numbers([Some(7), Some(7)]), [5, 6]), before);
        let told = rows(&more(Some(7)), numbers([Some(7), Some(8)]), [5, 6]);
        let nulls = rows(&more(Some(7)), null, [5, 6]);
        assert!(told != before && nulls != before && told != nulls);
        assert_ne!(
            rows(&layout(Vec::new(), 1), Vec::new(), [6, 5]),
            before,
            "vectors count"
        );
    }

    /// It stands in manifests: what it is must not change.
    #[test]
    fn golden() {
        let fields = vec![
            Field::new("n", DataType::Int32, true),
            Field::new("text", DataType::Utf8, true),
        ];
        let columns: Vec<ArrayRef> = vec![
            Arc::new(Int32Array::from(vec![Some(-1), None])),
            Arc::new(StringArray::from(vec!["dog", ""])),
        ];
        let elements: Vec<u8> = [0.5_f32, 2.0].iter().flat_map(|x| x.to_le_bytes()).collect();
        let digest = rows(&layout(fields, 1), columns, [vector(&elements), vector(&[])]);
        assert_eq!(digest.to_string(), GOLDEN);
        assert_eq!(Digest::from_bytes(digest.to_bytes()), digest);
    }

    const GOLDEN: &str = "672a8472475f56b3c85517c96787c210";
}
