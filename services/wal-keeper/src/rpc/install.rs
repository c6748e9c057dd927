//! A snapshot from the leader: taken in piece by piece, checked, and handed to the engine. One at a time, so that what is
//! held in memory is bounded.

use std::sync::Arc;

use longbow_node::rpc::require;
use longbow_types::{Error, ErrorCode, Result, Role};
use longbow_wire::{
    convert::status::to_status,
    internal::{InstallSnapshotHeader, InstallSnapshotRequest, InstallSnapshotResponse, RaftMessage},
};
use tokio::sync::oneshot;
use tonic::{Request, Status, Streaming};

use super::{Inner, refused, stopping};
use crate::{
    mailbox::{Install, Request as Mail},
    state::State,
    transport::CHUNK_BYTES,
};

/// Longest snapshot taken. Far more than a catalogue of the largest size with all its producers.
const SNAPSHOT_BYTES_MAX: u64 = 1 << 30;

pub(super) async fn install(
    keeper: &Arc<Inner>,
    request: Request<Streaming<InstallSnapshotRequest>>,
) -> Result<InstallSnapshotResponse, Status> {
    let caller = require(&request, &[Role::WalKeeper])?;
    let Ok(_permit) = keeper.snapshots.clone().try_acquire_owned() else {
        let error = Error::new(ErrorCode::Overloaded, "another snapshot is on its way here").limit(1);
        return Err(to_status(&error));
    };
    let mut stream = request.into_inner();
    let mut incoming: Option<Incoming> = None;
    loop {
        let next = tokio::select! {
            next = stream.message() => next?,
            () = keeper.shutdown.wait() => return Err(stopping()),
        };
        let Some(piece) = next else {
            break;
        };
        let incoming = match &mut incoming {
            Some(incoming) => incoming,
            none => {
                let header = piece.header.clone().unwrap_or_default();
                let started = Incoming::new(header).map_err(|error| to_status(&error))?;
                let admitted = keeper.roster.admit(&caller.node_id, started.message.from);
                admitted.map_err(|error| to_status(&error))?;
                none.insert(started)
            }
        };
        incoming.take(&piece).map_err(|error| to_status(&error))?;
    }
    let incoming = incoming.ok_or_else(|| to_status(&bad("no piece of it came")))?;
    let read = tokio::task::spawn_blocking(move || incoming.finish()).await;
    let read = read.unwrap_or_else(|error| Err(Error::new(ErrorCode::Internal, error.to_string())));
    let (message, state) = read.map_err(|error| to_status(&error))?;
    let (reply, answer) = oneshot::channel();
    let install = Install {
        message,
        state,
        reply,
    };
    let queued = keeper.mailbox.request(Mail::Install(Box::new(install)));
    queued.map_err(|error| to_status(&error))?;
    let answer = answer.await.map_err(|_| stopping())?;
    answer.map_err(|refusal| refused(&refusal))?;
    Ok(InstallSnapshotResponse {})
}

/// A snapshot that is coming.
struct Incoming {
    message: RaftMessage,
    length: u64,
    crc: u32,
    /// Grows with what has come, whatever length was announced.
    bytes: Vec<u8>,
}

impl Incoming {
    fn new(header: InstallSnapshotHeader) -> Result<Self> {
        if header.length > SNAPSHOT_BYTES_MAX {
            let message = format!("a snapshot of {} bytes", header.length);
            return Err(Error::new(ErrorCode::TooLarge, message).limit(SNAPSHOT_BYTES_MAX));
        }
        let message = header.message.ok_or_else(|| bad("it has no raft message"))?;
        if message.snapshot.is_none() {
            return Err(bad("its raft message is about none"));
        }
        Ok(Self {
            message,
            length: header.length,
            crc: header.crc,
            bytes: Vec::new(),
        })
    }

    fn take(&mut self, piece: &InstallSnapshotRequest) -> Result<()> {
        let end = self.bytes.len() as u64 + piece.chunk.len() as u64;
        if piece.chunk.len() > CHUNK_BYTES || end > self.length {
            return Err(bad("a piece is too long"));
        }
        if crc32c::crc32c(&piece.chunk) != piece.chunk_crc {
            return Err(bad("a piece's checksum is wrong"));
        }
        self.bytes.extend_from_slice(&piece.chunk);
        Ok(())
    }

    /// The state, which is the one that raft's message is about.
    fn finish(self) -> Result<(RaftMessage, State)> {
        if self.bytes.len() as u64 != self.length || crc32c::crc32c(&self.bytes) != self.crc {
            return Err(bad("it is not whole"));
        }
        let state = State::decode(&self.bytes)?;
        let at = self.message.snapshot.clone().unwrap_or_default();
        let fits = at.index == state.index()
            && at.term == state.snapshot_term
            && at.term > 0
            && at.conf_state.as_ref() == Some(state.keepers.conf_state())
            && state.keepers.member(self.message.to).is_some();
        if !fits {
            return Err(bad("it is not the one that its raft message is about"));
        }
        Ok((self.message, state))
    }
}

fn bad(why: &str) -> Error {
    Error::new(ErrorCode::InvalidValue, format!("a snapshot was refused: {why}")).field("snapshot")
}

#[cfg(test)]
mod tests {
    use longbow_cluster::keepers::Keepers;
    use longbow_wire::internal::{EntryHeader, RaftSnapshot};

    use super::*;

    fn state() -> State {
        let mut state = State::first(Keepers::formed(&["k1".parse().unwrap(), "k2".parse().unwrap()]));
        state.catalogue.apply(1, &EntryHeader::default());
        state.snapshot_term = 3;
        state
    }

    fn pieces(state: &State) -> (InstallSnapshotHeader, Vec<InstallSnapshotRequest>) {
        let bytes = state.encode();
        let message = RaftMessage {
            to: 2,
            from: 1,
            snapshot: Some(RaftSnapshot {
                index: state.index(),
                term: 3,
                conf_state: Some(state.keepers.conf_state().clone()),
                ..RaftSnapshot::default()
            }),
            ..RaftMessage::default()
        };
        let header = InstallSnapshotHeader {
            message: Some(message),
            length: bytes.len() as u64,
            crc: crc32c::crc32c(&bytes),
        };
        let piece = |chunk: &[u8]| InstallSnapshotRequest {
            header: None,
            chunk: bytes::Bytes::copy_from_slice(chunk),
            chunk_crc: crc32c::crc32c(chunk),
        };
        (header, bytes.chunks(7).map(piece).collect())
    }

    fn receive(header: InstallSnapshotHeader, pieces: &[InstallSnapshotRequest]) -> Result<State> {
        let mut incoming = Incoming::new(header)?;
        pieces.iter().try_for_each(|piece| incoming.take(piece))?;
        incoming.finish().map(|(_, state)| state)
    }

    #[test]
    fn only_a_whole_one_that_is_what_it_says_is_taken() {
        let whole = state();
        let (header, all) = pieces(&whole);
        assert_eq!(receive(header.clone(), &all).unwrap(), whole);
        assert!(receive(header.clone(), &all[1..]).is_err());
        assert!(receive(header.clone(), &[&all[..], &all[..1]].concat()).is_err());
        let mut swapped = all.clone();
        swapped.swap(0, 1);
        assert!(receive(header.clone(), &swapped).is_err(), "in order");
        let mut rotten = all.clone();
        rotten[2].chunk_crc ^= 1;
        assert!(receive(header.clone(), &rotten).is_err());
        let mut long = all.clone();
        long[0].chunk = vec![0; CHUNK_BYTES + 1].into();
        assert!(receive(header.clone(), &long).is_err());
        let huge = InstallSnapshotHeader {
            length: u64::MAX,
            ..header.clone()
        };
        assert_eq!(Incoming::new(huge).err().unwrap().code, ErrorCode::TooLarge);
        let about = |change: &dyn Fn(&mut RaftMessage)| {
            let mut header = header.clone();
            change(header.message.as_mut().unwrap());
            receive(header, &all)
        };
        assert!(about(&|m| m.snapshot.as_mut().unwrap().index += 1).is_err());
        assert!(about(&|m| m.snapshot.as_mut().unwrap().term = 4).is_err());
        assert!(about(&|m| m.snapshot.as_mut().unwrap().conf_state = None).is_err());
        assert!(about(&|m| m.to = 3).is_err(), "for one who is no member");
        assert!(about(&|m| m.snapshot = None).is_err());
    }
}
