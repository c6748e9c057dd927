//! Searches, and how fresh reads are.

use std::{collections::BTreeMap, future::IntoFuture};

use longbow_types::{Error, ErrorCode, Result, RowId, Token};
use longbow_wire::v1::{self, consistency::Level, search_request::Query};

use crate::{
    client::{read_token, searches},
    dataset::{Answer, DatasetHandle},
    explain::Explanation,
    filter::Filter,
    retry::Repeat,
    row::{IntoRowId, columns_from_proto, id_from_proto, id_to_proto},
    value::Value,
};

/// How fresh an answer must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Consistency {
    /// Sees every write acknowledged before the request. With no leader, answers from the newest state reachable and
    /// sets `degraded`.
    Fresh,
    /// Like `Fresh`, but an error when there is no leader.
    FreshStrict,
    /// Sees every write that the token covers.
    AtLeast(Token),
    /// Whatever the first reachable replica holds.
    Any,
}

impl Consistency {
    pub(crate) fn to_proto(&self) -> v1::Consistency {
        let level = match self {
            Consistency::Fresh => Level::Fresh(v1::Fresh { strict: false }),
            Consistency::FreshStrict => Level::Fresh(v1::Fresh { strict: true }),
            Consistency::AtLeast(token) => Level::AtLeast(token.to_string()),
            Consistency::Any => Level::Any(v1::Any {}),
        };
        v1::Consistency { level: Some(level) }
    }
}

/// A search to be made; await it.
///
/// ```no_run
/// # async fn example(client: longbow_client::Client) -> longbow_client::Result<()> {
/// use longbow_client::{Consistency, col};
///
/// let answer = client
///     .dataset("wordnet")
///     .search()
///     .near_row(10_734_u64)
///     .k(5)
///     .filter(col("pos").eq("noun").and(col("word_count").ge(2)))
///     .columns(["lemmas", "gloss"])
///     .consistency(Consistency::Any)
///     .await?;
/// println!("{:?}", answer.hits.first());
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
#[must_use = "nothing happens until it is awaited"]
pub struct Search {
    dataset: DatasetHandle,
    request: v1::SearchRequest,
}

impl Search {
    pub(crate) fn new(dataset: DatasetHandle) -> Self {
        let request = v1::SearchRequest {
            dataset: dataset.name().to_owned(),
            k: 10,
            ..Default::default()
        };
        Self { dataset, request }
    }

    /// Near a vector.
    pub fn near(mut self, vector: impl Into<Vec<f32>>) -> Self {
        let values = vector.into();
        self.request.query = Some(Query::Vector(v1::Vector { values }));
        self
    }

    /// Near a vector of more digits than 32 bits hold, for a column of 64-bit floats.
    pub fn near64(mut self, vector: impl Into<Vec<f64>>) -> Self {
        let values = vector.into();
        self.request.query = Some(Query::Vector64(v1::Vector64 { values }));
        self
    }

    /// Near the vector of a row, which itself is left out of the answer.
    pub fn near_row(mut self, id: impl IntoRowId) -> Self {
        self.request.query = Some(Query::Id(id_to_proto(&id.into_row_id())));
        self
    }

    /// Searches a further vector column, in which rows that have no value are not found; without it the one that every row
    /// has a value in.
    pub fn vector_column(mut self, name: impl Into<String>) -> Self {
        self.request.vector_column = name.into();
        self
    }

    /// Number of rows wanted; without it 10.
    pub fn k(mut self, k: u32) -> Self {
        self.request.k = k;
        self
    }

    /// Width of the graph search: more finds more of the true neighbours and costs more. Without it chosen from `k`.
    pub fn ef(mut self, ef: u32) -> Self {
        self.request.ef = ef;
        self
    }

    /// In place of [`ef`](Self::ef): the share of the `k` nearest rows that such searches are to find on average, above 0
    /// and below 1. [`SearchResults::expected_recall`] says what was measured; until it was, the search is a wide one.
    pub fn recall_target(mut self, target: f32) -> Self {
        self.request.recall_target = Some(target);
        self
    }

    /// Walks the graph on the vectors themselves, whatever the column's [`Quantization`](crate::Quantization).
    pub fn full_precision(mut self) -> Self {
        self.request.force_full_precision = true;
        self
    }

    /// Only rows for which this is true.
    pub fn filter(mut self, filter: Filter) -> Self {
        self.request.filter = Some(filter.into_proto());
        self
    }

    /// Columns to return besides id and score; `"*"` for all but vectors. Further vectors are returned as
    /// [`Value::Vector`], if they are named.
    pub fn columns<S: Into<String>>(mut self, columns: impl IntoIterator<Item = S>) -> Self {
        self.request.columns = columns.into_iter().map(Into::into).collect();
        self
    }

    /// Also returns the vectors.
    pub fn include_vector(mut self) -> Self {
        self.request.include_vector = true;
        self
    }

    /// Compares with every row: slow, and exactly right.
    pub fn exact(mut self) -> Self {
        self.request.exact = true;
        self
    }

    /// Also tells how the search was carried out, in [`SearchResults::explanation`].
    pub fn explain(mut self) -> Self {
        self.request.explain = true;
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

impl IntoFuture for Search {
    type Output = Result<SearchResults>;
    type IntoFuture = Answer<SearchResults>;

    fn into_future(mut self) -> Self::IntoFuture {
        Box::pin(async move {
            if self.request.query.is_none() {
                let message = "neither a vector nor a row to search near is given";
                return Err(Error::new(ErrorCode::MissingField, message).field("query"));
            }
            let client = self.dataset.client();
            if self.request.consistency.is_none() {
                self.request.consistency = Some(client.default_consistency().to_proto());
            }
            let answer = client
                .pool()
                .call(Repeat::Read, &self.request, |channel, request| async move {
                    searches(channel).search(request).await
                })
                .await?;
            let freshness = answer.freshness.unwrap_or_default();
            let token = read_token(&freshness.token)?;
            client.remember(&token);
            let hits = answer.hits.into_iter().map(Hit::from_proto);
            Ok(SearchResults {
                hits: hits.collect::<Result<_>>()?,
                token,
                degraded: freshness.degraded,
                expected_recall: answer.expected_recall,
                explanation: answer.explanation.map(Explanation::from_proto),
            })
        })
    }
}

/// The answer to a search.
#[derive(Debug, Clone, PartialEq)]
pub struct SearchResults {
    /// Best first.
    pub hits: Vec<Hit>,
    /// The state that was read: a read given this sees at least as much.
    pub token: Token,
    /// Freshness was asked for but could not be proved.
    pub degraded: bool,
    /// The share of the nearest rows that such searches find on average, at least; 1 where every row was compared, `None`
    /// until the replicas asked have measured it, which they do after the first search with a
    /// [recall target](Search::recall_target).
    pub expected_recall: Option<f32>,
    /// How the search was carried out, if that was [asked for](Search::explain).
    pub explanation: Option<Explanation>,
}

/// One row found by a search.
#[derive(Debug, Clone, PartialEq)]
pub struct Hit {
    /// Its id.
    pub id: RowId,
    /// Distance under the dataset's metric: smaller is nearer.
    pub distance: f32,
    /// Higher is better: the similarity for cosine and dot, `1/(1+distance)` for L2.
    pub score: f32,
    /// The columns asked for.
    pub columns: BTreeMap<String, Value>,
    /// The vector, if asked for. Of a column of 64-bit floats rounded to 32 bits.
    pub vector: Option<Vec<f32>>,
    /// The vector as it is kept, if asked for and of a column of 64-bit floats.
    pub vector64: Option<Vec<f64>>,
    /// Log index of the write that made this version of the row.
    pub row_version: u64,
}

impl Hit {
    fn from_proto(hit: v1::Hit) -> Result<Self> {
        Ok(Self {
            id: id_from_proto(hit.id)?,
            distance: hit.distance,
            score: hit.score,
            columns: columns_from_proto(hit.columns),
            vector: hit.vector.map(|vector| vector.values),
            vector64: hit.vector64.map(|vector| vector.values),
            row_version: hit.row_version,
        })
    }
}
