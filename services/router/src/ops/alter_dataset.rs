//! Changes the schema of a dataset.

use std::{sync::Arc, time::Instant};

use bytes::Bytes;
use longbow_cluster::catalogue::{Dataset, conflict};
use longbow_types::{Error, ErrorCode, Result, Schema, Token, evolution::changes};
use longbow_wire::{
    convert,
    internal::{AlterDatasetCommand, entry_header::Command},
};
use prost::Message;

use super::{Core, Open};

/// A dataset that has the schema asked for.
#[derive(Debug, Clone)]
pub struct Altered {
    /// The dataset as this call left it.
    pub open: Open,
    /// Whether this call changed it.
    pub altered: bool,
    /// Covers the change.
    pub token: Token,
}

impl Core {
    /// Gives a dataset the next version of its schema. When this returns, this router knows it.
    ///
    /// Everything is checked before anything is written, against the very version that the log then compares with: of
    /// two changes of one version the log lets one through.
    ///
    /// # Errors
    /// `SCHEMA_CONFLICT` with the version there is, if it is not the one expected; `SCHEMA_INCOMPATIBLE` naming a column
    /// that may not change so; `MISSING_FIELD` without an expected version; `DATASET_NOT_FOUND`; those of an append.
    pub async fn alter_dataset(
        &self,
        name: &str,
        schema: &Schema,
        expected: u32,
        at: Instant,
    ) -> Result<Altered> {
        self.check_latch()?;
        if expected == 0 {
            let message = "the version of the schema that the change was made from is not told";
            return Err(Error::new(ErrorCode::MissingField, message)
                .field("expected_version")
                .limit("1 or more"));
        }
        let open = self.open_newest(name, at).await?;
        let found = open.dataset.schema_version;
        if found != expected {
            return Err(conflict(expected, found));
        }
        if changes(&open.schema, schema)?.is_empty() {
            let token = self.token(open.view.incarnation, open.view.catalogue.applied_index());
            return Ok(Altered {
                open,
                altered: false,
                token,
            });
        }
        let encoded = Bytes::from(convert::schema::to_proto(schema).encode_to_vec());
        let command = AlterDatasetCommand {
            dataset_id: open.dataset.id.0,
            schema_version: expected,
            schema: encoded.clone(),
            rows_expire: schema.rows_expire(),
        };
        let lsn = self
            .append(Command::AlterDataset(command), Bytes::new(), at)
            .await?;
        self.0.watch.wait_for_index(lsn.index, Some(at)).await?;
        // Others may have changed it since; this is what became of this call.
        let dataset = Dataset {
            schema_version: expected + 1,
            schema: encoded,
            rows_expire: schema.rows_expire(),
            ..Dataset::clone(&open.dataset)
        };
        Ok(Altered {
            open: Open {
                dataset: Arc::new(dataset),
                schema: Arc::new(schema.clone()),
                view: open.view,
            },
            altered: true,
            token: Token::of(lsn),
        })
    }
}
