//! `FetchRows`: rows by id.

use std::sync::Arc;
use std::time::Instant;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use longbow_storage::{Projection, View, batch_from_ipc};
use longbow_types::limits::FETCH_IDS_MAX;
use longbow_types::{Error, ErrorCode, Result};
use longbow_wire::internal::{FetchRowsRequest, FetchRowsResponse};

use super::locate::Until;
use super::{Service, answer_to_ipc};
use crate::pool::{Cancel, Lane};

impl Service {
    pub(super) async fn fetch(
        &self,
        mut request: FetchRowsRequest,
        deadline: Option<Instant>,
    ) -> Result<FetchRowsResponse> {
        let located = self
            .locate(request.target.take(), Until::Applied, deadline)
            .await?;
        let views: Vec<Arc<View>> = located.reads.iter().map(|read| Arc::clone(&read.view)).collect();
        let work = move |cancel: &Cancel| {
            let rows = rows(&views, &request, cancel)?;
            answer_to_ipc(&rows)
        };
        let arrow_ipc = self.pool.run(Lane::New, deadline, work).await?;
        Ok(FetchRowsResponse {
            arrow_ipc,
            states: located.reads.into_iter().map(|read| read.state).collect(),
        })
    }
}

fn rows(views: &[Arc<View>], request: &FetchRowsRequest, cancel: &Cancel) -> Result<RecordBatch> {
    let ids = batch_from_ipc(&request.ids).map_err(|error| error.field("ids"))?;
    if ids.num_columns() != 1 {
        let message = format!("ids are one column, not {}", ids.num_columns());
        return Err(Error::new(ErrorCode::SchemaMismatch, message)
            .field("ids")
            .limit(1));
    }
    if ids.num_rows() > FETCH_IDS_MAX {
        let message = format!("{} ids", ids.num_rows());
        return Err(Error::new(ErrorCode::TooLarge, message)
            .field("ids")
            .limit(FETCH_IDS_MAX));
    }
    let projection = Projection::new(views[0].layout(), &request.columns, request.include_vector)?;
    let (mut found, mut taken) = (Vec::with_capacity(views.len()), 0);
    for view in views {
        if cancel.is_due() {
            return Err(Error::new(ErrorCode::Cancelled, "the caller gave up"));
        }
        found.push(view.fetch_beside(ids.column(0).as_ref(), &projection, &mut taken)?);
    }
    concat_batches(&found[0].schema(), &found)
        .map_err(|error| Error::new(ErrorCode::Internal, error.to_string()))
}
