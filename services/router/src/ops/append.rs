//! How does a command get into the log once, and only once?
//!
//! Every append carries the router's own producer and the next of its sequences, so that the keeper client may send it
//! again after a lost answer: the log answers a repeated sequence with its first answer. The producer is opened through
//! the log by the first append.
//!
//! The log remembers a window of answers, from the highest sequences down. However slow one append is, the others do
//! not run so far ahead of it that its sequence falls out of the window.
//!
//! Rows that a shard has no memory for are refused before they are logged, and tried again for a while. Meanwhile they hold no
//! place among those under way, so that deletes pass them.

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use longbow_cluster::{
    catalogue::{ANSWERS_MAX, error_of},
    latch,
};
use longbow_node::{identity::Identity, keeper_client::KeeperClient, rpc::deadline};
use longbow_types::{Error, ErrorCode, Lsn, Result};
use longbow_wire::internal::{EntryHeader, OpenProducerCommand, entry_header::Command};
use prost::Message;
use tokio::sync::{Mutex, Notify, Semaphore};

use super::{
    Core,
    starve::{Failed, patiently},
};

/// Appends under way at once.
const IN_FLIGHT_MAX: usize = 64;
/// How far sequences run ahead of the oldest unanswered one: far less than the answers that the log remembers.
const AHEAD_MAX: u64 = ANSWERS_MAX as u64 / 2;
/// Appends that may wait for their turn; each holds up to one command.
const WAITING_MAX: usize = 256;

/// Of those, how many may wait for a shard to have memory; more are refused at once.
const STARVING_MAX: usize = WAITING_MAX / 2;

/// What appends share.
#[derive(Debug)]
pub(super) struct Appender {
    client: String,
    producer: Mutex<Option<Producer>>,
    in_flight: Semaphore,
    waiting: Semaphore,
    starving: Semaphore,
}

#[derive(Debug)]
struct Producer {
    id: u64,
    next: u64,
    unanswered: Arc<Unanswered>,
}

impl Producer {
    fn new(id: u64) -> Self {
        Self {
            id,
            next: 1,
            unanswered: Arc::default(),
        }
    }

    /// The next sequence, once it does not run too far ahead of the oldest unanswered one.
    async fn take(&mut self) -> Ticket {
        while !self.unanswered.has_room(self.next) {
            // Only the holder of the producer waits here, so that the one permit of `notify_one` is never lost.
            self.unanswered.answered.notified().await;
        }
        let sequence = self.next;
        self.next += 1;
        self.unanswered.sequences.lock().insert(sequence);
        Ticket {
            producer: self.id,
            sequence,
            unanswered: self.unanswered.clone(),
        }
    }
}

/// Sequences given out whose appends have not ended.
#[derive(Debug, Default)]
struct Unanswered {
    sequences: parking_lot::Mutex<BTreeSet<u64>>,
    answered: Notify,
}

impl Unanswered {
    fn has_room(&self, next: u64) -> bool {
        let sequences = self.sequences.lock();
        sequences.first().is_none_or(|oldest| next - oldest < AHEAD_MAX)
    }
}

/// A sequence, for as long as it may be sent.
#[derive(Debug)]
struct Ticket {
    producer: u64,
    sequence: u64,
    unanswered: Arc<Unanswered>,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.unanswered.sequences.lock().remove(&self.sequence);
        self.unanswered.answered.notify_one();
    }
}

impl Appender {
    pub(super) fn new(identity: &Identity) -> Self {
        Self {
            client: identity.node_id.to_string(),
            producer: Mutex::new(None),
            in_flight: Semaphore::new(IN_FLIGHT_MAX),
            waiting: Semaphore::new(WAITING_MAX),
            starving: Semaphore::new(STARVING_MAX),
        }
    }

    /// The next sequence of the producer, never given out twice.
    async fn next(&self, keeper: &KeeperClient, at: Instant) -> Result<Ticket> {
        let mut producer = self.producer.lock().await;
        let open = match producer.as_mut() {
            Some(open) => open,
            None => producer.insert(Producer::new(self.open(keeper, at).await?)),
        };
        Ok(open.take().await)
    }

    async fn open(&self, keeper: &KeeperClient, at: Instant) -> Result<u64> {
        let command = OpenProducerCommand {
            client: self.client.clone(),
        };
        let header = EntryHeader {
            command: Some(Command::OpenProducer(command)),
            ..EntryHeader::default()
        };
        let answer = keeper
            .append(header.encode_to_vec().into(), Bytes::new(), Some(at))
            .await?;
        match error_of(&answer.verdict.unwrap_or_default()) {
            Some(error) => Err(error),
            None => Ok(answer.index),
        }
    }

    /// Forgets a producer that the log no longer knows.
    async fn forget(&self, id: u64) {
        let mut producer = self.producer.lock().await;
        if producer.as_ref().is_some_and(|open| open.id == id) {
            *producer = None;
        }
    }
}

impl Core {
    /// Appends a command and gives the position of its entry, once it is committed and accepted.
    ///
    /// # Errors
    /// `LATCH_TRIPPED` before anything is sent; `OVERLOADED`; `MEMORY_FULL` when a shard has had no memory for a while;
    /// what the keepers or the state machine answer.
    pub(super) async fn append(&self, command: Command, body: Bytes, at: Instant) -> Result<Lsn> {
        let attempt = |turn_by| self.append_now(&command, &body, turn_by, at);
        patiently(at, &self.0.appender.starving, attempt).await
    }

    /// Waits for a turn until `turn_by`, and for the answer until `at`.
    async fn append_now(
        &self,
        command: &Command,
        body: &Bytes,
        turn_by: Instant,
        at: Instant,
    ) -> Result<Lsn, Failed> {
        let appender = &self.0.appender;
        let turn = async {
            self.check_latch()?;
            let waiting = appender.waiting.try_acquire().map_err(|_| {
                Error::new(ErrorCode::Overloaded, "too many writes wait for the log")
                    .limit(WAITING_MAX)
                    .retry_after(Duration::from_millis(200))
            })?;
            let acquired = deadline::within(Some(turn_by), appender.in_flight.acquire()).await?;
            drop(waiting);
            acquired.map_err(|_| Error::new(ErrorCode::Stopping, "the router is stopping"))
        };
        let _permit = turn.await.map_err(Failed::Unsent)?;
        match self.append_once(command, body, turn_by, at).await {
            // The log forgets producers that were silent for long. The refusal says that nothing was written.
            Err((producer, Failed::Sent(error))) if error.code == ErrorCode::UnknownProducer => {
                appender.forget(producer).await;
                self.append_once(command, body, turn_by, at)
                    .await
                    .map_err(|(_, failed)| failed)
            }
            other => other.map_err(|(_, failed)| failed),
        }
    }

    async fn append_once(
        &self,
        command: &Command,
        body: &Bytes,
        turn_by: Instant,
        at: Instant,
    ) -> Result<Lsn, (u64, Failed)> {
        let next = self.0.appender.next(&self.0.keeper, turn_by);
        let ticket = deadline::within(Some(turn_by), next).await;
        let ticket = ticket
            .and_then(|ticket| ticket)
            .map_err(|error| (0, Failed::Unsent(error)))?;
        let failed = |error| (ticket.producer, Failed::Sent(error));
        let header = EntryHeader {
            producer: ticket.producer,
            sequence: ticket.sequence,
            command: Some(command.clone()),
        };
        let answer = self
            .0
            .keeper
            .append(header.encode_to_vec().into(), body.clone(), Some(at))
            .await;
        let answer = answer.map_err(failed)?;
        match error_of(&answer.verdict.unwrap_or_default()) {
            Some(error) => Err(failed(error)),
            None => Ok(Lsn {
                group: answer.group,
                incarnation: answer.incarnation,
                index: answer.index,
            }),
        }
    }

    /// Refuses writes while the latch is tripped.
    ///
    /// # Errors
    /// `LATCH_TRIPPED` with the cause.
    pub fn check_latch(&self) -> Result<()> {
        latch::refusal(&self.latch()).map_or(Ok(()), Err)
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[test]
    fn no_append_is_so_slow_that_its_sequence_is_forgotten() {
        let mut producer = Producer::new(7);
        let now = |producer: &mut Producer| producer.take().now_or_never();
        let slow = now(&mut producer).unwrap();
        // Fast ones come and go beside it.
        for sequence in 2..=AHEAD_MAX {
            assert_eq!(now(&mut producer).unwrap().sequence, sequence);
        }
        assert!(now(&mut producer).is_none());
        assert!(now(&mut producer).is_none());
        drop(slow);
        assert_eq!(now(&mut producer).unwrap().sequence, AHEAD_MAX + 1);
    }
}
