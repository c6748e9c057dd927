//! `longbow.v1.SearchService`.

use longbow_wire::v1::{self, search_service_server::SearchService};
use tonic::{Request, Response, Status};

use super::{Api, answer, deadline_of};

#[tonic::async_trait]
impl SearchService for Api {
    async fn search(
        &self,
        request: Request<v1::SearchRequest>,
    ) -> Result<Response<v1::SearchResponse>, Status> {
        let at = deadline_of(request.metadata());
        answer(at, async {
            let mut found = self.core.search(request.get_ref(), at).await?;
            let (expected_recall, explanation) = (found.expected_recall, found.explanation.take());
            let (hits, freshness) = found.spell().await?;
            Ok(v1::SearchResponse {
                hits,
                freshness: Some(freshness),
                expected_recall,
                explanation,
            })
        })
        .await
    }

    async fn get_rows(
        &self,
        request: Request<v1::GetRowsRequest>,
    ) -> Result<Response<v1::GetRowsResponse>, Status> {
        let at = deadline_of(request.metadata());
        answer(at, async {
            let found = self.core.fetch(request.get_ref(), at).await?;
            let (rows, freshness) = found.spell().await?;
            Ok(v1::GetRowsResponse {
                rows,
                freshness: Some(freshness),
            })
        })
        .await
    }
}
