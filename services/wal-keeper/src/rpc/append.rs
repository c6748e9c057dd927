//! Append: everything that can be refused without the log is refused here.

use std::sync::Arc;

use longbow_node::rpc::{deadline, require};
use longbow_types::{
    Error, ErrorCode, Role,
    limits::{COMMAND_BYTES_MAX, PARTITIONS_MAX},
};
use longbow_wire::{
    convert::status::to_status,
    entry::{HEADER_BYTES_MAX, decode_header},
    internal::{AppendRequest, AppendResponse, EntryHeader, entry_header::Command},
};
use tokio::sync::oneshot;
use tonic::{Request, Status};

use super::{Inner, refused};
use crate::mailbox::{Append, Request as Mail};

pub(super) async fn append(
    keeper: &Arc<Inner>,
    request: Request<AppendRequest>,
) -> Result<AppendResponse, Status> {
    let caller = require(&request, &[Role::Router, Role::Shard])?;
    let until = deadline::of(request.metadata());
    let AppendRequest {
        header: encoded,
        body,
    } = request.into_inner();
    let header = check(&encoded, body.len()).map_err(|error| to_status(&error))?;
    if caller.role != Role::Router {
        let may = matches!(&header.command, Some(Command::RegisterShard(shard)) if shard.node_id == caller.node_id.as_str());
        if !may {
            let error = Error::new(
                ErrorCode::RoleNotAllowed,
                "a shard may append its own registration alone",
            );
            return Err(to_status(&error.field("longbow-role").limit(Role::Router)));
        }
    }
    let (reply, answer) = oneshot::channel();
    let append = Append {
        header,
        encoded,
        body,
        reply,
    };
    let queued = keeper.mailbox.request(Mail::Append(Box::new(append)));
    queued.map_err(|error| to_status(&error))?;
    match deadline::within(until, answer).await {
        Ok(Ok(Ok(answer))) => Ok(answer),
        Ok(Ok(Err(refusal))) => Err(refused(&refusal)),
        // The engine ended with the append in its hands.
        Ok(Err(_)) => Err(Status::unavailable(
            "the keeper ended; the entry may have been written",
        )),
        // Not one of our errors: the entry may still be committed.
        Err(_) => Err(Status::deadline_exceeded(
            "the deadline passed before the entry was committed; it may still be",
        )),
    }
}

/// Checks what needs no catalogue.
fn check(encoded: &bytes::Bytes, body_len: usize) -> Result<EntryHeader, Error> {
    if encoded.is_empty() {
        return Err(Error::new(ErrorCode::MissingField, "an append without a header").field("header"));
    }
    if encoded.len() > HEADER_BYTES_MAX {
        let message = format!("a header of {} bytes", encoded.len());
        return Err(Error::new(ErrorCode::TooLarge, message)
            .field("header")
            .limit(HEADER_BYTES_MAX));
    }
    if encoded.len() + body_len > COMMAND_BYTES_MAX {
        let message = format!("a command of {} bytes", encoded.len() + body_len);
        return Err(Error::new(ErrorCode::TooLarge, message)
            .field("body")
            .limit(COMMAND_BYTES_MAX));
    }
    let header = decode_header(encoded)
        .map_err(|error| Error::new(ErrorCode::InvalidValue, error.to_string()).field("header"))?;
    if let Some(Command::CreateDataset(create)) = &header.command
        && !(1..=PARTITIONS_MAX).contains(&create.partition_count)
    {
        let message = format!("{} partitions", create.partition_count);
        return Err(Error::new(ErrorCode::InvalidValue, message)
            .field("partition_count")
            .limit(format_args!("1 to {PARTITIONS_MAX}")));
    }
    let Some(command) = &header.command else {
        let message = "the command is missing, or is not known to this version";
        return Err(Error::new(ErrorCode::Unsupported, message).field("header.command"));
    };
    if matches!(command, Command::Tick(_)) {
        let message = "log time is told by the keeper that leads, of its own accord";
        return Err(Error::new(ErrorCode::RoleNotAllowed, message).field("header.command"));
    }
    if matches!(command, Command::BeginIncarnation(_)) {
        let message = "a new life of the log begins where it was cut, by `longbow wal cut` alone";
        return Err(Error::new(ErrorCode::RoleNotAllowed, message).field("header.command"));
    }
    // The state machine sees the header alone, so it is here that ranges and body are held together.
    let used = match command {
        Command::Write(write) => write.ranges.iter().try_fold(0, |end: u64, range| {
            Some(end.max(range.offset.checked_add(range.length)?))
        }),
        _ => Some(0),
    };
    if used != Some(body_len as u64) {
        let message = format!("the ranges do not cover the body of {body_len} bytes");
        return Err(Error::new(ErrorCode::InvalidValue, message).field("header.write.ranges"));
    }
    Ok(header)
}
