//! `longbow.v1.WriteService`.

use longbow_types::{Error, ErrorCode, Result};
use longbow_wire::v1::{self, AckLevel, upsert_request::Payload, write_service_server::WriteService};
use tonic::{Request, Response, Status};

use super::{Api, answer, deadline_of};
use crate::ops::{Conditions, Input};

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
            let (written, unmatched) = match conditions(request.if_row_version, request.if_absent)? {
                None => (
                    self.core.upsert(&request.dataset, input, ack, at).await?,
                    Vec::new(),
                ),
                Some(conditions) => {
                    let decided = self
                        .core
                        .upsert_if(&request.dataset, input, conditions, ack, at)
                        .await?;
                    (decided.written, decided.unmatched)
                }
            };
            Ok(v1::UpsertResponse {
                token: written.token.to_string(),
                ack: written.ack as i32,
                rows: written.rows,
                unmatched,
            })
        })
        .await
    }

    async fn update(
        &self,
        request: Request<v1::UpdateRequest>,
    ) -> Result<Response<v1::UpdateResponse>, Status> {
        let at = deadline_of(request.metadata());
        let request = request.into_inner();
        answer(at, async {
            let ack = level(request.ack)?;
            let rows = request.rows.map_or(Vec::new(), |rows| rows.rows);
            let decided = self
                .core
                .update(&request.dataset, rows, request.if_row_version, ack, at)
                .await?;
            Ok(v1::UpdateResponse {
                token: decided.written.token.to_string(),
                ack: decided.written.ack as i32,
                rows: decided.written.rows,
                unmatched: decided.unmatched,
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
            let v1::DeleteRequest {
                dataset,
                ids,
                if_row_version: versions,
                filter,
                ..
            } = request;
            if let Some(filter) = filter {
                if !ids.is_empty() || !versions.is_empty() {
                    return Err(
                        Error::new(ErrorCode::InvalidValue, "rows are deleted by id or by a filter")
                            .field("filter")
                            .limit("ids or filter"),
                    );
                }
                let written = self.core.delete_where(&dataset, filter, ack, at).await?;
                return Ok(v1::DeleteResponse {
                    token: written.token.to_string(),
                    ack: written.ack as i32,
                    rows: written.rows,
                    ..v1::DeleteResponse::default()
                });
            }
            if versions.is_empty() {
                let written = self.core.delete(&dataset, ids, ack, at).await?;
                return Ok(v1::DeleteResponse {
                    token: written.token.to_string(),
                    ack: written.ack as i32,
                    ..v1::DeleteResponse::default()
                });
            }
            let decided = self.core.delete_if(&dataset, ids, versions, ack, at).await?;
            Ok(v1::DeleteResponse {
                token: decided.written.token.to_string(),
                ack: decided.written.ack as i32,
                rows: decided.written.rows,
                unmatched: decided.unmatched,
            })
        })
        .await
    }
}

/// The conditions of a request, if it has any.
fn conditions(versions: Vec<u64>, absent: bool) -> Result<Option<Conditions>> {
    match (versions.is_empty(), absent) {
        (true, false) => Ok(None),
        (true, true) => Ok(Some(Conditions::Absent)),
        (false, false) => Ok(Some(Conditions::Versions(versions))),
        (false, true) => Err(Error::new(
            ErrorCode::InvalidValue,
            "a row cannot be absent and have a version",
        )
        .field("if_absent")
        .limit("if_absent or if_row_version")),
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
