//! How making an index, appending and searching can fail.

/// Why an index was not made, or rows were not appended; nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The bytes are not a whole number of rows.
    #[error("{bytes} bytes are not a whole number of rows of {row_bytes} bytes")]
    Ragged {
        /// Bytes given.
        bytes: usize,
        /// Bytes of one row.
        row_bytes: usize,
    },
    /// Vectors are longer than an index takes.
    #[error("vectors of {dimension} elements; an index takes at most {limit} real numbers each")]
    TooLong {
        /// Elements asked for.
        dimension: usize,
        /// Most real numbers of a vector.
        limit: usize,
    },
    /// Slots are numbered with 31 bits.
    #[error("an index holds at most {limit} slots")]
    Full {
        /// Most slots of an index.
        limit: u32,
    },
    /// The system refused memory.
    #[error("the system refused {bytes} bytes of memory")]
    OutOfMemory {
        /// Bytes asked for.
        bytes: usize,
    },
}

/// A recall target that is not above 0 and at most 1.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
#[error("a recall target is above 0 and at most 1, not {target}")]
pub struct InvalidTarget {
    /// What was given.
    pub target: f32,
}

/// Why a search has no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SearchError {
    /// The caller's cancel function said to stop.
    #[error("the search was cancelled")]
    Cancelled,
    /// A query is longer or shorter than rows are.
    #[error("a query of {found} real numbers, where rows have {expected}")]
    Dimension {
        /// Real numbers of a row.
        expected: usize,
        /// Real numbers of the query.
        found: usize,
    },
    /// A query given as a row's bytes ends within a number.
    #[error("a query of {found} bytes, where rows have {expected}")]
    Ragged {
        /// Bytes of a row.
        expected: usize,
        /// Bytes of the query.
        found: usize,
    },
}

/// The caller's cancel function said to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the search was cancelled")]
pub struct Cancelled;

impl From<Cancelled> for SearchError {
    fn from(_: Cancelled) -> Self {
        Self::Cancelled
    }
}
