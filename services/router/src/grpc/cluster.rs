//! `longbow.v1.ClusterService`.

use longbow_wire::v1::{self, cluster_service_server::ClusterService};
use tonic::{Request, Response, Status};

use super::{Api, answer, deadline_of};

#[tonic::async_trait]
impl ClusterService for Api {
    async fn get_cluster_status(
        &self,
        request: Request<v1::GetClusterStatusRequest>,
    ) -> Result<Response<v1::GetClusterStatusResponse>, Status> {
        let at = deadline_of(request.metadata());
        answer(at, self.core.status(at)).await
    }

    async fn reset_latch(
        &self,
        request: Request<v1::ResetLatchRequest>,
    ) -> Result<Response<v1::ResetLatchResponse>, Status> {
        let at = deadline_of(request.metadata());
        answer(at, async {
            let latch = self.core.reset_latch(at).await?;
            let latch = v1::LatchStatus {
                tripped: latch.tripped,
                epoch: latch.epoch,
                cause: latch.cause,
            };
            Ok(v1::ResetLatchResponse { latch: Some(latch) })
        })
        .await
    }
}
