//! Puts the rows of some slots together as a batch.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::UInt32Type;
use arrow_schema::{ArrowError, FieldRef, Schema as ArrowSchema};
use longbow_index::VectorIndex;
use longbow_types::limits::MESSAGE_BYTES_MAX;
use longbow_types::{Error, ErrorCode, Result, VectorColumn};

use super::View;
use crate::Projection;
use crate::columns::Picks;
use crate::further;
use crate::layout::vector_bytes;

/// Largest answer put together in memory.
pub(super) const ANSWER_BYTES_MAX: usize = MESSAGE_BYTES_MAX;

/// A column of an answer.
pub(super) type Part = (FieldRef, ArrayRef);

impl View {
    /// A column of some rows, by its place among those stored.
    pub(super) fn stored(&self, picks: &Picks<'_>, column: usize) -> Result<Part> {
        let gathered = picks.gather(column)?;
        let Some(at) = self.layout.further_at(column) else {
            let field = &self.layout.stored().fields()[column];
            return Ok((Arc::clone(field), gathered));
        };
        let slots = gathered.as_primitive::<UInt32Type>().iter();
        self.vectors(self.layout.further()[at].vector, &self.further[at].index, slots)
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
            let vector = self.layout.schema().vector();
            parts.push(self.vectors(vector, &self.index, slots.iter().map(|&slot| Some(slot)))?);
        }
        Ok(parts)
    }

    /// Bytes of one row of an answer.
    pub(super) fn answer_bytes(&self, picks: &Picks<'_>, pick: usize, projection: &Projection) -> usize {
        let columns: usize = projection
            .columns
            .iter()
            .map(|&column| match self.layout.further_at(column) {
                // Null or not: lists of a fixed size.
                Some(at) => vector_bytes(&self.layout.further()[at].vector),
                None => picks.bytes(pick, column),
            })
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

    /// A vector column of rows whose vectors stand in some slots.
    fn vectors(
        &self,
        vector: VectorColumn,
        index: &VectorIndex,
        slots: impl ExactSizeIterator<Item = Option<u32>>,
    ) -> Result<Part> {
        let field = Arc::clone(&self.layout.schema().arrow().fields()[vector.position]);
        let lists = further::lists(&field, &vector, index, slots)?;
        Ok((field, lists))
    }
}

/// A batch of parts.
pub(super) fn batch(parts: Vec<Part>) -> Result<RecordBatch> {
    let (fields, columns): (Vec<FieldRef>, Vec<ArrayRef>) = parts.into_iter().unzip();
    RecordBatch::try_new(Arc::new(ArrowSchema::new(fields)), columns).map_err(internal)
}

pub(super) fn internal(error: ArrowError) -> Error {
    Error::new(ErrorCode::Internal, format!("an answer: {error}"))
}
