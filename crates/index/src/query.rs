//! What a caller asks with.

use std::marker::PhantomData;

use crate::error::SearchError;

/// A query vector: as many real numbers as a row has, two for each complex one.
///
/// 64-bit floats hold every element type exactly but the 64-bit integers, of which a stored row's own bytes do. Floats are
/// rounded to 32 bits where rows have no more than that.
#[derive(Debug, Clone, Copy)]
pub enum QueryVector<'a> {
    /// 32-bit floats.
    F32(&'a [f32]),
    /// 64-bit floats.
    F64(&'a [f64]),
    /// Native-endian bytes of the index's element type, as a row is appended.
    Row(&'a [u8]),
}

macro_rules! from_floats {
    ($($float:ty => $variant:ident),*) => {$(
        impl<'a> From<&'a [$float]> for QueryVector<'a> {
            fn from(query: &'a [$float]) -> Self {
                Self::$variant(query)
            }
        }

        impl<'a> From<&'a Vec<$float>> for QueryVector<'a> {
            fn from(query: &'a Vec<$float>) -> Self {
                Self::$variant(query)
            }
        }

        impl<'a, const N: usize> From<&'a [$float; N]> for QueryVector<'a> {
            fn from(query: &'a [$float; N]) -> Self {
                Self::$variant(query)
            }
        }
    )*};
}
from_floats!(f32 => F32, f64 => F64);

/// The queries of a batch, whatever they are.
pub(crate) trait Queries {
    fn query(&self, at: usize) -> QueryVector<'_>;
}

/// A slice of what queries are made of.
pub(crate) struct Asked<'s, 'q, Q> {
    pub(crate) queries: &'s [Q],
    pub(crate) of: PhantomData<&'q ()>,
}

impl<'q, Q: Copy + Into<QueryVector<'q>>> Queries for Asked<'_, 'q, Q> {
    fn query(&self, at: usize) -> QueryVector<'_> {
        self.queries[at].into()
    }
}

impl QueryVector<'_> {
    /// The query, if it has as many real numbers as a row, of `size` bytes each in it.
    pub(crate) fn checked(self, expected: usize, size: usize) -> Result<Self, SearchError> {
        let found = match self {
            Self::F32(query) => query.len(),
            Self::F64(query) => query.len(),
            Self::Row(row) if row.len().is_multiple_of(size) => row.len() / size,
            Self::Row(row) => {
                return Err(SearchError::Ragged {
                    expected: expected * size,
                    found: row.len(),
                });
            }
        };
        if found == expected {
            Ok(self)
        } else {
            Err(SearchError::Dimension { expected, found })
        }
    }
}
