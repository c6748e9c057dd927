//! Where are the vectors that rows need not have?
//!
//! The vector that every row has stands in the slot that the row is given, and tells who is live. Of a further vector
//! column there is an index of its own, whose slots are given to the rows alone that have a value: a row without one
//! takes no memory there. Among the stored columns each has its place, where the slot of each row's value stands, or a
//! null; so chunks are merged and rows are gathered as for any other column, and only who looks at a value goes to the
//! index.
//!
//! Invariants:
//! - a slot is live exactly if the row is that it was given to, and two rows have never the same;
//! - a chunk of an earlier version of the schema has no such column: its rows have no value.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, FixedSizeListArray, PrimitiveArray, RecordBatch,
    UInt32Array,
};
use arrow::buffer::{MutableBuffer, ScalarBuffer};
use arrow::datatypes::{Float16Type, Float32Type, Float64Type, UInt32Type};
use arrow_schema::{ArrowError, DataType, FieldRef};
use longbow_index::{Bitset, Params, VectorIndex};
use longbow_types::{Error, ErrorCode, Result, VectorColumn, VectorElement};

use crate::layout::{FurtherColumn, params, quantization, vector_bytes};
use crate::tenants::{Key, Tenants};

/// The values of one further vector column.
#[derive(Clone)]
pub(crate) struct Further {
    pub(crate) index: Arc<VectorIndex>,
    /// Which row stands in a slot.
    pub(crate) tenants: Arc<Tenants>,
    /// One bit per slot: whether it is that of a live row.
    pub(crate) live: Arc<Bitset>,
    /// Live rows that have a value.
    pub(crate) rows: usize,
}

impl Further {
    /// Of a column that no row has a value in, whose graph is built as `like` says.
    pub(crate) fn new(vector: &VectorColumn, like: &Params) -> Self {
        let params = Params {
            m: like.m,
            ef_construction: like.ef_construction,
            seed: like.seed,
            ..params(vector)
        };
        let index = VectorIndex::with_quantization(params, quantization(vector));
        Self {
            index: Arc::new(index),
            tenants: Arc::new(Tenants::in_order(0)),
            live: Arc::new(Bitset::new(0)),
            rows: 0,
        }
    }

    /// Puts the vectors of some rows into slots. No view shows these before they are published.
    pub(crate) fn place(&self, column: &FurtherColumn, told: &ArrayRef) -> Result<UInt32Array> {
        let Some(lists) = told.as_fixed_size_list_opt() else {
            // Nothing was told: the nulls that are stored.
            return Ok(told.as_primitive::<UInt32Type>().clone());
        };
        let width = vector_bytes(&column.vector);
        let values = raw(lists.values(), &column.vector);
        let mut told = Vec::with_capacity((lists.len() - lists.null_count()) * width);
        for row in (0..lists.len()).filter(|&row| lists.is_valid(row)) {
            told.extend_from_slice(&values[row * width..][..width]);
        }
        let mut slots = Vec::with_capacity(told.len() / width);
        if !told.is_empty() {
            self.index.insert(&told, &mut slots).map_err(index_error)?;
        }
        if slots.len() * width != told.len() {
            let message = format!(
                "the index gave {} slots to {} vectors",
                slots.len(),
                told.len() / width
            );
            return Err(Error::new(ErrorCode::Internal, message));
        }
        let mut slots = slots.into_iter();
        let of_row = |row| lists.is_valid(row).then(|| slots.next()).flatten();
        Ok((0..lists.len()).map(of_row).collect())
    }

    /// Rows with consecutive keys from `first` on stand in these slots from now on.
    pub(crate) fn settle(&mut self, first: Key, slots: &UInt32Array) {
        if slots.null_count() == slots.len() {
            return;
        }
        // A copy if a view shows the bitmap, which is once per published state.
        let live = Arc::make_mut(&mut self.live);
        live.resize(live.len().max(self.index.len() as usize));
        for (key, slot) in (first..).zip(slots) {
            if let Some(slot) = slot {
                self.tenants.set(slot, key);
                live.set(slot as usize);
                self.rows += 1;
            }
        }
    }

    /// The row in a slot that was live is not any more.
    pub(crate) fn leave(&mut self, slot: u32) {
        Arc::make_mut(&mut self.live).clear(slot as usize);
        self.rows -= 1;
    }
}

/// The slots of a chunk's rows in a further vector column, which stands at a position among the stored columns.
pub(crate) fn slots(batch: &RecordBatch, stored: usize) -> Option<&UInt32Array> {
    // Behind the columns that there were stands `_row_version`.
    (stored + 1 < batch.num_columns()).then(|| batch.column(stored).as_primitive())
}

/// The slot of one of them.
pub(crate) fn slot(batch: &RecordBatch, stored: usize, row: usize) -> Option<u32> {
    let slots = slots(batch, stored)?;
    slots.is_valid(row).then(|| slots.value(row))
}

/// The vectors in some slots, equal bit by bit to what was written; of none a null.
pub(crate) fn lists(
    field: &FieldRef,
    vector: &VectorColumn,
    index: &VectorIndex,
    slots: impl ExactSizeIterator<Item = Option<u32>>,
) -> Result<ArrayRef> {
    let width = vector_bytes(vector);
    let rows = slots.len();
    let mut bytes = Vec::with_capacity(width);
    // Arrow wants its buffers aligned, which a Vec of bytes is not.
    let mut buffer = MutableBuffer::with_capacity(rows * width);
    let mut valid = Vec::with_capacity(rows);
    for slot in slots {
        bytes.clear();
        match slot {
            Some(slot) => drop(index.vector(slot, &mut bytes)),
            None => bytes.resize(width, 0),
        }
        buffer.extend_from_slice(&bytes);
        valid.push(slot.is_some());
    }
    let values = match vector.element {
        VectorElement::F16 => primitive::<Float16Type>(buffer),
        VectorElement::F32 => primitive::<Float32Type>(buffer),
        VectorElement::F64 => primitive::<Float64Type>(buffer),
    };
    let DataType::FixedSizeList(item, dimension) = field.data_type() else {
        return Err(Error::new(ErrorCode::Internal, "a vector column is not a list"));
    };
    let nulls = valid.contains(&false).then(|| valid.into());
    let lists = FixedSizeListArray::try_new_with_length(Arc::clone(item), *dimension, values, nulls, rows);
    let internal = |error: ArrowError| Error::new(ErrorCode::Internal, format!("vectors: {error}"));
    Ok(Arc::new(lists.map_err(internal)?))
}

fn primitive<T: ArrowPrimitiveType>(buffer: MutableBuffer) -> ArrayRef {
    Arc::new(PrimitiveArray::<T>::new(ScalarBuffer::from(buffer), None))
}

/// The bytes of elements, in native byte order.
pub(crate) fn raw<'a>(values: &'a ArrayRef, vector: &VectorColumn) -> &'a [u8] {
    match vector.element {
        VectorElement::F16 => values.as_primitive::<Float16Type>().values().inner().as_slice(),
        VectorElement::F32 => values.as_primitive::<Float32Type>().values().inner().as_slice(),
        VectorElement::F64 => values.as_primitive::<Float64Type>().values().inner().as_slice(),
    }
}

pub(crate) fn index_error(error: longbow_index::Error) -> Error {
    let code = match error {
        longbow_index::Error::Full { .. } => ErrorCode::TooLarge,
        longbow_index::Error::OutOfMemory { .. } => ErrorCode::StorageFailed,
        _ => ErrorCode::Internal,
    };
    Error::new(code, format!("vector index: {error}"))
}
