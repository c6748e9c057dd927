//! `VectorSearch`: one result per query vector, each an Arrow IPC stream (`id, score, …`).
//!
//! Each answer is searched for and encoded when its client has taken the one before it, so that one at a time is held.

use std::time::Instant;

use arrow::array::RecordBatch;
use arrow_flight::Result as ActionResult;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use longbow_types::{Error, ErrorCode, Result, limits::FLIGHT_ANSWER_BYTES_MAX};
use longbow_wire::{convert::status::to_status, v1::Freshness};

use crate::{
    flight::{
        answer,
        reply::Reply,
        search::{self, Plan},
        ticket::Search,
    },
    ingest::ipc::write_stream,
    ops::{Core, off_thread},
};

pub(super) async fn run(core: &Core, body: Bytes, at: Instant) -> Result<Reply<ActionResult>> {
    let wanted: Search = super::body_of(body).await?;
    let mut answers = Answers {
        core: core.clone(),
        at,
        plan: search::plan(core, wanted, at).await?,
        left: Allowance(FLIGHT_ANSWER_BYTES_MAX),
    };
    // The first is found before the answer begins: what is wrong with a search is the status of the call.
    let first = answers.next().await?;
    let freshness = first.as_ref().map(|(_, freshness)| freshness.clone());
    let rest = stream::try_unfold(answers, |mut answers| async move {
        let next = answers.next().await.map_err(|error| to_status(&error))?;
        Ok(next.map(|(result, _)| (result, answers)))
    });
    let first = stream::iter(first.map(|(result, _)| Ok(result)));
    Ok(Reply {
        items: first.chain(rest.into_stream()).boxed(),
        freshness,
    })
}

/// The answers of one call that are still to be given.
struct Answers {
    core: Core,
    at: Instant,
    plan: Plan,
    left: Allowance,
}

impl Answers {
    async fn next(&mut self) -> Result<Option<(ActionResult, Freshness)>> {
        let Some(found) = self.plan.next(&self.core, self.at).await? else {
            return Ok(None);
        };
        let bytes = found.batch.as_ref().map_or(0, RecordBatch::get_array_memory_size);
        let freshness = found.freshness.clone();
        let body = off_thread(bytes, move || write_stream(&answer::batch(&found)?)).await?;
        self.left.take(body.len())?;
        Ok(Some((ActionResult::new(body), freshness)))
    }
}

/// Bytes that a call may still answer.
struct Allowance(usize);

impl Allowance {
    fn take(&mut self, bytes: usize) -> Result<()> {
        match self.0.checked_sub(bytes) {
            Some(left) => {
                self.0 = left;
                Ok(())
            }
            None => Err(Error::new(
                ErrorCode::TooLarge,
                "the answers of this call are too large together: ask for fewer vectors or a smaller k at once",
            )
            .field("vectors")
            .limit(format_args!("{FLIGHT_ANSWER_BYTES_MAX} bytes"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_bounded_together() {
        let mut left = Allowance(10);
        left.take(6).unwrap();
        left.take(4).unwrap();
        let error = left.take(1).unwrap_err();
        assert_eq!(error.code, ErrorCode::TooLarge);
        assert_eq!(error.limit.as_deref(), Some("536870912 bytes"));
    }
}
