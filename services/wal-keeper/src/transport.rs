//! Raft messages to other keepers: one bounded queue and one stream for each, found by gossip. What does not fit or
//! cannot be sent is dropped; raft sends again. Snapshots go by calls of their own.

mod snapshot;

pub(crate) use snapshot::CHUNK_BYTES;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use longbow_cluster::keepers::Keepers;
use longbow_node::{
    gossip::Gossip,
    rpc::{MESSAGE_BYTES_MAX, Peers},
    shutdown::Shutdown,
};
use longbow_types::NodeId;
use longbow_wire::internal::{RaftMessage, RaftRequest, keeper_service_client::KeeperServiceClient};
use tokio::{runtime::Handle, sync::mpsc};
use tokio_stream::wrappers::ReceiverStream;

use crate::{mailbox::Mailbox, roster::Roster, state::State};

const QUEUE_MESSAGES: usize = 512;
/// Messages that go out together.
const BATCH_MESSAGES: usize = 64;
const BATCH_BYTES: usize = 4 << 20;
const PAUSE_MIN: Duration = Duration::from_millis(20);
const PAUSE_MAX: Duration = Duration::from_millis(500);

/// Where the engine puts what it sends.
pub(crate) struct Transport {
    queues: BTreeMap<u64, mpsc::Sender<RaftMessage>>,
    reach: Reach,
    runtime: Handle,
}

/// What it takes to reach members.
#[derive(Clone)]
struct Reach {
    roster: Arc<Roster>,
    peers: Peers,
    gossip: Gossip,
    mailbox: Arc<Mailbox>,
    shutdown: Shutdown,
}

impl Transport {
    /// Sends by way of tasks of the current runtime, one for each member that there is something for.
    pub fn new(
        roster: Arc<Roster>,
        peers: &Peers,
        gossip: &Gossip,
        mailbox: Arc<Mailbox>,
        shutdown: &Shutdown,
    ) -> Self {
        Self {
            queues: BTreeMap::new(),
            reach: Reach {
                roster,
                peers: peers.clone(),
                gossip: gossip.clone(),
                mailbox,
                shutdown: shutdown.clone(),
            },
            runtime: Handle::current(),
        }
    }

    /// Sends, or drops when the member's queue is full.
    pub fn send(&mut self, message: RaftMessage) {
        let to = message.to;
        if let Some(queue) = self.queue(to)
            && queue.try_send(message).is_err()
        {
            metrics::counter!("longbow_wal_raft_messages_dropped_total").increment(1);
            self.reach.mailbox.unreachable(to);
        }
    }

    /// Sends the state that a message's snapshot stands for. What becomes of it is told to the mailbox.
    pub fn send_snapshot(&self, message: RaftMessage, state: State) {
        let sending = snapshot::send(self.reach.clone(), message, state);
        let shutdown = self.reach.shutdown.clone();
        self.runtime.spawn(async move {
            tokio::select! {
                () = sending => {}
                () = shutdown.wait() => {}
            }
        });
    }

    /// Members that are gone get nothing any more.
    pub fn keep(&mut self, keepers: &Keepers) {
        self.queues
            .retain(|id, _| keepers.member(*id).is_some() || !keepers.was_given(*id));
    }

    /// The queue of a member; `None` if nobody knows which node it is.
    fn queue(&mut self, raft_id: u64) -> Option<&mpsc::Sender<RaftMessage>> {
        if !self.queues.contains_key(&raft_id) {
            let (queue, messages) = mpsc::channel(QUEUE_MESSAGES);
            let sender = Sender {
                node: self.reach.roster.node_of(raft_id)?,
                raft_id,
                reach: self.reach.clone(),
                messages,
            };
            let shutdown = self.reach.shutdown.clone();
            self.runtime.spawn(async move {
                tokio::select! {
                    () = sender.run() => {}
                    () = shutdown.wait() => {}
                }
            });
            self.queues.insert(raft_id, queue);
        }
        self.queues.get(&raft_id)
    }
}

struct Sender {
    node: NodeId,
    raft_id: u64,
    reach: Reach,
    messages: mpsc::Receiver<RaftMessage>,
}

impl Sender {
    /// Streams until the engine is gone, opening the stream again whenever it breaks.
    async fn run(mut self) {
        let mut pause = PAUSE_MIN;
        // The first message is why there is a sender at all: a vote asked for, or given. It is not out of date.
        let mut is_first = true;
        loop {
            if self.messages.is_closed() {
                return;
            }
            let address = self
                .reach
                .gossip
                .member(&self.node)
                .filter(|member| member.is_live());
            if let Some(member) = address {
                // What waited while nobody listened is out of date.
                while !is_first && self.messages.try_recv().is_ok() {}
                let began = tokio::time::Instant::now();
                if self.stream(member.rpc_addr).await {
                    return;
                }
                self.reach.mailbox.unreachable(self.raft_id);
                if began.elapsed() > PAUSE_MAX {
                    pause = PAUSE_MIN;
                }
            }
            is_first = false;
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    /// Streams to one address until it breaks; true when the engine is gone.
    async fn stream(&mut self, address: std::net::SocketAddr) -> bool {
        let mut client = KeeperServiceClient::new(self.reach.peers.channel(address))
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
