//! `ScanPartitions`: all rows, piece by piece, each computed when the one before has been taken.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use futures::stream::try_unfold;
use longbow_query::filter::Predicate;
use longbow_storage::{Projection, Scan, batch_to_ipc};
use longbow_types::{Error, ErrorCode, Result};
use longbow_wire::convert::status::to_status;
use longbow_wire::internal::{PartitionState, ScanPartitionsRequest, ScanPartitionsResponse};
use tokio::sync::OwnedSemaphorePermit;

use super::locate::Until;
use super::{Service, Streamed};
use crate::partition::Read;
use crate::pool::{Cancel, Lane, Pool};

/// A scan of several partitions under way.
struct Pieces {
    pool: Arc<Pool>,
    deadline: Option<Instant>,
    waiting: VecDeque<Read>,
    current: Option<Current>,
    predicate: Option<Arc<Predicate>>,
    projection: Projection,
    /// Rows still wanted, if there is a limit.
    left: Option<u64>,
    _admitted: OwnedSemaphorePermit,
}

/// The partition being scanned.
struct Current {
    scan: Scan,
    /// Its state, until the first piece has carried it.
    state: Option<PartitionState>,
}

impl Service {
    pub(super) async fn scan(
        &self,
        mut request: ScanPartitionsRequest,
        deadline: Option<Instant>,
    ) -> Result<Streamed<ScanPartitionsResponse>> {
        let located = self
            .locate(request.target.take(), Until::Applied, deadline)
            .await?;
        let admitted = self.pool.admit_scan()?;
        let layout = Arc::clone(located.reads[0].view.layout());
        let limit = request.limit;
        let check = move |_: &Cancel| {
            let predicate = request
                .filter
                .as_ref()
                .map(|filter| Predicate::compile(filter, layout.schema()));
            let projection = Projection::new(&layout, &request.columns, request.include_vector)?;
            Ok((predicate.transpose()?.map(Arc::new), projection))
        };
        let (predicate, projection) = self.pool.run(Lane::New, deadline, check).await?;
        let pieces = Pieces {
            pool: Arc::clone(&self.pool),
            deadline,
            waiting: located.reads.into(),
            current: None,
            predicate,
            projection,
            left: (limit > 0).then_some(limit),
            _admitted: admitted,
        };
        let stream = try_unfold(pieces, |mut pieces| async move {
            let piece = pieces.next().await.map_err(|error| to_status(&error))?;
            Ok(piece.map(|piece| (piece, pieces)))
        });
        Ok(Box::pin(stream))
    }
}

impl Pieces {
    /// The next message; none at the end. Every partition has at least one, which carries its state.
    async fn next(&mut self) -> Result<Option<ScanPartitionsResponse>> {
        loop {
            let Some(current) = self.current.take() else {
                let Some(read) = self.waiting.pop_front() else {
                    return Ok(None);
                };
                let (predicate, projection) = (self.predicate.clone(), self.projection.clone());
                // A limit that is used up still owes the states of the partitions left.
                let limit = self.left;
                let begin = move |cancel: &Cancel| {
                    let limit = limit.map_or(0, |left| left.max(1));
                    read.view
                        .scan(predicate.as_deref(), projection, limit, &|| cancel.is_due())
                        .map(|scan| Current {
                            scan,
                            state: Some(read.state),
                        })
                };
                self.current = Some(self.pool.run(Lane::Piece, self.deadline, begin).await?);
                continue;
            };
            let exhausted = self.left == Some(0);
            let (current, piece) = self
                .pool
                .run(Lane::Piece, self.deadline, move |_| piece(current, exhausted))
                .await?;
            let Some((arrow_ipc, rows)) = piece else { continue };
            if let Some(left) = &mut self.left {
                *left = left.saturating_sub(rows);
            }
            let mut current = current;
            let states = current.state.take().into_iter().collect();
            if !exhausted && self.left != Some(0) {
                self.current = Some(current);
            }
            return Ok(Some(ScanPartitionsResponse { arrow_ipc, states }));
        }
    }
}

/// The next piece of a partition as IPC, with its number of rows; none at its end.
fn piece(mut current: Current, exhausted: bool) -> Result<(Current, Option<(bytes::Bytes, u64)>)> {
    let next = if exhausted {
        None
    } else {
        current.scan.next().transpose()?
    };
    let piece = match next {
        Some(batch) => Some(batch),
        // A partition without rows still tells its state.
        None if current.state.is_some() => Some(current.scan.empty()?),
        None => None,
    };
    let Some(batch) = piece else {
        return Ok((current, None));
    };
    let rows = u64::try_from(batch.num_rows()).map_err(|_| {
        Error::new(
            ErrorCode::Internal,
            "a piece has more rows than there are numbers",
        )
    })?;
    Ok((current, Some((batch_to_ipc(&batch)?, rows))))
}
