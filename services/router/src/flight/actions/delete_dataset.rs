//! `delete-dataset`: drops a dataset and all its rows; answers `deleted`.

use std::time::Instant;

use arrow_flight::Result as ActionResult;
use bytes::Bytes;
use longbow_types::Result;
use serde::Deserialize;

use crate::ops::Core;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    #[serde(alias = "name")]
    dataset: String,
}

pub(super) async fn run(core: &Core, body: Bytes, at: Instant) -> Result<Vec<ActionResult>> {
    let wanted: Wanted = super::body_of(body).await?;
    core.drop_dataset(&wanted.dataset, at).await?;
    Ok(super::text("deleted"))
}
