//! Deletes rows by id.

use std::time::Instant;

use longbow_types::Result;
use longbow_wire::v1::{self, AckLevel};
use prost::Message;

use super::{Core, Written};
use crate::{
    commands,
    ingest::columns::id_batch,
    rows::{
        ids::id_array,
        write::{check_count, checked_ids},
    },
};

impl Core {
    /// Deletes rows by id. Ids that are not there are no error.
    ///
    /// # Errors
    /// Those of [`Core::upsert`] that ids can cause.
    pub async fn delete(
        &self,
        dataset: &str,
        ids: Vec<v1::RowId>,
        ack: AckLevel,
        at: Instant,
    ) -> Result<Written> {
        check_count(ids.len(), "ids")?;
        let bytes = ids.iter().map(Message::encoded_len).sum();
        let ids = std::sync::Arc::new(ids);
        self.write(dataset, bytes, ack, at, move |schema, target| {
            let ids = checked_ids(&ids, schema)?;
            let batch = id_batch(id_array(ids.iter(), schema.id_kind()), schema)?;
            commands::delete(&batch, target)
        })
        .await
    }
}
