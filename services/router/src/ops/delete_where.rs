//! Deletes the rows that a filter is true of, and tells how many these were.

use std::{sync::Arc, time::Instant};

use longbow_query::filter::Predicate;
use longbow_types::Result;
use longbow_wire::v1::{self, AckLevel};
use prost::Message;

use super::{Core, Written};
use crate::commands;

impl Core {
    /// Deletes the rows that a filter is true of when the command has its place in the log, in every partition, and waits
    /// until that is applied at least. The rows of the answer are those that were deleted.
    ///
    /// # Errors
    /// Those of a filter, before anything is written; those of an append; `OUTCOME_UNKNOWN` if the rows are deleted and it
    /// was forgotten how many they were.
    pub async fn delete_where(
        &self,
        dataset: &str,
        filter: v1::Filter,
        ack: AckLevel,
        at: Instant,
    ) -> Result<Written> {
        let bytes = filter.encoded_len();
        let filter = Arc::new(filter);
        let judged = self
            .judged(dataset, bytes, ack, at, move |schema, target| {
                Predicate::compile(&filter, schema)?;
                commands::delete_where(&filter, target)
            })
            .await?;
        let mut written = judged.written;
        written.rows = judged.outcomes.values().map(|outcome| outcome.rows_matched).sum();
        Ok(written)
    }
}
