//! Tail: committed entries in order, for ever. A reader that is slow holds one batch and a short queue, nothing else.

mod wanted;

use std::{sync::Arc, time::Duration};

use longbow_node::rpc::require;
use longbow_types::{Error, ErrorCode, Role};
use longbow_wire::{
    convert::status::to_status,
    internal::{TailEntry, TailRequest, TailResponse},
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Status};

use self::wanted::Wanted;
use super::{BoxStream, Inner, too_many_streams};
use crate::GROUP;

/// Batches that wait for the reader: one, while the one before it is sent. The next is not even read meanwhile, so that readers
/// who stall keep little in memory.
const QUEUE_BATCHES: usize = 1;
/// Between two heartbeats while nothing is committed.
const HEARTBEAT: Duration = Duration::from_secs(1);

pub(super) fn tail(
    keeper: &Arc<Inner>,
    request: &Request<TailRequest>,
) -> Result<BoxStream<TailResponse>, Status> {
    require(request, &[Role::Shard, Role::Router])?;
    let from = request.get_ref().from_index;
    if from == 0 {
        let error = Error::new(ErrorCode::InvalidValue, "indexes start at 1").field("from_index");
        return Err(to_status(&error.limit("at least 1")));
    }
    let wanted = Wanted::new(&request.get_ref().partitions).map_err(|error| to_status(&error))?;
    let permit = keeper
        .tails
        .clone()
        .try_acquire_owned()
        .map_err(|_| too_many_streams())?;
    let (out, batches) = mpsc::channel(QUEUE_BATCHES);
    let keeper = keeper.clone();
    tokio::spawn(async move {
        let _permit = permit;
        let shutdown = keeper.shutdown.clone();
        tokio::select! {
            () = follow(&keeper, from, &wanted, &out) => {}
            () = shutdown.wait() => {}
            () = out.closed() => {}
        }
    });
    Ok(Box::pin(ReceiverStream::new(batches)))
}

async fn follow(
    keeper: &Arc<Inner>,
    mut next: u64,
    wanted: &Wanted,
    out: &mpsc::Sender<Result<TailResponse, Status>>,
) {
    let mut commit = keeper.committed.commit();
    loop {
        let last = *commit.borrow_and_update();
        if next > last {
            // Also the first message: the reader learns at once how far the log is.
            if out.send(Ok(message(keeper, Vec::new(), last))).await.is_err() {
                return;
            }
            match tokio::time::timeout(HEARTBEAT, commit.changed()).await {
                Ok(Err(_)) => return,
                Ok(Ok(())) | Err(_) => continue,
            }
        }
        let Ok(room) = out.reserve().await else {
            return;
        };
        let entries = match batch(keeper, next, last).await {
            Ok(entries) => entries,
            Err(error) => {
                room.send(Err(to_status(&error)));
                return;
            }
        };
        let Some(sent) = entries.last().map(|entry| entry.index) else {
            return;
        };
        let entries = entries.into_iter().map(|entry| wanted.pick(entry)).collect();
        room.send(Ok(message(keeper, entries, last)));
        next = sent + 1;
    }
}

async fn batch(keeper: &Arc<Inner>, next: u64, last: u64) -> Result<Vec<TailEntry>, Error> {
    let range = next..last + 1;
    if let Some(entries) = keeper.committed.recent(&range) {
        return Ok(entries);
    }
    let committed = keeper.committed.clone();
    let read = tokio::task::spawn_blocking(move || committed.read(range)).await;
    read.map_err(|error| Error::new(ErrorCode::Internal, format!("reading the log: {error}")))?
}

fn message(keeper: &Inner, entries: Vec<TailEntry>, commit_index: u64) -> TailResponse {
    TailResponse {
        entries,
        commit_index,
        group: GROUP,
        incarnation: keeper.committed.incarnation(),
        log_id: keeper.committed.log_id(),
    }
}
