//! `longbow.v1.WriteService`.

use longbow_types::{Error, ErrorCode, Result};
use longbow_wire::v1::{self, AckLevel, upsert_request::Payload, write_service_server::WriteService};
use tonic::{Request, Response, Status};

use super::{Api, answer, deadline_of};
use crate::ops::Input;

#[tonic::async_trait]
impl WriteService for Api {
    async fn upsert(
        &self,
        request: Request<v1::UpsertRequest>,
    ) -> Result<Response<v1::UpsertResponse>, Status> {
        let at = deadline_of(request.metadata());
        let request = request.into_inner();
        answer(at, async {
            let ack = level(request.ack)?;
            let input = match request.payload {
                Some(Payload::Rows(rows)) => Input::Rows(rows.rows),
                Some(Payload::ArrowIpc(bytes)) => Input::ArrowIpc(bytes),
                None => {
                    return Err(Error::new(ErrorCode::MissingField, "there is nothing to write")
                        .field("payload")
                        .limit("rows or arrow_ipc"));
                }
            };
            let written = self.core.upsert(&request.dataset, input, ack, at).await?;
            Ok(v1::UpsertResponse {
                token: written.token.to_string(),
                ack: written.ack as i32,
                rows: written.rows,
            })
        })
        .await
    }

    async fn delete(
        &self,
        request: Request<v1::DeleteRequest>,
    ) -> Result<Response<v1::DeleteResponse>, Status> {
        let at = deadline_of(request.metadata());
        let request = request.into_inner();
        answer(at, async {
            let ack = level(request.ack)?;
            let written = self.core.delete(&request.dataset, request.ids, ack, at).await?;
            Ok(v1::DeleteResponse {
                token: written.token.to_string(),
                ack: written.ack as i32,
            })
        })
        .await
    }
}

/// The level of a number. One that this version does not know promises more than it can keep.
fn level(ack: i32) -> Result<AckLevel> {
    AckLevel::try_from(ack).map_err(|_| {
        Error::new(
            ErrorCode::InvalidValue,
            format!("the ack level {ack} is not known"),
        )
        .field("ack")
        .limit("LOGGED, APPLIED or INDEXED")
    })
}
