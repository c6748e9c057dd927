//! `WaitApplied`: waits until partitions have applied, or linked, an index.

use std::time::Instant;

use longbow_types::Result;
use longbow_wire::internal::{WaitAppliedRequest, WaitAppliedResponse};

use super::Service;
use super::locate::Until;

impl Service {
    pub(super) async fn wait(
        &self,
        request: WaitAppliedRequest,
        deadline: Option<Instant>,
    ) -> Result<WaitAppliedResponse> {
        let until = if request.indexed {
            Until::Indexed
        } else {
            Until::Applied
        };
        let located = self.locate(request.target, until, deadline).await?;
        Ok(WaitAppliedResponse {
            states: located.reads.into_iter().map(|read| read.state).collect(),
        })
    }
}
