//! Applies a change of the schema. No row is written again: see `versions`.

use std::sync::Arc;

use longbow_types::evolution::changes;
use longbow_types::{Error, ErrorCode, Result, Schema};

use super::Replica;
use crate::Layout;

impl Replica {
    /// Goes on with the next version of the schema. Rows that are there read as rows of it. O(columns).
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
        self.layout = Arc::new(Layout::at(schema, version));
        self.applied_index = index;
        self.touched_index = index;
        Ok(())
    }
}
