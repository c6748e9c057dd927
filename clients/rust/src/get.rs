//! Rows by id.

use std::{collections::BTreeMap, future::IntoFuture};

use longbow_types::{Error, ErrorCode, Result, RowId, Token};
use longbow_wire::v1;

use crate::{
    client::{read_token, searches},
    dataset::{Answer, DatasetHandle},
    retry::Repeat,
    row::{columns_from_proto, id_from_proto, id_to_proto},
    search::Consistency,
    value::Value,
};

/// Rows to be fetched by id; await it. Without [`columns`](Self::columns) all columns but the vector are returned.
#[derive(Debug, Clone)]
#[must_use = "nothing happens until it is awaited"]
pub struct GetRows {
    dataset: DatasetHandle,
    request: v1::GetRowsRequest,
}

impl GetRows {
    pub(crate) fn new(dataset: DatasetHandle, ids: Vec<RowId>) -> Self {
        let request = v1::GetRowsRequest {
            dataset: dataset.name().to_owned(),
            ids: ids.iter().map(id_to_proto).collect(),
            columns: vec!["*".to_owned()],
            ..Default::default()
        };
        Self { dataset, request }
    }

    /// Columns to return; `"*"` for all but the vector.
    pub fn columns<S: Into<String>>(mut self, columns: impl IntoIterator<Item = S>) -> Self {
        self.request.columns = columns.into_iter().map(Into::into).collect();
        self
    }

    /// Also returns the vectors.
    pub fn include_vector(mut self) -> Self {
        self.request.include_vector = true;
        self
    }

    /// How fresh the answer must be; without it [`Consistency::Fresh`], or what a
    /// [session](crate::Client::session) remembers.
    pub fn consistency(mut self, consistency: Consistency) -> Self {
        self.request.consistency = Some(consistency.to_proto());
        self
    }

    /// Sees every write that the token covers.
    pub fn at_least(self, token: &Token) -> Self {
        self.consistency(Consistency::AtLeast(token.clone()))
    }
}

impl IntoFuture for GetRows {
    type Output = Result<Rows>;
    type IntoFuture = Answer<Rows>;

    fn into_future(mut self) -> Self::IntoFuture {
        Box::pin(async move {
            if self.request.ids.is_empty() {
                return Err(Error::new(ErrorCode::MissingField, "no ids are given").field("ids"));
            }
            let client = self.dataset.client();
            if self.request.consistency.is_none() {
                self.request.consistency = Some(client.default_consistency().to_proto());
            }
            let answer = client
                .pool()
                .call(Repeat::Read, &self.request, |channel, request| async move {
                    searches(channel).get_rows(request).await
                })
                .await?;
            let freshness = answer.freshness.unwrap_or_default();
            let token = read_token(&freshness.token)?;
            client.remember(&token);
            let rows = answer.rows.into_iter().map(Found::from_proto);
            Ok(Rows {
                rows: rows.collect::<Result<_>>()?,
                token,
                degraded: freshness.degraded,
            })
        })
    }
}

/// Rows found by id.
#[derive(Debug, Clone, PartialEq)]
pub struct Rows {
    /// In the order asked for, without those that are not there.
    pub rows: Vec<Found>,
    /// The state that was read: a read given this sees at least as much.
    pub token: Token,
    /// Freshness was asked for but could not be proved.
    pub degraded: bool,
}

/// One row found by id.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// Its id.
    pub id: RowId,
    /// The columns asked for.
    pub columns: BTreeMap<String, Value>,
    /// The vector, if asked for. Of a column of 64-bit floats rounded to 32 bits.
    pub vector: Option<Vec<f32>>,
    /// The vector as it is kept, if asked for and of a column of 64-bit floats.
    pub vector64: Option<Vec<f64>>,
    /// Log index of the write that made this version of the row.
    pub row_version: u64,
}

impl Found {
    fn from_proto(row: v1::FoundRow) -> Result<Self> {
        Ok(Self {
            id: id_from_proto(row.id)?,
            columns: columns_from_proto(row.columns),
            vector: row.vector.map(|vector| vector.values),
            vector64: row.vector64.map(|vector| vector.values),
            row_version: row.row_version,
        })
    }
}
