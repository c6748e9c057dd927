//! What waits for the engine: bounded, and never in the way of the disk's own news.

use std::{
    collections::{BTreeSet, VecDeque},
    time::Instant,
};

use bytes::Bytes;
use longbow_cluster::{catalogue::Catalogue, keepers::Ask};
use longbow_types::{Error, ErrorCode, NodeId, Result};
use longbow_wire::internal::{
    AppendResponse, ChangeKeepersResponse, EntryHeader, RaftMessage, ReportDurableRequest,
};
use parking_lot::{Condvar, Mutex};
use tokio::sync::oneshot;

use crate::state::State;

/// Most requests that wait.
const REQUESTS_MAX: usize = 8_192;
/// Most raft messages that wait; raft sends again what is dropped.
const MESSAGES_MAX: usize = 4_096;

/// Why the engine did not do it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub error: Error,
    /// Who leads, for the caller to go to.
    pub leader: Option<NodeId>,
    /// It may have happened nevertheless.
    pub outcome_unknown: bool,
}

impl Refusal {
    pub fn certain(error: Error) -> Self {
        Self {
            error,
            leader: None,
            outcome_unknown: false,
        }
    }
}

/// An append that was checked.
#[derive(Debug)]
pub(crate) struct Append {
    pub header: EntryHeader,
    /// The same, as it came.
    pub encoded: Bytes,
    pub body: Bytes,
    pub reply: oneshot::Sender<Result<AppendResponse, Refusal>>,
}

/// What callers ask of the engine.
#[derive(Debug)]
pub(crate) enum Request {
    Append(Box<Append>),
    ReadIndex(oneshot::Sender<Result<u64, Refusal>>),
    Change(Ask, oneshot::Sender<Result<ChangeKeepersResponse, Refusal>>),
    Install(Box<Install>),
    /// What a shard has made durable, and what it has room for.
    Durable(
        NodeId,
        Box<ReportDurableRequest>,
        oneshot::Sender<Result<(), Refusal>>,
    ),
    /// The catalogue as of now, with producers.
    Catalogue(oneshot::Sender<Result<Catalogue, Refusal>>),
}

/// A snapshot that came whole and was checked.
#[derive(Debug)]
pub(crate) struct Install {
    /// Raft's message about it.
    pub message: RaftMessage,
    pub state: State,
    /// Told when raft has taken it, or needs it no longer.
    pub reply: oneshot::Sender<Result<(), Refusal>>,
}

impl Request {
    /// Answers that it was not done.
    pub fn refuse(self, refusal: Refusal) {
        // A caller that went away needs no answer.
        match self {
            Self::Append(append) => drop(append.reply.send(Err(refusal))),
            Self::ReadIndex(reply) => drop(reply.send(Err(refusal))),
            Self::Change(_, reply) => drop(reply.send(Err(refusal))),
            Self::Durable(_, _, reply) => drop(reply.send(Err(refusal))),
            Self::Catalogue(reply) => drop(reply.send(Err(refusal))),
            Self::Install(install) => drop(install.reply.send(Err(refusal))),
        }
    }
}

/// How the engine is to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stop {
    /// Hand leadership over, close the log.
    Gracefully,
    /// At once, as if killed.
    AtOnce,
}

/// Everything that waited.
#[derive(Debug, Default)]
pub(crate) struct Mail {
    pub requests: VecDeque<Request>,
    pub messages: VecDeque<RaftMessage>,
    /// Everything up to this number is durable.
    pub flushed: Option<u64>,
    /// The disk failed.
    pub disk_failed: Option<String>,
    /// Members that could not be reached.
    pub unreachable: BTreeSet<u64>,
    /// A checkpoint could not be written.
    pub checkpoint_missed: bool,
    /// The index of the last checkpoint that is durable.
    pub checkpointed: Option<u64>,
    /// Members that snapshots were sent to, and whether each arrived.
    pub snapshots_sent: Vec<(u64, bool)>,
    /// This keeper was taken out of the group.
    pub removed: bool,
    pub stop: Option<Stop>,
    request_bytes: usize,
    message_bytes: usize,
}

impl Mail {
    fn is_empty(&self) -> bool {
        self.requests.is_empty()
            && self.messages.is_empty()
            && self.flushed.is_none()
            && self.disk_failed.is_none()
            && self.unreachable.is_empty()
            && !self.checkpoint_missed
            && self.checkpointed.is_none()
            && self.snapshots_sent.is_empty()
            && !self.removed
            && self.stop.is_none()
    }
}

#[derive(Debug, Default)]
struct Held {
    mail: Mail,
    /// Nobody reads requests and messages: why.
    closed: Option<Error>,
}

/// The engine's mailbox. Anybody may put in, without waiting; the engine takes all at once.
#[derive(Debug)]
pub(crate) struct Mailbox {
    mail: Mutex<Held>,
    news: Condvar,
    bytes_max: usize,
}

impl Mailbox {
    pub fn new(bytes_max: usize) -> Self {
        Self {
            mail: Mutex::default(),
            news: Condvar::new(),
            bytes_max,
        }
    }

    /// From now on requests are refused, those that wait too, and messages dropped: there is no engine.
    pub fn close(&self, why: &Error) {
        let requests = {
            let mut held = self.mail.lock();
            held.closed = Some(why.clone());
            held.mail.messages.clear();
            (held.mail.request_bytes, held.mail.message_bytes) = (0, 0);
            std::mem::take(&mut held.mail.requests)
        };
        for request in requests {
            request.refuse(Refusal::certain(why.clone()));
        }
    }

    /// There is an engine.
    pub fn open(&self) {
        self.mail.lock().closed = None;
    }

    /// Puts in a request, or refuses it when too many wait.
    pub fn request(&self, request: Request) -> Result<()> {
        let bytes = match &request {
            Request::Append(append) => append.encoded.len() + append.body.len(),
            Request::ReadIndex(_)
            | Request::Change(..)
            | Request::Install(_)
            | Request::Durable(..)
            | Request::Catalogue(_) => 0,
        };
        let mut held = self.mail.lock();
        if let Some(why) = &held.closed {
            return Err(why.clone());
        }
        let mail = &mut held.mail;
        let fits = mail.request_bytes == 0 || mail.request_bytes + bytes <= self.bytes_max;
        if mail.requests.len() >= REQUESTS_MAX || !fits {
            let error = Error::new(ErrorCode::Overloaded, "too much waits for the log");
            return Err(error
                .limit(self.bytes_max)
                .retry_after(std::time::Duration::from_millis(100)));
        }
        mail.request_bytes += bytes;
        mail.requests.push_back(request);
        self.news.notify_one();
        Ok(())
    }

    /// Puts in a raft message; drops it when too many wait.
    pub fn message(&self, message: RaftMessage) -> bool {
        let bytes: usize = message.entries.iter().map(|entry| entry.data.len()).sum();
        let mut held = self.mail.lock();
        let is_closed = held.closed.is_some();
        let mail = &mut held.mail;
        let fits = mail.message_bytes == 0 || mail.message_bytes + bytes <= self.bytes_max;
        if is_closed || mail.messages.len() >= MESSAGES_MAX || !fits {
            return false;
        }
        mail.message_bytes += bytes;
        mail.messages.push_back(message);
        self.news.notify_one();
        true
    }

    /// Everything up to this number is durable.
    pub fn flushed(&self, number: u64) {
        self.tell(|mail| mail.flushed = Some(number));
    }

    /// The disk failed; nothing will be durable any more.
    pub fn disk_failed(&self, cause: String) {
        self.tell(|mail| {
            mail.disk_failed.get_or_insert(cause);
        });
    }

    /// A checkpoint was not written, and is to be tried again.
    pub fn checkpoint_missed(&self) {
        self.tell(|mail| mail.checkpoint_missed = true);
    }

    /// The state up to this index is durable in a checkpoint.
    pub fn checkpointed(&self, index: u64) {
        self.tell(|mail| mail.checkpointed = Some(index));
    }

    /// A snapshot for a member has arrived there, or has not.
    pub fn snapshot_sent(&self, member: u64, arrived: bool) {
        self.tell(|mail| mail.snapshots_sent.push((member, arrived)));
    }

    /// Another keeper knows that this one was taken out of the group.
    pub fn removed(&self) {
        self.tell(|mail| mail.removed = true);
    }

    /// A member could not be reached.
    pub fn unreachable(&self, member: u64) {
        self.tell(|mail| {
            mail.unreachable.insert(member);
        });
    }

    /// Asks the engine to end.
    pub fn stop(&self, stop: Stop) {
        self.tell(|mail| {
            if mail.stop != Some(Stop::AtOnce) {
                mail.stop = Some(stop);
            }
        });
    }

    /// Takes everything; waits for something until then.
    pub fn take(&self, until: Instant) -> Mail {
        let mut held = self.mail.lock();
        while held.mail.is_empty() {
            if self.news.wait_until(&mut held, until).timed_out() {
                break;
            }
        }
        std::mem::take(&mut held.mail)
    }

    fn tell(&self, news: impl FnOnce(&mut Mail)) {
        news(&mut self.mail.lock().mail);
        self.news.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn append(bytes: usize) -> Request {
        let (reply, _) = oneshot::channel();
        Request::Append(Box::new(Append {
            header: EntryHeader::default(),
            encoded: Bytes::new(),
            body: Bytes::from(vec![0; bytes]),
            reply,
        }))
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let mailbox = Mailbox::new(100);
        // One that is larger than all is taken alone: it could never go in otherwise.
        mailbox.request(append(500)).unwrap();
        assert_eq!(
            mailbox.request(append(1)).unwrap_err().code,
            ErrorCode::Overloaded
        );
        assert_eq!(mailbox.take(Instant::now()).requests.len(), 1);
        mailbox.request(append(60)).unwrap();
        assert!(mailbox.request(append(60)).is_err());
        for _ in 0..MESSAGES_MAX {
            assert!(mailbox.message(RaftMessage::default()));
        }
        assert!(!mailbox.message(RaftMessage::default()));
        // The disk is always heard.
        mailbox.flushed(3);
        mailbox.stop(Stop::AtOnce);
        mailbox.stop(Stop::Gracefully);
        let mail = mailbox.take(Instant::now());
        assert_eq!((mail.flushed, mail.stop), (Some(3), Some(Stop::AtOnce)));
    }

    #[test]
    fn what_nobody_will_read_is_refused() {
        let mailbox = Mailbox::new(100);
        let (reply, mut answer) = oneshot::channel();
        mailbox.request(Request::ReadIndex(reply)).unwrap();
        mailbox.close(&Error::new(ErrorCode::Stopping, "over"));
        let refusal = answer.try_recv().unwrap().unwrap_err();
        assert_eq!(
            (refusal.error.code, refusal.outcome_unknown),
            (ErrorCode::Stopping, false)
        );
        assert_eq!(mailbox.request(append(1)).unwrap_err().code, ErrorCode::Stopping);
        assert!(!mailbox.message(RaftMessage::default()));
        mailbox.open();
        mailbox.request(append(1)).unwrap();
    }
}
