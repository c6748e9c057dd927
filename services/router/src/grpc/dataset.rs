//! `longbow.v1.DatasetService`.

use longbow_types::{Error, ErrorCode};
use longbow_wire::{
    convert,
    v1::{self, dataset_service_server::DatasetService},
};
use tonic::{Request, Response, Status};

use super::{Api, answer, deadline_of};
use crate::ops::{Described, NewDataset};

#[tonic::async_trait]
impl DatasetService for Api {
    async fn create_dataset(
        &self,
        request: Request<v1::CreateDatasetRequest>,
    ) -> Result<Response<v1::CreateDatasetResponse>, Status> {
        let at = deadline_of(request.metadata());
        let request = request.into_inner();
        answer(at, async {
            let schema = request.schema.as_ref().ok_or_else(|| {
                Error::new(ErrorCode::MissingField, "the dataset has no schema").field("schema")
            })?;
            let new = NewDataset {
                schema: convert::schema::from_proto(schema)?,
                name: request.name,
                partitions: request.partitions,
                replication_factor: request.replication_factor,
                if_not_exists: request.if_not_exists,
            };
            let created = self.core.create_dataset(new, at).await?;
            Ok(v1::CreateDatasetResponse {
                dataset: Some(created.open.to_proto()),
                created: created.created,
                token: created.token.to_string(),
            })
        })
        .await
    }

    async fn get_dataset(
        &self,
        request: Request<v1::GetDatasetRequest>,
    ) -> Result<Response<v1::GetDatasetResponse>, Status> {
        let at = deadline_of(request.metadata());
        answer(at, async {
            let described = self.core.get_dataset(&request.get_ref().name, at).await?;
            Ok(v1::GetDatasetResponse {
                dataset: Some(described.to_proto()),
            })
        })
        .await
    }

    async fn alter_dataset(
        &self,
        request: Request<v1::AlterDatasetRequest>,
    ) -> Result<Response<v1::AlterDatasetResponse>, Status> {
        let at = deadline_of(request.metadata());
        let request = request.into_inner();
        answer(at, async {
            let schema = request.schema.as_ref().ok_or_else(|| {
                Error::new(ErrorCode::MissingField, "the change has no schema").field("schema")
            })?;
            let schema = convert::schema::from_proto(schema)?;
            let altered = self
                .core
                .alter_dataset(&request.name, &schema, request.expected_version, at)
                .await?;
            Ok(v1::AlterDatasetResponse {
                dataset: Some(altered.open.to_proto()),
                altered: altered.altered,
                token: altered.token.to_string(),
            })
        })
        .await
    }

    async fn list_datasets(
        &self,
        request: Request<v1::ListDatasetsRequest>,
    ) -> Result<Response<v1::ListDatasetsResponse>, Status> {
        let at = deadline_of(request.metadata());
        answer(at, async {
            let datasets = self.core.list_datasets(request.get_ref().with_counts, at).await?;
            Ok(v1::ListDatasetsResponse {
                datasets: datasets.iter().map(Described::to_proto).collect(),
            })
        })
        .await
    }

    async fn drop_dataset(
        &self,
        request: Request<v1::DropDatasetRequest>,
    ) -> Result<Response<v1::DropDatasetResponse>, Status> {
        let at = deadline_of(request.metadata());
        answer(at, async {
            let token = self.core.drop_dataset(&request.get_ref().name, at).await?;
            Ok(v1::DropDatasetResponse {
                token: token.to_string(),
            })
        })
        .await
    }
}
