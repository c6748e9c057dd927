//! Applies writes each row of which asks for what is there: for a row of some version, or for none.
//!
//! All rows of an entry are judged by the state before it, so that every replica comes to the same.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, UInt64Array};
use arrow::buffer::BooleanBuffer;
use arrow::compute::filter;
use arrow::datatypes::UInt64Type;
use longbow_query::ids::Ids;
use longbow_types::{Error, ErrorCode, Result};

use super::{Applied, Replica};
use crate::body::{Rows, decode_ids_if};
use crate::outcomes::Outcome;
use crate::tenants::Key;

/// The version of a row that is not there; no entry has this index.
const ABSENT: u64 = 0;

impl Replica {
    pub(super) fn upsert_if(&mut self, index: u64, body: &[u8], rows: u32) -> Result<Applied> {
        let layout = Arc::clone(&self.layout);
        let (decoded, versions) = Rows::decode_if(&layout, body, rows)?;
        let matched = self.matched(&decoded.columns[layout.id()], &versions)?;
        let applied = self.upsert(index, decoded.only(&matched, layout.vector_bytes())?)?;
        self.reader.outcomes.lock().add(index, Outcome::Rows(matched));
        Ok(applied)
    }

    pub(super) fn delete_if(&mut self, index: u64, body: &[u8], rows: u32) -> Result<Applied> {
        let (ids, versions) = decode_ids_if(&self.layout, body, rows)?;
        let matched = self.matched(&ids, &versions)?;
        let ids = filter(ids.as_ref(), &matched.clone().into())
            .map_err(|error| Error::new(ErrorCode::Internal, error.to_string()))?;
        let applied = self.delete(&ids)?;
        self.reader.outcomes.lock().add(index, Outcome::Rows(matched));
        Ok(applied)
    }

    /// Of which ids the row that is there has the version asked for.
    fn matched(&self, ids: &ArrayRef, versions: &UInt64Array) -> Result<BooleanBuffer> {
        let ids = Ids::new(ids.as_ref())?;
        Ok(BooleanBuffer::collect_bool(ids.len(), |row| {
            let key = self.ids.get(&ids, row, self.next_key);
            let version = key.and_then(|key| self.version_of(key)).unwrap_or(ABSENT);
            version == versions.value(row)
        }))
    }

    /// The version of a row, if it is live.
    pub(super) fn version_of(&self, key: Key) -> Option<u64> {
        let ((at, row), _) = self.rows().live(key)?;
        let columns = self.chunks[at].batch.columns();
        Some(columns.last()?.as_primitive::<UInt64Type>().value(row))
    }
}
