//! `delete`, `Delete` and `delete-vector`: deletes rows by id or by filters; answers `deleted` once no search finds them.

use std::time::Instant;

use arrow_flight::Result as ActionResult;
use bytes::Bytes;
use longbow_types::{Error, ErrorCode, Result, RowId};
use longbow_wire::v1::{self, AckLevel};
use serde::Deserialize;
use serde_json::Value;

use crate::{
    flight::{filters, row_id, ticket::Filter},
    ops::Core,
    rows::id_to_proto,
};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ById {
    dataset: String,
    id: Option<Value>,
    ids: Option<Vec<Value>>,
    filters: Option<Vec<Filter>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ByNumber {
    dataset: String,
    vector_id: Value,
}

pub(super) async fn by_id(core: &Core, body: Bytes, at: Instant) -> Result<Vec<ActionResult>> {
    let wanted: ById = super::body_of(body).await?;
    if let Some(filters) = wanted.filters.filter(|filters| !filters.is_empty()) {
        if wanted.id.is_some() || wanted.ids.is_some() {
            let message = "rows are deleted by id or by filters";
            return Err(Error::new(ErrorCode::InvalidValue, message).field("filters"));
        }
        let open = core.open(&wanted.dataset, at).await?;
        if let Some(filter) = filters::all_of(&filters, &open.schema)? {
            core.delete_where(&wanted.dataset, filter, AckLevel::Applied, at)
                .await?;
        }
        return Ok(super::text("deleted"));
    }
    match (wanted.id, wanted.ids) {
        (Some(id), None) => one(core, &wanted.dataset, &id, at, "id").await,
        (None, Some(ids)) => {
            let kind = core.open(&wanted.dataset, at).await?.schema.id_kind();
            let ids = ids
                .iter()
                .enumerate()
                .map(|(position, id)| row_id::from_json(id, kind, &format!("ids[{position}]")))
                .collect::<Result<Vec<RowId>>>()?;
            delete(core, &wanted.dataset, &ids, at).await
        }
        _ => Err(Error::new(
            ErrorCode::MissingField,
            "`id`, `ids` or `filters` says what to delete",
        )
        .field("id")),
    }
}

pub(super) async fn by_number(core: &Core, body: Bytes, at: Instant) -> Result<Vec<ActionResult>> {
    let wanted: ByNumber = super::body_of(body).await?;
    one(core, &wanted.dataset, &wanted.vector_id, at, "vector_id").await
}

/// Deletes one row, which must be there: clients are told if it is not.
async fn one(
    core: &Core,
    dataset: &str,
    id: &Value,
    at: Instant,
    field: &'static str,
) -> Result<Vec<ActionResult>> {
    let kind = core.open(dataset, at).await?.schema.id_kind();
    let id = row_id::from_json(id, kind, field)?;
    let request = v1::GetRowsRequest {
        dataset: dataset.to_owned(),
        ids: vec![id_to_proto(&id)],
        ..v1::GetRowsRequest::default()
    };
    if core.fetch(&request, at).await?.spelt()?.is_empty() {
        let message = format!("id {id} not found in dataset {dataset}");
        return Err(Error::new(ErrorCode::RowNotFound, message).field(field));
    }
    delete(core, dataset, &[id], at).await
}

async fn delete(core: &Core, dataset: &str, ids: &[RowId], at: Instant) -> Result<Vec<ActionResult>> {
    let ids = ids.iter().map(id_to_proto).collect();
    core.delete(dataset, ids, AckLevel::Applied, at).await?;
    Ok(super::text("deleted"))
}
