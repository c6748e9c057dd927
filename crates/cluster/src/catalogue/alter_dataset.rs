//! Change the schema of a dataset: a compare-and-set on its version.
//!
//! Whether the new schema may follow the old one was judged by the router, against the very version that this entry
//! names; what is judged here is that no other came in between.

use std::sync::Arc;

use longbow_types::{DatasetId, Error, ErrorCode};
use longbow_wire::internal::{AlterDatasetCommand, Verdict};

use super::{Catalogue, Dataset, verdict::refusal, write::not_found};

impl Catalogue {
    pub(super) fn apply_alter_dataset(&mut self, command: &AlterDatasetCommand) -> Result<(), Verdict> {
        let id = DatasetId(command.dataset_id);
        let dataset = self.datasets.get_mut(&id).ok_or_else(|| not_found(id))?;
        if command.schema_version != dataset.schema_version {
            return Err(refusal(&conflict(command.schema_version, dataset.schema_version)));
        }
        let Some(next) = dataset.schema_version.checked_add(1) else {
            let message = "there is no further version of the schema";
            return Err(refusal(
                &Error::new(ErrorCode::SchemaConflict, message)
                    .field("schema_version")
                    .limit(u32::MAX),
            ));
        };
        *dataset = Arc::new(Dataset {
            schema_version: next,
            schema: command.schema.clone(),
            rows_expire: command.rows_expire,
            ..Dataset::clone(dataset)
        });
        Ok(())
    }
}

/// The refusal of a change made from another version of the schema than there is.
pub fn conflict(expected: u32, found: u32) -> Error {
    let message = format!(
        "the schema is at version {found}, not {expected}: another change came first; read the dataset and decide anew"
    );
    Error::new(ErrorCode::SchemaConflict, message)
        .field("expected_version")
        .limit(found)
}
