//! Applies a change of the schema. No row is written again: see `versions`.

use std::sync::Arc;

use longbow_types::evolution::changes;
use longbow_types::{Error, ErrorCode, Result, Schema};

use super::Replica;
use crate::Layout;
use crate::further::Further;

impl Replica {
    /// Goes on with the next version of the schema. Rows that are there read as rows of it. O(columns), and where
    /// another column tells when rows go, O(rows).
    ///
    /// # Errors
    /// `SCHEMA_INCOMPATIBLE` for a schema that may not follow the one there is, `INTERNAL` for a version or an entry out
    /// of order. The state is that of the entry before.
    pub fn alter(&mut self, index: u64, schema: Schema, version: u32) -> Result<()> {
        self.check_order(index)?;
        let before = self.layout.version();
        if before.checked_add(1) != Some(version) {
            let message = format!("version {version} of the schema comes after version {before}");
            return Err(Error::new(ErrorCode::Internal, message));
        }
        changes(self.layout.schema(), &schema)?;
        let layout = Arc::new(Layout::at(schema, version));
        if layout.expires() != self.layout.expires() {
            self.instants = self.instants_anew(&layout)?;
            // Rows that had an instant of their own may have none now: all begin to age anew.
            (self.ages, self.passed) = Default::default();
        }
        if layout.schema().ttl().is_none() {
            (self.ages, self.passed) = Default::default();
        }
        // Columns keep their places, so that those that there are come first.
        let added = layout.further().iter().skip(self.further.len());
        let like = self.reader.index.params();
        self.further
            .extend(added.map(|column| Further::new(&column.vector, like)));
        self.layout = layout;
        self.applied_index = index;
        self.touched_index = index;
        Ok(())
    }
}
