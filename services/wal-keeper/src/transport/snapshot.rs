//! A snapshot to a keeper that the log does not reach any more: one call, in pieces that are checksummed one by one.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use longbow_node::rpc::Peers;
use longbow_types::{Error, ErrorCode, Result};
use longbow_wire::{
    convert::status::from_status,
    internal::{
        InstallSnapshotHeader, InstallSnapshotRequest, RaftMessage,
        keeper_service_client::KeeperServiceClient,
    },
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::Reach;
use crate::{mailbox::Mailbox, state::State};

/// Bytes of one piece.
pub(crate) const CHUNK_BYTES: usize = 256 << 10;
/// Pieces that wait for the receiver.
const QUEUE_CHUNKS: usize = 4;
/// How long all of it may take.
const PATIENCE: Duration = Duration::from_secs(300);

/// Tells raft what became of the snapshot, also when nobody finished sending it: raft sends nothing else to a member
/// before it knows.
struct Report {
    mailbox: Arc<Mailbox>,
    member: u64,
    arrived: bool,
}

impl Drop for Report {
    fn drop(&mut self) {
        self.mailbox.snapshot_sent(self.member, self.arrived);
    }
}

pub(super) async fn send(reach: Reach, message: RaftMessage, state: State) {
    let mut report = Report {
        mailbox: reach.mailbox.clone(),
        member: message.to,
        arrived: false,
    };
    let (member, index) = (message.to, state.index());
    let sent = tokio::time::timeout(PATIENCE, try_send(&reach, message, state)).await;
    let sent = sent.unwrap_or_else(|_| Err(Error::new(ErrorCode::DeadlineExceeded, "it takes too long")));
    match sent {
        Ok(bytes) => {
            tracing::info!(member, index, bytes, "a snapshot was sent");
            metrics::counter!("longbow_wal_snapshots_sent_total").increment(1);
            report.arrived = true;
        }
        Err(error) => tracing::warn!(member, index, %error, "a snapshot was not sent"),
    }
}

async fn try_send(reach: &Reach, message: RaftMessage, state: State) -> Result<usize> {
    let unknown = || Error::new(ErrorCode::Unreachable, "the keeper is not known to gossip");
    let node = reach.roster.node_of(message.to).ok_or_else(unknown)?;
    let member = reach.gossip.member(&node).filter(|member| member.is_live());
    let address = member.ok_or_else(unknown)?.rpc_addr;
    let encoded = tokio::task::spawn_blocking(move || Bytes::from(state.encode())).await;
    let encoded = encoded.map_err(|error| Error::new(ErrorCode::Internal, error.to_string()))?;
    let bytes = encoded.len();
    stream(&reach.peers, address, message, encoded).await?;
    Ok(bytes)
}

async fn stream(
    peers: &Peers,
    address: std::net::SocketAddr,
    message: RaftMessage,
    encoded: Bytes,
) -> Result<()> {
    let (out, requests) = mpsc::channel(QUEUE_CHUNKS);
    let feed = async move {
        let mut header = Some(InstallSnapshotHeader {
            message: Some(message),
            length: encoded.len() as u64,
            crc: crc32c::crc32c(&encoded),
        });
        let mut at = 0;
        while header.is_some() || at < encoded.len() {
            let chunk = encoded.slice(at..(at + CHUNK_BYTES).min(encoded.len()));
            at += chunk.len();
            let request = InstallSnapshotRequest {
                header: header.take(),
                chunk_crc: crc32c::crc32c(&chunk),
                chunk,
            };
            if out.send(request).await.is_err() {
                return; // the call has ended, and says why
            }
        }
    };
    let mut client = KeeperServiceClient::new(peers.channel(address));
    let call = client.install_snapshot(ReceiverStream::new(requests));
    let (answer, ()) = tokio::join!(call, feed);
    answer.map(drop).map_err(|status| from_status(&status))
}
