//! `VectorSearch`: one result per query vector, each an Arrow IPC stream (`id, score, …`).

use std::time::Instant;

use arrow_flight::Result as ActionResult;
use bytes::Bytes;
use longbow_types::Result;

use crate::{
    flight::{answer, search, ticket::Search},
    ingest::ipc::write_stream,
    ops::Core,
};

pub(super) async fn run(core: &Core, body: &Bytes, at: Instant) -> Result<Vec<ActionResult>> {
    let wanted: Search = super::body_of(body)?;
    let found = search::run(core, &wanted, at).await?;
    found
        .iter()
        .map(|found| Ok(ActionResult::new(write_stream(&answer::batch(found)?)?)))
        .collect()
}
