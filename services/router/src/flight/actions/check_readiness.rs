//! `check_readiness`: `{"status": "READY|BUSY|NOT_FOUND", "reason", "index_len"}`. Busy means that some rows are not
//! linked into the graph yet: searches find them all the same, but slower.

use std::time::Instant;

use arrow_flight::Result as ActionResult;
use bytes::Bytes;
use longbow_types::{ErrorCode, Result};
use serde::Deserialize;
use serde_json::json;

use crate::ops::Core;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    dataset: Option<String>,
}

pub(super) async fn run(core: &Core, body: Bytes, at: Instant) -> Result<Vec<ActionResult>> {
    let wanted: Wanted = super::body_of(body).await?;
    let told = |status: &str, reason: String, index_len: u64| {
        super::text(json!({ "status": status, "reason": reason, "index_len": index_len }).to_string())
    };
    let datasets = match wanted.dataset.filter(|name| !name.is_empty()) {
        None => core.list_datasets(true, at).await?,
        Some(name) => match core.get_dataset(&name, at).await {
            Ok(described) => vec![described],
            Err(error) if error.code == ErrorCode::DatasetNotFound => {
                return Ok(told("NOT_FOUND", error.message.into_owned(), 0));
            }
            Err(error) => return Err(error),
        },
    };
    let Some(counts) = datasets
        .iter()
        .map(|described| described.counts)
        .collect::<Option<Vec<_>>>()
    else {
        return Ok(told(
            "BUSY",
            "some partitions have no replica that answers".to_owned(),
            0,
        ));
    };
    let unindexed: u64 = counts.iter().map(|counts| counts.rows_unindexed).sum();
    let linked: u64 = counts
        .iter()
        .map(|counts| counts.rows.saturating_sub(counts.rows_unindexed))
        .sum();
    if unindexed > 0 {
        return Ok(told(
            "BUSY",
            format!("{unindexed} rows are not linked into the graph yet"),
            linked,
        ));
    }
    Ok(told("READY", String::new(), linked))
}
