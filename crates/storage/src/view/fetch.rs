//! Rows by id.

use arrow::array::{Array, RecordBatch};
use longbow_query::ids::Ids;
use longbow_types::{Error, ErrorCode, Result};

use super::{View, answer};
use crate::Projection;
use crate::columns::{Picks, Place};

impl View {
    /// The live rows of some ids, in no order, each once: the id, `_row_version`, then the columns asked for. Ids
    /// that are not there are left out.
    ///
    /// # Errors
    /// `TYPE_MISMATCH` or `NULL_NOT_ALLOWED` if the array does not hold ids of the dataset's kind; `TOO_LARGE` for an
    /// answer that is.
    pub fn fetch(&self, ids: &dyn Array, projection: &Projection) -> Result<RecordBatch> {
        self.fetch_beside(ids, projection, &mut 0)
    }

    /// The same as a part of an answer that has `taken` bytes already, to which it adds its own.
    ///
    /// # Errors
    /// Those of [`Self::fetch`]; `TOO_LARGE` is about the whole answer.
    pub fn fetch_beside(
        &self,
        ids: &dyn Array,
        projection: &Projection,
        taken: &mut usize,
    ) -> Result<RecordBatch> {
        let ids = Ids::new(ids)?;
        let kind = self.layout.schema().id_kind();
        if ids.kind() != kind {
            let message = format!("the dataset's ids are {kind}, not {}", ids.kind());
            return Err(Error::new(ErrorCode::TypeMismatch, message)
                .field("ids")
                .limit(kind));
        }
        let located = self.located();
        let mut rows: Vec<(Place, u32)> = (0..ids.len())
            .filter_map(|row| located.live(self.ids.get(&ids, row, self.next_key)?))
            .collect();
        rows.sort_unstable();
        rows.dedup();
        let (places, slots): (Vec<Place>, Vec<u32>) = rows.into_iter().unzip();

        let picks = Picks::new(&self.layout, &self.chunks, &places);
        *taken += self.check_answer(&picks, slots.len(), projection, *taken)?;
        let mut parts = vec![
            self.stored(&picks, self.layout.id())?,
            self.stored(&picks, self.layout.row_version())?,
        ];
        parts.extend(self.projected(&picks, &slots, projection)?);
        answer::batch(parts)
    }
}
