//! What does a reader see? The state of a replica after one entry, for as long as the reader wants.

mod answer;
mod fetch;
mod scan;
mod search;

use std::sync::Arc;

use longbow_index::{Bitset, VectorIndex};
use longbow_query::filter::Predicate;
use longbow_types::{Error, ErrorCode, Result};

use crate::Layout;
use crate::columns::Chunks;
use crate::digest::Digest;
use crate::expiry::Ages;
use crate::further::Further;
use crate::ids::IdMap;
use crate::layout::vector_bytes;
use crate::located::Located;
use crate::tenants::{Key, Tenants};

pub use scan::Scan;
pub use search::{Found, Profile, Query};

/// The rows of one partition as of one index. Immutable; taking one waits for nobody.
pub struct View {
    pub(crate) layout: Arc<Layout>,
    pub(crate) index: Arc<VectorIndex>,
    pub(crate) ids: Arc<IdMap>,
    pub(crate) tenants: Arc<Tenants>,
    pub(crate) chunks: Chunks,
    /// One bit per slot: whether a live row stands there.
    pub(crate) live: Arc<Bitset>,
    pub(crate) live_rows: usize,
    /// Of vector columns that rows need not have a value in, in the order of the layout.
    pub(crate) further: Vec<Further>,
    pub(crate) digest: Digest,
    /// Rows have keys below.
    pub(crate) next_key: Key,
    pub(crate) applied_index: u64,
    pub(crate) touched_index: u64,
    pub(crate) ages: Arc<Ages>,
}

impl View {
    /// How rows are laid out.
    pub fn layout(&self) -> &Arc<Layout> {
        &self.layout
    }

    /// Last index applied.
    pub fn applied_index(&self) -> u64 {
        self.applied_index
    }

    /// Last index that touched this partition.
    pub fn touched_index(&self) -> u64 {
        self.touched_index
    }

    /// Live rows.
    pub fn rows(&self) -> usize {
        self.live_rows
    }

    /// Rows stored, dead ones included that were not left out yet.
    pub fn rows_stored(&self) -> usize {
        self.chunks.iter().map(|chunk| chunk.rows()).sum()
    }

    /// Chunks that the rows stand in.
    pub fn chunks(&self) -> usize {
        self.chunks.len()
    }

    /// Slots of the vector index, those included that hold no row now.
    pub fn slots(&self) -> u32 {
        u32::try_from(self.live.len()).expect("the index refuses slots beyond 32 bits")
    }

    /// Bytes of live rows: their vectors in all columns, and their share of the columns.
    pub fn bytes(&self) -> u64 {
        let columns: usize = self.chunks.iter().map(|chunk| chunk.bytes).sum();
        let share = columns as f64 * self.live_rows as f64 / self.rows_stored().max(1) as f64;
        let columns = self.layout.further().iter().zip(&self.further);
        let further: usize = columns
            .map(|(column, further)| further.rows * vector_bytes(&column.vector))
            .sum();
        (self.live_rows * self.layout.vector_bytes() + further) as u64 + share as u64
    }

    /// Where the rows stand.
    pub(crate) fn located(&self) -> Located<'_> {
        Located {
            chunks: &self.chunks,
            live: &self.live,
            tenants: &self.tenants,
        }
    }

    /// The live slots for whose rows a predicate is true.
    fn matching(&self, predicate: &Predicate, cancel: &dyn Fn() -> bool) -> Result<Bitset> {
        self.located().matching(&self.layout, predicate, cancel)
    }
}

pub(crate) fn cancelled() -> Error {
    Error::new(ErrorCode::Cancelled, "the caller gave up or ran out of time")
}
