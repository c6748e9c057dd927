//! Raft messages to other keepers: one bounded queue and one stream for each, found by gossip. What does not fit or
//! cannot be sent is dropped; raft sends again.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use longbow_node::{
    gossip::Gossip,
    rpc::{MESSAGE_BYTES_MAX, Peers},
    shutdown::Shutdown,
};
use longbow_types::NodeId;
use longbow_wire::internal::{RaftMessage, RaftRequest, keeper_service_client::KeeperServiceClient};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::{group::Group, mailbox::Mailbox};

const QUEUE_MESSAGES: usize = 512;
/// Messages that go out together.
const BATCH_MESSAGES: usize = 64;
const BATCH_BYTES: usize = 4 << 20;
const PAUSE_MIN: Duration = Duration::from_millis(20);
const PAUSE_MAX: Duration = Duration::from_millis(500);

/// Where the engine puts what it sends.
pub(crate) struct Transport {
    queues: BTreeMap<u64, mpsc::Sender<RaftMessage>>,
    mailbox: Arc<Mailbox>,
}

impl Transport {
    /// Starts a sender for each other voter.
    pub fn start(
        group: &Group,
        peers: &Peers,
        gossip: &Gossip,
        mailbox: Arc<Mailbox>,
        shutdown: &Shutdown,
    ) -> Self {
        let others = (1..)
            .zip(&group.voters)
            .filter(|(raft_id, _)| *raft_id != group.raft_id);
        let queues = others
            .map(|(raft_id, node)| {
                let (queue, messages) = mpsc::channel(QUEUE_MESSAGES);
                let sender = Sender {
                    node: node.clone(),
                    raft_id,
                    peers: peers.clone(),
                    gossip: gossip.clone(),
                    mailbox: mailbox.clone(),
                    messages,
                };
                let shutdown = shutdown.clone();
                tokio::spawn(async move {
                    tokio::select! {
                        () = sender.run() => {}
                        () = shutdown.wait() => {}
                    }
                });
                (raft_id, queue)
            })
            .collect();
        Self { queues, mailbox }
    }

    /// Sends, or drops when the member's queue is full.
    pub fn send(&self, message: RaftMessage) {
        let to = message.to;
        if let Some(queue) = self.queues.get(&to)
            && queue.try_send(message).is_err()
        {
            metrics::counter!("longbow_wal_raft_messages_dropped_total").increment(1);
            self.mailbox.unreachable(to);
        }
    }
}

struct Sender {
    node: NodeId,
    raft_id: u64,
    peers: Peers,
    gossip: Gossip,
    mailbox: Arc<Mailbox>,
    messages: mpsc::Receiver<RaftMessage>,
}

impl Sender {
    /// Streams until the engine is gone, opening the stream again whenever it breaks.
    async fn run(mut self) {
        let mut pause = PAUSE_MIN;
        loop {
            if self.messages.is_closed() {
                return;
            }
            let address = self.gossip.member(&self.node).filter(|member| member.is_live());
            if let Some(member) = address {
                // What waited while nobody listened is out of date.
                while self.messages.try_recv().is_ok() {}
                let began = tokio::time::Instant::now();
                if self.stream(member.rpc_addr).await {
                    return;
                }
                self.mailbox.unreachable(self.raft_id);
                if began.elapsed() > PAUSE_MAX {
                    pause = PAUSE_MIN;
                }
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    /// Streams to one address until it breaks; true when the engine is gone.
    async fn stream(&mut self, address: std::net::SocketAddr) -> bool {
        let mut client = KeeperServiceClient::new(self.peers.channel(address))
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX);
        let (out, requests) = mpsc::channel(4);
        let mut call = std::pin::pin!(client.raft(ReceiverStream::new(requests)));
        loop {
            let first = tokio::select! {
                ended = &mut call => {
                    if let Err(status) = ended {
                        tracing::debug!(keeper = %self.node, %status, "the raft stream ended");
                    }
                    return false;
                }
                message = self.messages.recv() => message,
            };
            let Some(first) = first else {
                return true;
            };
            let request = self.batch(first);
            tokio::select! {
                ended = &mut call => {
                    if let Err(status) = ended {
                        tracing::debug!(keeper = %self.node, %status, "the raft stream ended");
                    }
                    return false;
                }
                sent = out.send(request) => {
                    if sent.is_err() {
                        return false;
                    }
                }
            }
        }
    }

    fn batch(&mut self, first: RaftMessage) -> RaftRequest {
        let size = |message: &RaftMessage| {
            message
                .entries
                .iter()
                .map(|entry| entry.data.len())
                .sum::<usize>()
        };
        let mut bytes = size(&first);
        let mut messages = vec![first];
        while messages.len() < BATCH_MESSAGES
            && bytes < BATCH_BYTES
            && let Ok(message) = self.messages.try_recv()
        {
            bytes += size(&message);
            messages.push(message);
        }
        RaftRequest { messages }
    }
}
