//! What is searched near: a vector, or the vector of a row?

use std::time::Instant;

use longbow_types::{Error, ErrorCode, Result, RowId, VectorElement};
use longbow_wire::v1;

use super::{Core, Fetch, Open};
use crate::{
    ingest::vectors::check_query,
    rows::{Projection, id_from_proto},
};

/// A query vector, as wide as the column that is searched.
#[derive(Debug, Clone, PartialEq)]
pub enum Vector {
    /// Of 32-bit floats, for columns of those or narrower ones.
    F32(Vec<f32>),
    /// Of 64-bit floats.
    F64(Vec<f64>),
}

/// What a search is near.
#[derive(Debug, Clone, PartialEq)]
pub struct Near {
    /// The query vector.
    pub vector: Vector,
    /// The row whose vector it is; left out of the answer.
    pub row: Option<RowId>,
    /// How fresh the vector is that was read of that row.
    pub freshness: v1::Freshness,
}

impl Near {
    /// A vector of the caller's.
    fn vector(vector: Vector) -> Self {
        Self {
            vector,
            row: None,
            freshness: v1::Freshness::default(),
        }
    }
}

impl Core {
    /// Settles the query vector of a search.
    ///
    /// # Errors
    /// `MISSING_FIELD`, `DIMENSION_MISMATCH`, `INVALID_VECTOR` or `ROW_NOT_FOUND`.
    pub(super) async fn near(
        &self,
        open: &Open,
        query: Option<&v1::search_request::Query>,
        consistency: Option<&v1::Consistency>,
        at: Instant,
    ) -> Result<Near> {
        use v1::search_request::Query;
        match query {
            Some(Query::Vector(vector)) => {
                check_query(&vector.values, &open.schema.vector(), "vector")?;
                Ok(Near::vector(Vector::F32(vector.values.clone())))
            }
            Some(Query::Vector64(vector)) => {
                let column = open.schema.vector();
                let vector = match column.element {
                    VectorElement::F64 => Vector::F64(vector.values.clone()),
                    // Checked as what it becomes.
                    VectorElement::F32 | VectorElement::F16 => {
                        Vector::F32(vector.values.iter().map(|&x| x as f32).collect())
                    }
                };
                match &vector {
                    Vector::F32(values) => check_query(values, &column, "vector64")?,
                    Vector::F64(values) => check_query(values, &column, "vector64")?,
                }
                Ok(Near::vector(vector))
            }
            Some(Query::Id(id)) => {
                let id = id_from_proto(Some(id), open.schema.id_kind(), "id")?;
                let (vector, freshness) = self.vector_of(open, &id, consistency, at).await?;
                Ok(Near {
                    vector,
                    row: Some(id),
                    freshness,
                })
            }
            None => Err(Error::new(
                ErrorCode::MissingField,
                "the search has neither a vector nor an id",
            )
            .field("query")
            .limit("vector or id")),
        }
    }

    async fn vector_of(
        &self,
        open: &Open,
        id: &RowId,
        consistency: Option<&v1::Consistency>,
        at: Instant,
    ) -> Result<(Vector, v1::Freshness)> {
        let fetch = Fetch {
            ids: vec![id.clone()],
            projection: Projection::new(&open.schema, &[], true)?,
            consistency: consistency.cloned(),
        };
        let found = self.fetch_open(open, &fetch, at).await?;
        let row = found.spelt()?.into_iter().next();
        let vector = row.and_then(|row| match (row.vector64, row.vector) {
            (Some(wide), _) => Some(Vector::F64(wide.values)),
            (None, vector) => vector.map(|vector| Vector::F32(vector.values)),
        });
        let vector = vector.ok_or_else(|| {
            let message = format!("there is no row {id} in {:?}", open.dataset.name);
            Error::new(ErrorCode::RowNotFound, message).field("id")
        })?;
        Ok((vector, found.freshness))
    }
}
