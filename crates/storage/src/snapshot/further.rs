//! How do further vector columns stand in files? Each has an image of its index, whose slots follow the rows that have a
//! value there, as these stand in the columns; and in the files of columns a truth value tells which rows those are, so
//! that no file has to be written again when slots are given to others.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, UInt32Array};
use arrow::buffer::BooleanBuffer;
use arrow_schema::{DataType, Field, Schema as ArrowSchema};
use longbow_index::{Bitset, HOLE, VectorIndex};

use super::error::{Error, Result};
use crate::columns::Chunks;
use crate::further::{Further, slot, slots};
use crate::tenants::Tenants;
use crate::{Layout, View};

/// The slots that an image has, in its order.
pub(super) struct Order {
    /// Slots of the index; a hole for that of a dead row which is another's now.
    slots: Vec<u32>,
}

impl Order {
    /// Of a further vector column of a view.
    pub(super) fn of(view: &View, at: usize) -> Self {
        let (stored, further) = (view.layout.further()[at].stored, &view.further[at]);
        let mut order = Vec::with_capacity(further.rows);
        for chunk in &view.chunks {
            for row in 0..chunk.rows() {
                if let Some(slot) = slot(&chunk.batch, stored, row) {
                    // A dead row in its own slot stays there: paths of the graph lead through it.
                    let is_tenant = further.tenants.get(slot) == chunk.keys.at(row);
                    order.push(if is_tenant { slot } else { HOLE });
                }
            }
        }
        Self { slots: order }
    }

    /// How many they are: at most as many as rows, which 32 bits number.
    pub(super) fn len(&self) -> u32 {
        self.slots.len() as u32
    }

    /// Writes the image.
    pub(super) fn write(&self, index: &VectorIndex, out: &mut dyn std::io::Write) -> std::io::Result<()> {
        let is_in_order = (0..).zip(&self.slots).all(|(at, &slot): (u32, _)| at == slot);
        let written = if is_in_order {
            index.write_image(self.len(), out)
        } else {
            index.write_image_in_order(&self.slots, out)
        };
        written.map(drop)
    }
}

/// Rows as a file has them: which have a value in place of the slots where these stand.
pub(super) fn to_file(layout: &Layout, batch: &RecordBatch) -> std::result::Result<RecordBatch, String> {
    let told = |slots: &UInt32Array| {
        let told = match slots.nulls() {
            Some(nulls) => nulls.inner().clone(),
            None => BooleanBuffer::new_set(slots.len()),
        };
        Ok(Arc::new(BooleanArray::new(told, None)) as ArrayRef)
    };
    replaced(layout, batch, DataType::Boolean, &mut |_, column| {
        told(column.as_primitive())
    })
}

/// The same rows as a replica has them. `next` tells the slot of the next value of each column.
pub(super) fn from_file(
    layout: &Layout,
    batch: &RecordBatch,
    next: &mut [u32],
) -> std::result::Result<RecordBatch, String> {
    replaced(layout, batch, DataType::UInt32, &mut |at, column| {
        let told = column
            .as_boolean_opt()
            .filter(|told| told.null_count() == 0)
            .ok_or_else(|| {
                format!(
                    "a further vector column is {}, not truth values",
                    column.data_type()
                )
            })?;
        let next = &mut next[at];
        let of_row = |is_there: bool| {
            is_there.then(|| {
                *next += 1;
                *next - 1
            })
        };
        Ok(Arc::new(told.values().iter().map(of_row).collect::<UInt32Array>()) as ArrayRef)
    })
}

/// Rows with other columns, of another type, in place of those of further vectors that there are.
fn replaced(
    layout: &Layout,
    batch: &RecordBatch,
    data_type: DataType,
    with: &mut dyn FnMut(usize, &ArrayRef) -> std::result::Result<ArrayRef, String>,
) -> std::result::Result<RecordBatch, String> {
    let mut columns = batch.columns().to_vec();
    let mut fields: Vec<Arc<Field>> = batch.schema().fields().iter().cloned().collect();
    let is_slots = data_type == DataType::UInt32;
    let mut is_changed = false;
    for (at, further) in layout.further().iter().enumerate() {
        // Behind the columns that there were stands `_row_version`.
        if further.stored + 1 >= columns.len() {
            continue;
        }
        columns[further.stored] = with(at, &columns[further.stored])?;
        let name = fields[further.stored].name().clone();
        fields[further.stored] = Arc::new(Field::new(name, data_type.clone(), is_slots));
        is_changed = true;
    }
    if !is_changed {
        return Ok(batch.clone());
    }
    RecordBatch::try_new(Arc::new(ArrowSchema::new(fields)), columns).map_err(|error| error.to_string())
}

/// The values of a further vector column whose slots follow its rows, which are numbered as they stand in the chunks. The
/// slots that no live row has are taken out of the index.
pub(super) fn opened(
    index: VectorIndex,
    chunks: &Chunks,
    stored: usize,
    live: &Bitset,
    file: &str,
) -> Result<Further> {
    let tenants = Tenants::in_order(0);
    let mut has = Bitset::new(index.len() as usize);
    let mut base = 0_usize;
    for chunk in chunks {
        for (row, slot) in slots(&chunk.batch, stored).into_iter().flatten().enumerate() {
            let Some(slot) = slot else { continue };
            tenants.set(slot, (base + row) as u64);
            if live.get(base + row) {
                if slot >= index.len() || !index.holds(slot) {
                    return Err(Error::damaged(file, "its rows are not those of the columns"));
                }
                has.set(slot as usize);
            }
        }
        base += chunk.rows();
    }
    // Rows that were retired when the view was taken, and that older views still showed.
    (0..index.len())
        .filter(|&slot| !has.get(slot as usize))
        .for_each(|slot| index.remove(slot));
    Ok(Further {
        rows: has.count(),
        index: Arc::new(index),
        tenants: Arc::new(tenants),
        live: Arc::new(has),
    })
}
