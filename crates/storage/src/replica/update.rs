//! Applies changes of some columns of rows that are there: what is not told stays as it was before the entry.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::buffer::{BooleanBuffer, Buffer};
use arrow::compute::filter;
use arrow::datatypes::UInt32Type;
use longbow_query::ids::Ids;
use longbow_query::rank::ANY_ROW_VERSION;
use longbow_types::{Error, ErrorCode, Result};

use super::{Applied, Replica};
use crate::body::{Changes, Rows};
use crate::columns::{Picks, Place};
use crate::further;
use crate::outcomes::Outcome;

impl Replica {
    pub(super) fn update(&mut self, index: u64, body: &[u8], rows: u32) -> Result<Applied> {
        let layout = Arc::clone(&self.layout);
        let changes = Changes::decode(&layout, body, rows)?;
        let id_column = changes
            .columns
            .get(&layout.id())
            .ok_or_else(|| Error::new(ErrorCode::MalformedArrow, "an update without ids"))?;
        let (matched, there) = self.there(id_column, &changes)?;
        let changed = self.changed(&changes, &matched, &there)?;
        let applied = self.upsert(index, changed)?;
        self.reader.outcomes.lock().add(index, Outcome::Rows(matched));
        Ok(applied)
    }

    /// Which rows are there, of a version that will do, and where these are.
    fn there(&self, ids: &ArrayRef, changes: &Changes) -> Result<(BooleanBuffer, Vec<(Place, u32)>)> {
        let ids = Ids::new(ids.as_ref())?;
        let located = self.rows();
        let mut there = Vec::new();
        let matched = BooleanBuffer::collect_bool(ids.len(), |row| {
            let asked = changes.versions.value(row);
            let key = self.ids.get(&ids, row, self.next_key);
            let is_it = |key: &u64| asked == ANY_ROW_VERSION || self.version_of(*key) == Some(asked);
            let found = key.filter(is_it).and_then(|key| located.live(key));
            there.extend(found);
            found.is_some()
        });
        Ok((matched, there))
    }

    /// The rows as they are from now on.
    fn changed(&self, changes: &Changes, matched: &BooleanBuffer, there: &[(Place, u32)]) -> Result<Rows> {
        let layout = &self.layout;
        let places: Vec<Place> = there.iter().map(|(place, _)| *place).collect();
        let picks = Picks::new(layout, &self.chunks, &places);
        let mask = matched.clone().into();
        let columns = (0..layout.row_version()).map(|column| match changes.columns.get(&column) {
            Some(told) => {
                filter(told, &mask).map_err(|error| Error::new(ErrorCode::Internal, error.to_string()))
            }
            None => self.untold(&picks, column),
        });
        let columns = columns.collect::<Result<Vec<ArrayRef>>>()?;
        let width = layout.vector_bytes();
        let mut vectors = Vec::with_capacity(there.len() * width);
        match &changes.vectors {
            Some(told) => matched
                .set_indices()
                .for_each(|row| vectors.extend_from_slice(&told[row * width..][..width])),
            None => {
                for (_, slot) in there {
                    self.reader.index.vector(*slot, &mut vectors);
                }
            }
        }
        Ok(Rows {
            columns,
            vectors: vec![Buffer::from_vec(vectors)],
            rows: there.len(),
        })
    }

    /// A stored column of rows that keep what they have there. Vectors are written again with their rows, into slots
    /// of their own: views of before go on to show those that there are.
    fn untold(&self, picks: &Picks<'_>, column: usize) -> Result<ArrayRef> {
        let gathered = picks.gather(column)?;
        let Some(at) = self.layout.further_at(column) else {
            return Ok(gathered);
        };
        let slots = gathered.as_primitive::<UInt32Type>();
        if slots.null_count() == slots.len() {
            return Ok(gathered);
        }
        let vector = self.layout.further()[at].vector;
        let field = &self.layout.schema().arrow().fields()[vector.position];
        further::lists(field, &vector, &self.further[at].index, slots.iter())
    }
}
