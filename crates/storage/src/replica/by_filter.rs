//! Deletes the rows that a predicate is true of.

use std::sync::Arc;

use longbow_query::filter::Predicate;
use longbow_query::ids::Ids;
use longbow_types::Result;

use super::{Applied, Replica};
use crate::digest::Digest;
use crate::located::Located;
use crate::outcomes::Outcome;

impl Replica {
    /// Applies a delete of those rows that are there before the entry and of which a predicate is true, which was compiled
    /// against the [schema](Self::layout) that there is. O(rows).
    ///
    /// # Errors
    /// `INTERNAL` for an entry out of order, or a predicate of another schema. The state is that of the entry before.
    pub fn delete_where(&mut self, index: u64, predicate: &Predicate) -> Result<Applied> {
        self.check_order(index)?;
        let layout = Arc::clone(&self.layout);
        let matching = self.rows().matching(&layout, predicate, &|| false)?;
        let rows = Located {
            live: &matching,
            ..self.rows()
        };
        let mut lost = Vec::new();
        for chunk in &self.chunks {
            let ids = Ids::new(chunk.batch.column(layout.id()).as_ref())?;
            let matching = (0..chunk.rows()).filter(|&row| rows.slot(chunk, row).is_some());
            lost.extend(matching.filter_map(|row| self.ids.trace(&ids, row, self.next_key)));
        }
        let retired = self.commit(self.chunks.clone(), (&[], &[]), Digest::default(), &lost);
        self.retired.lose(lost);
        self.applied_index = index;
        self.touched_index = index;
        let outcome = Outcome::Matched(retired as u64);
        self.reader.outcomes.lock().add(index, outcome);
        Ok(Applied {
            rows: retired,
            retired,
        })
    }
}
