//! What is searched near: a vector, or the vector of a row?

use std::time::Instant;

use longbow_types::{Error, ErrorCode, Result, RowId, VectorColumn, VectorElement};
use longbow_wire::v1::{self, value::Kind};

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
    /// Settles the query vector of a search in a column.
    ///
    /// # Errors
    /// `MISSING_FIELD`, `DIMENSION_MISMATCH`, `INVALID_VECTOR` or `ROW_NOT_FOUND`.
    pub(super) async fn near(
        &self,
        open: &Open,
        column: &VectorColumn,
        query: Option<&v1::search_request::Query>,
        consistency: Option<&v1::Consistency>,
        at: Instant,
    ) -> Result<Near> {
        use v1::search_request::Query;
        match query {
            Some(Query::Vector(vector)) => {
                check_query(&vector.values, column, "vector")?;
                Ok(Near::vector(Vector::F32(vector.values.clone())))
            }
            Some(Query::Vector64(vector)) => {
                let vector = match column.element {
                    VectorElement::F64 => Vector::F64(vector.values.clone()),
                    // Checked as what it becomes.
                    VectorElement::F32 | VectorElement::F16 => {
                        Vector::F32(vector.values.iter().map(|&x| x as f32).collect())
                    }
                };
                match &vector {
                    Vector::F32(values) => check_query(values, column, "vector64")?,
                    Vector::F64(values) => check_query(values, column, "vector64")?,
                }
                Ok(Near::vector(vector))
            }
            Some(Query::Id(id)) => {
                let id = id_from_proto(Some(id), open.schema.id_kind(), "id")?;
                let (vector, freshness) = self.vector_of(open, column, &id, consistency, at).await?;
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
        column: &VectorColumn,
        id: &RowId,
        consistency: Option<&v1::Consistency>,
        at: Instant,
    ) -> Result<(Vector, v1::Freshness)> {
        let name = open.schema.name_at(column.position);
        let fetch = Fetch {
            ids: vec![id.clone()],
            projection: Projection::new(&open.schema, &[name.to_owned()], false)?,
            consistency: consistency.cloned(),
        };
        let found = self.fetch_open(open, &fetch, at).await?;
        let dataset = &open.dataset.name;
        let missing = |message: String| Error::new(ErrorCode::RowNotFound, message).field("id");
        let row = found.spelt()?.into_iter().next();
        let mut row = row.ok_or_else(|| missing(format!("there is no row {id} in {dataset:?}")))?;
        let told = row.columns.remove(name).and_then(|value| value.kind);
        let vector = match (row.vector64, row.vector, told) {
            (Some(wide), ..) | (_, _, Some(Kind::Vector64(wide))) => Vector::F64(wide.values),
            (_, Some(vector), _) | (_, _, Some(Kind::Vector(vector))) => Vector::F32(vector.values),
            _ => {
                return Err(missing(format!(
                    "the row {id} of {dataset:?} has no value in {name:?}"
                )));
            }
        };
        Ok((vector, found.freshness))
    }
}
