//! One dataset by name: create, describe, alter, drop, and the way to its rows.

use std::future::{Future, IntoFuture};
use std::pin::Pin;

use arrow::record_batch::RecordBatch;
use longbow_types::{DatasetId, Error, ErrorCode, Result, Schema, Token};
use longbow_wire::{convert, v1};

use crate::{
    client::{Client, datasets, read_token},
    delete_where::DeleteWhere,
    filter::Filter,
    get::GetRows,
    retry::Repeat,
    row::{IntoRowId, Row},
    search::Search,
    update::Update,
    write::{Delete, Upsert, UpsertBatches},
};

/// A future that builders turn into when awaited.
pub(crate) type Answer<T> = Pin<Box<dyn Future<Output = Result<T>> + Send>>;

/// One dataset by name. Cheap to clone.
#[derive(Debug, Clone)]
pub struct DatasetHandle {
    client: Client,
    name: String,
}

impl DatasetHandle {
    pub(crate) fn new(client: Client, name: String) -> Self {
        Self { client, name }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// Creates the dataset.
    pub fn create(&self, schema: &Schema) -> CreateDataset {
        CreateDataset {
            client: self.client.clone(),
            request: v1::CreateDatasetRequest {
                name: self.name.clone(),
                schema: Some(convert::schema::to_proto(schema)),
                ..Default::default()
            },
        }
    }

    /// Describes the dataset, with its counts.
    pub async fn describe(&self) -> Result<DatasetInfo> {
        let request = v1::GetDatasetRequest {
            name: self.name.clone(),
        };
        let answer = self
            .client
            .pool()
            .call(Repeat::Harmless, &request, |channel, request| async move {
                datasets(channel).get_dataset(request).await
            })
            .await?;
        DatasetInfo::from_proto(answer.dataset.ok_or_else(|| missing("dataset"))?)
    }

    /// Gives the dataset the next version of its schema, made from [`DatasetInfo::schema`] of `expected_version` with
    /// [`Schema::with_column`] and [`Schema::with_type`]. No row is written again: those from before hold the default of
    /// a new column, or a null. Sent again only when it surely did not happen.
    ///
    /// ```no_run
    /// # async fn example(words: longbow_client::DatasetHandle) -> longbow_client::Result<()> {
    /// use arrow_schema::{DataType, Field};
    ///
    /// let info = words.describe().await?;
    /// let next = info.schema.with_column(Field::new("note", DataType::Utf8, true), None)?;
    /// words.alter(&next, info.schema_version).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// `SCHEMA_INCOMPATIBLE` naming a column that may not change so, from what, to what and why; `SCHEMA_CONFLICT` with
    /// the version there is, where it is not the one expected.
    pub async fn alter(&self, schema: &Schema, expected_version: u32) -> Result<Altered> {
        let request = v1::AlterDatasetRequest {
            name: self.name.clone(),
            schema: Some(convert::schema::to_proto(schema)),
            expected_version,
        };
        let answer = self
            .client
            .pool()
            .call(Repeat::OnlyIfNotSent, &request, |channel, request| async move {
                datasets(channel).alter_dataset(request).await
            })
            .await?;
        let token = read_token(&answer.token)?;
        self.client.remember(&token);
        Ok(Altered {
            dataset: DatasetInfo::from_proto(answer.dataset.ok_or_else(|| missing("dataset"))?)?,
            altered: answer.altered,
            token,
        })
    }

    /// Drops the dataset and all its rows. Sent again only when it surely did not happen.
    pub async fn drop(&self) -> Result<Token> {
        let request = v1::DropDatasetRequest {
            name: self.name.clone(),
        };
        let answer = self
            .client
            .pool()
            .call(Repeat::OnlyIfNotSent, &request, |channel, request| async move {
                datasets(channel).drop_dataset(request).await
            })
            .await?;
        let token = read_token(&answer.token)?;
        self.client.remember(&token);
        Ok(token)
    }

    /// Inserts rows, or replaces those with the same id.
    pub fn upsert(&self, rows: impl IntoIterator<Item = Row>) -> Upsert {
        Upsert::new(self.clone(), rows.into_iter().collect())
    }

    /// Inserts the rows of Arrow batches, or replaces those with the same id. The columns are those of the dataset,
    /// in any order.
    pub fn upsert_batches(&self, batches: impl IntoIterator<Item = RecordBatch>) -> UpsertBatches {
        UpsertBatches::new(self.clone(), batches.into_iter().collect())
    }

    /// Changes the columns that the rows tell, of rows that are there.
    pub fn update(&self, rows: impl IntoIterator<Item = Row>) -> Update {
        Update::new(self.clone(), rows.into_iter().collect())
    }

    /// Deletes rows by id. Ids that are not there are not an error.
    pub fn delete<I: IntoRowId>(&self, ids: impl IntoIterator<Item = I>) -> Delete {
        Delete::new(self.clone(), ids.into_iter().map(I::into_row_id).collect())
    }

    /// Deletes the rows that a filter is true of.
    pub fn delete_where(&self, filter: Filter) -> DeleteWhere {
        DeleteWhere::new(self.clone(), filter)
    }

    /// Rows by id.
    pub fn get<I: IntoRowId>(&self, ids: impl IntoIterator<Item = I>) -> GetRows {
        GetRows::new(self.clone(), ids.into_iter().map(I::into_row_id).collect())
    }

    /// The rows nearest to a vector.
    pub fn search(&self) -> Search {
        Search::new(self.clone())
    }
}

/// A dataset to be created; await it.
#[derive(Debug)]
#[must_use = "nothing happens until it is awaited"]
pub struct CreateDataset {
    client: Client,
    request: v1::CreateDatasetRequest,
}

impl CreateDataset {
    /// Number of partitions; without it the cluster's default.
    pub fn partitions(mut self, partitions: u32) -> Self {
        self.request.partitions = partitions;
        self
    }

    /// Copies of each partition; without it 2 where the cluster has two shards or more.
    pub fn replication_factor(mut self, copies: u32) -> Self {
        self.request.replication_factor = copies;
        self
    }

    /// Succeeds if a dataset of this name with an equal schema is already there.
    ///
    /// With this the call may be retried after a lost answer; without it, it is sent again only when it surely did
    /// not happen.
    pub fn if_not_exists(mut self) -> Self {
        self.request.if_not_exists = true;
        self
    }
}

impl IntoFuture for CreateDataset {
    type Output = Result<Created>;
    type IntoFuture = Answer<Created>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let repeat = if self.request.if_not_exists {
                Repeat::Harmless
            } else {
                Repeat::OnlyIfNotSent
            };
            let answer = self
                .client
                .pool()
                .call(repeat, &self.request, |channel, request| async move {
                    datasets(channel).create_dataset(request).await
                })
                .await?;
            let token = read_token(&answer.token)?;
            self.client.remember(&token);
            Ok(Created {
                dataset: DatasetInfo::from_proto(answer.dataset.ok_or_else(|| missing("dataset"))?)?,
                created: answer.created,
                token,
            })
        })
    }
}

/// A dataset that is now there.
#[derive(Debug, Clone)]
pub struct Created {
    /// The dataset.
    pub dataset: DatasetInfo,
    /// False if it was already there.
    pub created: bool,
    /// A read given this knows the dataset.
    pub token: Token,
}

/// A dataset that now has the schema asked for.
#[derive(Debug, Clone)]
pub struct Altered {
    /// The dataset as the call left it, without counts.
    pub dataset: DatasetInfo,
    /// False if it had that schema already.
    pub altered: bool,
    /// A read given this sees the change.
    pub token: Token,
}

/// A dataset as it stands.
#[derive(Debug, Clone)]
pub struct DatasetInfo {
    /// Name.
    pub name: String,
    /// Identity that is never reused.
    pub id: DatasetId,
    /// Version of the schema.
    pub schema_version: u32,
    /// The schema.
    pub schema: Schema,
    /// Number of partitions.
    pub partitions: u32,
    /// Copies of each.
    pub replication_factor: u32,
    /// Live rows, if they were counted.
    pub rows: Option<u64>,
    /// Bytes of live rows, if they were counted.
    pub bytes: Option<u64>,
}

impl DatasetInfo {
    pub(crate) fn from_proto(dataset: v1::Dataset) -> Result<Self> {
        let schema = dataset.schema.ok_or_else(|| missing("schema"))?;
        Ok(Self {
            name: dataset.name,
            id: DatasetId(dataset.dataset_id),
            schema_version: dataset.schema_version,
            schema: convert::schema::from_proto(&schema)?,
            partitions: dataset.partitions,
            replication_factor: dataset.replication_factor,
            rows: dataset.rows,
            bytes: dataset.bytes,
        })
    }
}

pub(crate) fn missing(field: &'static str) -> Error {
    Error::new(ErrorCode::Internal, "the server left out part of its answer").field(field)
}
