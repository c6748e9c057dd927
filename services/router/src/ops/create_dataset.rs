//! Creates a dataset.

use std::time::Instant;

use bytes::Bytes;
use longbow_types::{
    Error, ErrorCode, Result, Schema, Token,
    limits::{PARTITIONS_DEFAULT, PARTITIONS_MAX},
    schema::check_dataset_name,
};
use longbow_wire::{
    convert,
    internal::{CreateDatasetCommand, entry_header::Command},
};
use prost::Message;

use super::{Core, Open};

/// A dataset to be created.
#[derive(Debug, Clone)]
pub struct NewDataset {
    /// Its name.
    pub name: String,
    /// Its schema.
    pub schema: Schema,
    /// Number of partitions; 0: the default.
    pub partitions: u32,
    /// Copies of each partition; 0: the keepers choose.
    pub replication_factor: u32,
    /// Be content with one that is there and has the same schema.
    pub if_not_exists: bool,
}

/// A dataset that is there now.
#[derive(Debug, Clone)]
pub struct Created {
    /// The dataset.
    pub open: Open,
    /// Whether this call made it.
    pub created: bool,
    /// Covers its creation.
    pub token: Token,
}

impl Core {
    /// Creates a dataset. When this returns, this router knows it.
    ///
    /// # Errors
    /// `INVALID_NAME`, `INVALID_VALUE`, `DATASET_EXISTS`, `NOT_ENOUGH_SHARDS`, and those of an append.
    pub async fn create_dataset(&self, new: NewDataset, at: Instant) -> Result<Created> {
        check_dataset_name(&new.name)?;
        if new.partitions > PARTITIONS_MAX {
            let message = format!("{} partitions", new.partitions);
            return Err(Error::new(ErrorCode::InvalidValue, message)
                .field("partitions")
                .limit(format_args!(
                    "1 to {PARTITIONS_MAX}, or 0 for {PARTITIONS_DEFAULT}"
                )));
        }
        let partition_count = if new.partitions == 0 {
            PARTITIONS_DEFAULT
        } else {
            new.partitions
        };
        let command = CreateDatasetCommand {
            name: new.name.clone(),
            schema: convert::schema::to_proto(&new.schema).encode_to_vec().into(),
            partitions: Vec::new(),
            partition_count,
            replication_factor: new.replication_factor,
        };
        match self
            .append(Command::CreateDataset(command), Bytes::new(), at)
            .await
        {
            Ok(lsn) => {
                self.0.watch.wait_for_index(lsn.index, Some(at)).await?;
                Ok(Created {
                    open: self.open(&new.name, at).await?,
                    created: true,
                    token: Token::of(lsn),
                })
            }
            Err(error) if error.code == ErrorCode::DatasetExists && new.if_not_exists => {
                self.existing(&new, error, at).await
            }
            Err(error) => Err(error),
        }
    }

    /// The dataset of that name, if it is what was asked for.
    async fn existing(&self, new: &NewDataset, exists: Error, at: Instant) -> Result<Created> {
        let open = self.open(&new.name, at).await?;
        if *open.schema != new.schema {
            let message = format!("the dataset {:?} is there with another schema", new.name);
            return Err(Error::new(ErrorCode::DatasetExists, message).field("schema"));
        }
        let differs = new.partitions != 0 && new.partitions != open.partition_count();
        if differs {
            return Err(exists.field("partitions").limit(open.partition_count()));
        }
        let token = self.token(open.view.incarnation, open.dataset.id.0);
        Ok(Created {
            open,
            created: false,
            token,
        })
    }
}
