//! Puts the rows of some slots together as a batch.

use std::sync::Arc;

use arrow::array::{ArrayRef, FixedSizeListArray, PrimitiveArray, RecordBatch};
use arrow::buffer::{MutableBuffer, ScalarBuffer};
use arrow::datatypes::{ArrowPrimitiveType, Float16Type, Float32Type, Float64Type};
use arrow_schema::{ArrowError, DataType, FieldRef, Schema as ArrowSchema};
use longbow_types::limits::MESSAGE_BYTES_MAX;
use longbow_types::{Error, ErrorCode, Result, VectorElement};

use super::View;
use crate::Projection;
use crate::columns::Picks;

/// Largest answer put together in memory.
pub(super) const ANSWER_BYTES_MAX: usize = MESSAGE_BYTES_MAX;

/// A column of an answer.
pub(super) type Part = (FieldRef, ArrayRef);

impl View {
    /// A stored column of some slots.
    pub(super) fn stored(&self, picks: &Picks<'_>, column: usize) -> Result<Part> {
        let field = &self.layout.stored().fields()[column];
        Ok((Arc::clone(field), picks.gather(column)?))
    }

    /// The projected columns of some slots, the vector last.
    pub(super) fn projected(
        &self,
        picks: &Picks<'_>,
        slots: &[u32],
        projection: &Projection,
    ) -> Result<Vec<Part>> {
        let columns = projection
            .columns
            .iter()
            .map(|&column| self.stored(picks, column));
        let mut parts = columns.collect::<Result<Vec<_>>>()?;
        if projection.vector {
            parts.push(self.vectors(slots)?);
        }
        Ok(parts)
    }

    /// Bytes of one row of an answer.
    pub(super) fn answer_bytes(&self, picks: &Picks<'_>, pick: usize, projection: &Projection) -> usize {
        let columns: usize = projection
            .columns
            .iter()
            .map(|&column| picks.bytes(pick, column))
            .sum();
        let vector = if projection.vector {
            self.layout.vector_bytes()
        } else {
            0
        };
        picks.bytes(pick, self.layout.id()) + columns + vector
    }

    /// Bytes of an answer. Refuses one too large to be put together beside the `taken` bytes that are there already.
    pub(super) fn check_answer(
        &self,
        picks: &Picks<'_>,
        rows: usize,
        projection: &Projection,
        taken: usize,
    ) -> Result<usize> {
        let mut bytes = taken;
        for pick in 0..rows {
            bytes = bytes.saturating_add(self.answer_bytes(picks, pick, projection));
            if bytes > ANSWER_BYTES_MAX {
                let message = "the answer is too large; ask for fewer rows or columns";
                return Err(Error::new(ErrorCode::TooLarge, message)
                    .field("columns")
                    .limit(format_args!("{ANSWER_BYTES_MAX} bytes")));
            }
        }
        Ok(bytes - taken)
    }

    /// The vector column of some slots, equal bit by bit to what was written.
    fn vectors(&self, slots: &[u32]) -> Result<Part> {
        let vector = self.layout.schema().vector();
        let mut bytes = Vec::with_capacity(self.layout.vector_bytes());
        // Arrow wants its buffers aligned, which a Vec of bytes is not.
        let mut buffer = MutableBuffer::with_capacity(slots.len() * self.layout.vector_bytes());
        for &slot in slots {
            bytes.clear();
            self.index.vector(slot, &mut bytes);
            buffer.extend_from_slice(&bytes);
        }
        let values = match vector.element {
            VectorElement::F16 => primitive::<Float16Type>(buffer),
            VectorElement::F32 => primitive::<Float32Type>(buffer),
            VectorElement::F64 => primitive::<Float64Type>(buffer),
        };
        let field = Arc::clone(&self.layout.schema().arrow().fields()[vector.position]);
        let DataType::FixedSizeList(item, dimension) = field.data_type() else {
            return Err(Error::new(ErrorCode::Internal, "the vector column is not a list"));
        };
        let lists =
            FixedSizeListArray::try_new(Arc::clone(item), *dimension, values, None).map_err(internal)?;
        Ok((field, Arc::new(lists)))
    }
}

fn primitive<T: ArrowPrimitiveType>(buffer: MutableBuffer) -> ArrayRef {
    Arc::new(PrimitiveArray::<T>::new(ScalarBuffer::from(buffer), None))
}

/// A batch of parts.
pub(super) fn batch(parts: Vec<Part>) -> Result<RecordBatch> {
    let (fields, columns): (Vec<FieldRef>, Vec<ArrayRef>) = parts.into_iter().unzip();
    RecordBatch::try_new(Arc::new(ArrowSchema::new(fields)), columns).map_err(internal)
}

pub(super) fn internal(error: ArrowError) -> Error {
    Error::new(ErrorCode::Internal, format!("an answer: {error}"))
}
