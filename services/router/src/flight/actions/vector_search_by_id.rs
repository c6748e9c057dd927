//! `VectorSearchByID`: the rows nearest to a row, as JSON `{"ids": […], "scores": […]}`.

use std::time::Instant;

use arrow_flight::Result as ActionResult;
use bytes::Bytes;
use longbow_types::Result;
use longbow_wire::v1::{self, search_request::Query};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    flight::{answer, explain, filters, reply::Reply, row_id, search::rows_wanted, ticket::Filter},
    ops::Core,
    rows::id_to_proto,
};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    dataset: String,
    id: Value,
    vector_column: Option<String>,
    k: Option<Value>,
    filters: Option<Vec<Filter>>,
    explain: Option<bool>,
    /// Without meaning here; the answer holds ids and scores alone.
    #[serde(rename = "include_vectors")]
    _include_vectors: Option<bool>,
    #[serde(rename = "local_only")]
    _local_only: Option<bool>,
}

pub(super) async fn run(core: &Core, body: Bytes, at: Instant) -> Result<Reply<ActionResult>> {
    let wanted: Wanted = super::body_of(body).await?;
    let k = rows_wanted(wanted.k.as_ref())?;
    let open = core.open(&wanted.dataset, at).await?;
    let id = row_id::from_json(&wanted.id, open.schema.id_kind(), "id")?;
    let request = v1::SearchRequest {
        query: Some(Query::Id(id_to_proto(&id))),
        k,
        filter: filters::all_of(wanted.filters.as_deref().unwrap_or_default(), &open.schema)?,
        vector_column: wanted.vector_column.unwrap_or_default(),
        explain: wanted.explain.unwrap_or_default(),
        dataset: wanted.dataset,
        ..v1::SearchRequest::default()
    };
    let found = core.search(&request, at).await?;
    let ids: Vec<Value> = answer::ids(&found)?.iter().map(row_id::to_json).collect();
    let mut told = json!({ "ids": ids, "scores": answer::scores(&found)? });
    if let Some(explanation) = &found.explanation {
        told["explanation"] = explain::json(explanation);
    }
    Ok(Reply::of(super::text(told.to_string())).fresh(found.freshness))
}
