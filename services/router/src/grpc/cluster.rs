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
            let latch = self.core.reset_latch(&request.get_ref().reason, at).await?;
            let latch = v1::LatchStatus {
                tripped: latch.tripped,
                epoch: latch.epoch,
                cause: latch.cause,
            };
            Ok(v1::ResetLatchResponse { latch: Some(latch) })
        })
        .await
    }

    async fn list_keepers(
        &self,
        request: Request<v1::ListKeepersRequest>,
    ) -> Result<Response<v1::ListKeepersResponse>, Status> {
        let at = deadline_of(request.metadata());
        answer(at, async {
            let keepers = self.core.list_keepers(at).await?;
            Ok(v1::ListKeepersResponse { keepers })
        })
        .await
    }

    async fn add_keeper(
        &self,
        request: Request<v1::AddKeeperRequest>,
    ) -> Result<Response<v1::AddKeeperResponse>, Status> {
        let at = deadline_of(request.metadata());
        answer(at, async {
            let keeper = self.core.add_keeper(&request.get_ref().node_id, at).await?;
            Ok(v1::AddKeeperResponse { keeper: Some(keeper) })
        })
        .await
    }

    async fn promote_keeper(
        &self,
        request: Request<v1::PromoteKeeperRequest>,
    ) -> Result<Response<v1::PromoteKeeperResponse>, Status> {
        let at = deadline_of(request.metadata());
        answer(at, async {
            let asked = request.get_ref();
            let keeper = self.core.promote_keeper(&asked.node_id, asked.force, at).await?;
            Ok(v1::PromoteKeeperResponse { keeper: Some(keeper) })
        })
        .await
    }

    async fn remove_keeper(
        &self,
        request: Request<v1::RemoveKeeperRequest>,
    ) -> Result<Response<v1::RemoveKeeperResponse>, Status> {
        let at = deadline_of(request.metadata());
        answer(at, async {
            let asked = request.get_ref();
            self.core.remove_keeper(&asked.node_id, asked.force, at).await?;
            Ok(v1::RemoveKeeperResponse {})
        })
        .await
    }
}
