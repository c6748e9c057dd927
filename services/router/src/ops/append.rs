//! How does a command get into the log once, and only once?
//!
//! Every append carries the router's own producer and the next of its sequences, so that the keeper client may send it
//! again after a lost answer: the log answers a repeated sequence with its first answer. The producer is opened through
//! the log by the first append.

use std::time::Instant;

use bytes::Bytes;
use longbow_cluster::{catalogue::error_of, latch};
use longbow_node::{identity::Identity, keeper_client::KeeperClient, rpc::deadline};
use longbow_types::{Error, ErrorCode, Lsn, Result};
use longbow_wire::internal::{EntryHeader, OpenProducerCommand, entry_header::Command};
use prost::Message;
use tokio::sync::{Mutex, Semaphore};

use super::Core;

/// Appends under way at once: far below the answers that the log remembers for one producer, so that a sequence is
/// never forgotten while it is being retried.
const IN_FLIGHT_MAX: usize = 64;
/// Appends that may wait for their turn; each holds up to one command.
const WAITING_MAX: usize = 256;

/// What appends share.
#[derive(Debug)]
pub(super) struct Appender {
    client: String,
    producer: Mutex<Option<Producer>>,
    in_flight: Semaphore,
    waiting: Semaphore,
}

#[derive(Debug, Clone, Copy)]
struct Producer {
    id: u64,
    next: u64,
}

impl Appender {
    pub(super) fn new(identity: &Identity) -> Self {
        Self {
            client: identity.node_id.to_string(),
            producer: Mutex::new(None),
            in_flight: Semaphore::new(IN_FLIGHT_MAX),
            waiting: Semaphore::new(WAITING_MAX),
        }
    }

    /// The producer and its next sequence, never given out twice.
    async fn next(&self, keeper: &KeeperClient, at: Instant) -> Result<(u64, u64)> {
        let mut producer = self.producer.lock().await;
        let open = match producer.as_mut() {
            Some(open) => open,
            None => producer.insert(Producer {
                id: self.open(keeper, at).await?,
                next: 1,
            }),
        };
        let sequence = open.next;
        open.next += 1;
        Ok((open.id, sequence))
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
        if producer.is_some_and(|open| open.id == id) {
            *producer = None;
        }
    }
}

impl Core {
    /// Appends a command and gives the position of its entry, once it is committed and accepted.
    ///
    /// # Errors
    /// `LATCH_TRIPPED` before anything is sent; `OVERLOADED`; what the keepers or the state machine answer.
    pub(super) async fn append(&self, command: Command, body: Bytes, at: Instant) -> Result<Lsn> {
        self.check_latch()?;
        let appender = &self.0.appender;
        let waiting = appender.waiting.try_acquire().map_err(|_| {
            Error::new(ErrorCode::Overloaded, "too many writes wait for the log")
                .limit(WAITING_MAX)
                .retry_after(std::time::Duration::from_millis(200))
        })?;
        let acquired = deadline::within(Some(at), appender.in_flight.acquire()).await?;
        let _permit = acquired.map_err(|_| Error::new(ErrorCode::Stopping, "the router is stopping"))?;
        drop(waiting);
        match self.append_once(&command, &body, at).await {
            // The log forgets producers that were silent for long. The refusal says that nothing was written.
            Err((producer, error)) if error.code == ErrorCode::UnknownProducer => {
                appender.forget(producer).await;
                self.append_once(&command, &body, at)
                    .await
                    .map_err(|(_, error)| error)
            }
            other => other.map_err(|(_, error)| error),
        }
    }

    async fn append_once(&self, command: &Command, body: &Bytes, at: Instant) -> Result<Lsn, (u64, Error)> {
        let (producer, sequence) = self
            .0
            .appender
            .next(&self.0.keeper, at)
            .await
            .map_err(|error| (0, error))?;
        let header = EntryHeader {
            producer,
            sequence,
            command: Some(command.clone()),
        };
        let answer = self
            .0
            .keeper
            .append(header.encode_to_vec().into(), body.clone(), Some(at))
            .await;
        let answer = answer.map_err(|error| (producer, error))?;
        match error_of(&answer.verdict.unwrap_or_default()) {
            Some(error) => Err((producer, error)),
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
