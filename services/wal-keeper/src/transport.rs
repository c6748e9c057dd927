//! Raft messages to other keepers: one bounded queue and one stream for each, found by gossip. What does not fit or
//! cannot be sent is dropped; raft sends again. Snapshots go by calls of their own.

mod snapshot;

pub(crate) use snapshot::CHUNK_BYTES;

use std::{
    collections::{BTreeMap, VecDeque},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use longbow_cluster::{keepers::Keepers, raft_core::is_vote};
use longbow_node::{
    gossip::{Gossip, Member},
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
/// Votes kept for a member that nobody can reach: one of each kind.
const VOTES_MAX: usize = 4;
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
                outbox: Outbox::new(messages),
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

/// Which life of a keeper, and where it is reached.
type Place = (u64, SocketAddr);

impl Reach {
    /// Where a node is said to be; `None` while it is said to be down.
    fn place_of(&self, node: &NodeId) -> Option<Place> {
        place_among(&self.gossip.members(), node)
    }

    /// Waits until a node is said to be at such a place.
    async fn until(self, node: NodeId, wanted: impl Fn(Place) -> bool) {
        let mut members = self.gossip.watch();
        let is_there = |members: &Arc<[Member]>| place_among(members, &node).is_some_and(&wanted);
        let is_over = members.wait_for(is_there).await.is_err();
        if is_over {
            // Gossip has ended, and news with it.
            std::future::pending::<()>().await;
        }
    }
}

fn place_among(members: &[Member], node: &NodeId) -> Option<Place> {
    let member = members.iter().find(|member| member.node_id == *node);
    member
        .filter(|member| member.is_live())
        .map(|member| (member.generation, member.rpc_addr))
}

struct Sender {
    node: NodeId,
    raft_id: u64,
    reach: Reach,
    outbox: Outbox,
}

/// What is to be sent to one member.
struct Outbox {
    messages: mpsc::Receiver<RaftMessage>,
    /// Votes that waited while nobody listened; they go first.
    votes: VecDeque<RaftMessage>,
}

impl Outbox {
    fn new(messages: mpsc::Receiver<RaftMessage>) -> Self {
        Self {
            messages,
            votes: VecDeque::new(),
        }
    }

    /// What waited while nobody listened is out of date, but for votes: one that is lost is asked for or given again only
    /// after another election timeout.
    fn drop_stale(&mut self) {
        while let Ok(message) = self.messages.try_recv() {
            if !is_vote(&message) {
                continue;
            }
            self.votes.push_back(message);
            if self.votes.len() > VOTES_MAX {
                self.votes.pop_front();
            }
        }
    }

    /// The next message; `None` when the engine is gone.
    async fn next(&mut self) -> Option<RaftMessage> {
        match self.votes.pop_front() {
            Some(vote) => Some(vote),
            None => self.messages.recv().await,
        }
    }

    /// What goes out together with a message: as much as there is, up to a limit.
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

impl Sender {
    /// Streams until the engine is gone, opening the stream again whenever it breaks or the keeper is elsewhere: whoever
    /// took over the old address may well go on listening.
    async fn run(mut self) {
        let mut pause = PAUSE_MIN;
        // What is sent first is why there is a sender at all, and not out of date.
        let mut is_first = true;
        while !self.outbox.messages.is_closed() {
            let place = self.reach.place_of(&self.node);
            if let Some((_, address)) = place {
                if !is_first {
                    self.outbox.drop_stale();
                }
                let began = tokio::time::Instant::now();
                let reach = self.reach.clone();
                let moved = reach.until(self.node.clone(), move |place| place.1 != address);
                tokio::select! {
                    is_over = self.stream(address) => {
                        if is_over {
                            return;
                        }
                    }
                    () = moved => tracing::debug!(keeper = %self.node, "the keeper is elsewhere"),
                }
                self.reach.mailbox.unreachable(self.raft_id);
                if began.elapsed() > PAUSE_MAX {
                    pause = PAUSE_MIN;
                }
            }
            is_first = false;
            let reach = self.reach.clone();
            let back = reach.until(self.node.clone(), move |now| Some(now) != place);
            tokio::select! {
                () = tokio::time::sleep(pause) => pause = (pause * 2).min(PAUSE_MAX),
                () = back => pause = PAUSE_MIN,
            }
        }
    }

    /// Streams to one address until it breaks; true when the engine is gone.
    async fn stream(&mut self, address: SocketAddr) -> bool {
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
                message = self.outbox.next() => message,
            };
            let Some(first) = first else {
                return true;
            };
            let request = self.outbox.batch(first);
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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn of_what_waits_while_nobody_listens_the_last_votes_are_kept() {
        const HEARTBEAT: i32 = 8;
        const VOTE: i32 = 5;
        let (queue, messages) = mpsc::channel(QUEUE_MESSAGES);
        let mut outbox = Outbox::new(messages);
        let send = |msg_type, term| {
            let message = RaftMessage {
                msg_type,
                term,
                ..RaftMessage::default()
            };
            queue.try_send(message).unwrap();
        };
        for term in 1..=6 {
            send(HEARTBEAT, term);
            send(VOTE, term);
        }
        outbox.drop_stale();
        send(HEARTBEAT, 7);
        drop(queue);
        let mut sent = Vec::new();
        while let Some(message) = outbox.next().await {
            sent.push((message.msg_type, message.term));
        }
        assert_eq!(sent, [(VOTE, 3), (VOTE, 4), (VOTE, 5), (VOTE, 6), (HEARTBEAT, 7)]);
    }
}
