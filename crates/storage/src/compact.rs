//! How do many small chunks with dead rows in them become few full ones without? Beside everything else.
//!
//! [`View::compaction`](crate::View::compaction) decides (by the policy) which neighbouring chunks of a view are to be
//! merged; a [`Merge`] copies their live rows into a new chunk, on the threads of whoever carries it out and beside the
//! writer; [`Replica::install`](crate::Replica::install) puts the new chunk into the place of the old ones and publishes the list in one step. Readers see the old chunks or
//! the new one, never a mixture, and views that were taken before go on showing the old ones.
//!
//! Rows keep their keys and slots; the vectors and their graph are not touched. A row that is replaced or deleted while
//! chunks are merged is dead in the new chunk as in the old ones: which rows are live is no matter of chunks.
//!
//! Invariants:
//! - a merge holds its view, so that no slot of the rows that it copies is given to another row before it is installed;
//! - a row is left out only if it was dead in that view.

pub mod blocks;
mod merge;
mod policy;

use crate::columns::{CHUNK_BYTES_MAX, CHUNK_ROWS_MAX, LOOSE_ROWS_MAX};

pub use merge::{Cursor, Merge, Merged, Moved, Plan};

/// How large chunks are to be.
#[derive(Debug, Clone, Copy)]
pub struct Sizes {
    /// Chunks of at most so many rows at the end of the list are the writer's to merge.
    pub loose_rows_max: usize,
    /// Most live rows of several chunks that are merged into one.
    pub rows_max: usize,
    /// Most bytes of them.
    pub bytes_max: usize,
}

impl Default for Sizes {
    fn default() -> Self {
        Self {
            loose_rows_max: LOOSE_ROWS_MAX,
            rows_max: CHUNK_ROWS_MAX,
            bytes_max: CHUNK_BYTES_MAX,
        }
    }
}

impl Sizes {
    fn limits(&self) -> policy::Limits {
        policy::Limits {
            rows_max: self.rows_max as u64,
            bytes_max: self.bytes_max as u64,
        }
    }
}
