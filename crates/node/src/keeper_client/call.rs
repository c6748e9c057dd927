//! Finding the leader, and trying again where that is harmless.

use std::{
    error::Error as _,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use longbow_types::{Error, ErrorCode, Lsn, NodeId, Role};
use longbow_wire::{
    convert::status::from_status,
    entry::decode_header,
    internal::{
        AppendRequest, AppendResponse, ChangeKeepersRequest, EntryHeader, KeeperMembership, ReadIndexRequest,
        entry_header::Command, keeper_service_client::KeeperServiceClient,
    },
};
use parking_lot::Mutex;
use tonic::{Code, Request, Status};
use tonic_types::StatusExt as _;

use crate::{
    gossip::{Gossip, Member},
    rpc::{AuthedChannel, MESSAGE_BYTES_MAX, Peers, deadline},
};

/// How long to look for a leader when the caller sets no deadline.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long one keeper may take at most before another is asked, where asking twice is harmless.
const ATTEMPT: Duration = Duration::from_secs(3);
/// Pauses between rounds that found nobody.
const PAUSE_MIN: Duration = Duration::from_millis(20);
const PAUSE_MAX: Duration = Duration::from_millis(500);
/// Metadata in which a keeper that does not lead names who does.
const LEADER_KEY: &str = "leader";

/// Calls to the leader, with what is known about who that is.
#[derive(Debug, Clone)]
pub(super) struct Leader {
    peers: Peers,
    gossip: Gossip,
    known: Arc<Mutex<Option<NodeId>>>,
    /// Where the next call without a known leader begins: not always at the same keeper, which may be the silent one.
    first: Arc<AtomicUsize>,
}

/// What doing it twice means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// It changes nothing.
    Read,
    /// The same as doing it once.
    Repeatable,
    /// Something else than doing it once.
    Once,
}

/// What a failed attempt means.
enum Verdict {
    /// It certainly did nothing, for lack of a leader there: ask elsewhere.
    NotThere,
    /// Nobody knows whether it did something.
    Unknown,
    /// An answer: it is the caller's.
    Final,
}

impl Leader {
    pub(super) fn new(peers: Peers, gossip: Gossip) -> Self {
        Self {
            peers,
            gossip,
            known: Arc::default(),
            first: Arc::default(),
        }
    }

    pub(super) async fn append(
        &self,
        header: Bytes,
        body: Bytes,
        deadline: Option<Instant>,
    ) -> Result<AppendResponse, Error> {
        let decoded = decode_header(&header).map_err(|error| {
            Error::new(
                ErrorCode::Internal,
                format!("an append with a header that cannot be read: {error}"),
            )
        })?;
        let request = AppendRequest { header, body };
        self.call(deadline, kind(&decoded), |mut keeper, at| {
            let mut request = Request::new(request.clone());
            deadline::apply(&mut request, Some(at));
            async move { keeper.append(request).await }
        })
        .await
    }

    pub(super) async fn change_keepers(
        &self,
        request: ChangeKeepersRequest,
        deadline: Option<Instant>,
    ) -> Result<KeeperMembership, Error> {
        let answer = self
            .call(deadline, Kind::Once, |mut keeper, at| {
                let mut request = Request::new(request.clone());
                deadline::apply(&mut request, Some(at));
                async move { keeper.change_keepers(request).await }
            })
            .await?;
        Ok(answer.membership.unwrap_or_default())
    }

    pub(super) async fn read_index(&self, deadline: Option<Instant>) -> Result<Lsn, Error> {
        let answer = self
            .call(deadline, Kind::Read, |mut keeper, at| {
                let mut request = Request::new(ReadIndexRequest {});
                deadline::apply(&mut request, Some(at));
                async move { keeper.read_index(request).await }
            })
            .await?;
        Ok(Lsn {
            group: answer.group,
            incarnation: answer.incarnation,
            index: answer.index,
        })
    }

    /// Asks keeper after keeper until one answers or the deadline passes.
    async fn call<T, Fut>(
        &self,
        deadline: Option<Instant>,
        kind: Kind,
        send: impl Fn(KeeperServiceClient<AuthedChannel>, Instant) -> Fut,
    ) -> Result<T, Error>
    where
        Fut: Future<Output = Result<tonic::Response<T>, Status>>,
    {
        let until = deadline.unwrap_or_else(|| Instant::now() + PATIENCE);
        let mut pause = PAUSE_MIN;
        let (mut last, mut lost) = (None, false);
        let first = self.first.load(Ordering::Relaxed);
        let mut turn = 0;
        let mut hint = self.known.lock().clone();
        while Instant::now() < until {
            let keepers = self.gossip.live(Role::WalKeeper);
            let Some((keeper, hinted)) = choose(&keepers, hint.take(), first.wrapping_add(turn)) else {
                // Gossip may know a moment later: wait for it rather than spin.
                self.pause(&mut pause, until).await;
                continue;
            };
            let at = match kind {
                Kind::Once => until,
                Kind::Read | Kind::Repeatable => attempt_until(until, keepers.len(), hinted),
            };
            let status = match attempt(at, send(client(&self.peers, keeper), at)).await {
                Ok(answer) => {
                    *self.known.lock() = Some(keeper.node_id.clone());
                    return Ok(answer);
                }
                Err(status) => status,
            };
            let error = from_status(&status);
            tracing::debug!(keeper = %keeper.node_id, %error, "a keeper did not do it");
            match verdict(&status, &error) {
                // What is refused now says nothing about the attempt whose answer was lost.
                Verdict::Final if lost && kind != Kind::Read => return Err(outcome_unknown(&error, until)),
                Verdict::Final => return Err(error),
                Verdict::Unknown if kind == Kind::Once => return Err(outcome_unknown(&error, until)),
                Verdict::Unknown => lost = true,
                Verdict::NotThere => {}
            }
            self.forget(&keeper.node_id);
            hint = leader_in(&status).filter(|leader| *leader != keeper.node_id);
            last = Some(error);
            turn += 1;
            // A hint is followed at once. A whole round without one means that an election is under way, and two
            // rounds with nothing but hints that they lead in a circle.
            if turn % (2 * keepers.len()) == 0 || hint.is_none() && turn % keepers.len() == 0 {
                self.pause(&mut pause, until).await;
            }
        }
        match last {
            Some(error) if lost && kind != Kind::Read => Err(outcome_unknown(&error, until)),
            last => Err(no_leader(last, deadline)),
        }
    }

    /// A keeper did not do it: calls that begin now ask another first. What others learnt meanwhile stays.
    fn forget(&self, keeper: &NodeId) {
        self.first.fetch_add(1, Ordering::Relaxed);
        self.known.lock().take_if(|known| known == keeper);
    }

    async fn pause(&self, pause: &mut Duration, until: Instant) {
        let mut members = self.gossip.watch();
        members.mark_unchanged();
        let end = until.min(Instant::now() + *pause);
        // News about members end the pause early; gossip that has stopped must not make it zero.
        if let Ok(Err(_)) = tokio::time::timeout_at(end.into(), members.changed()).await {
            tokio::time::sleep_until(end.into()).await;
        }
        *pause = (*pause * 2).min(PAUSE_MAX);
    }
}

async fn attempt<T>(
    at: Instant,
    call: impl Future<Output = Result<tonic::Response<T>, Status>>,
) -> Result<T, Status> {
    match tokio::time::timeout_at(at.into(), call).await {
        Ok(answer) => answer.map(tonic::Response::into_inner),
        Err(_) => Err(Status::deadline_exceeded("the keeper did not answer in time")),
    }
}

fn client(peers: &Peers, keeper: &Member) -> KeeperServiceClient<AuthedChannel> {
    KeeperServiceClient::new(peers.channel(keeper.rpc_addr))
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX)
}

/// The keeper to ask, and whether it is one that is said to lead.
fn choose(keepers: &[Member], hint: Option<NodeId>, turn: usize) -> Option<(&Member, bool)> {
    let hinted = hint.and_then(|id| keepers.iter().find(|keeper| keeper.node_id == id));
    match hinted {
        Some(keeper) => Some((keeper, true)),
        None => Some((keepers.get(turn % keepers.len().max(1))?, false)),
    }
}

/// How long one keeper may take: a silent one must leave time to ask the others. One that is said to lead may take
/// half of the time, since the answer is probably its; any other its share.
fn attempt_until(until: Instant, keepers: usize, hinted: bool) -> Instant {
    let now = Instant::now();
    let share = if hinted { keepers.min(2) } else { keepers };
    let share = u32::try_from(share).unwrap_or(u32::MAX).max(1);
    now + (until.saturating_duration_since(now) / share).min(ATTEMPT)
}

fn kind(header: &EntryHeader) -> Kind {
    let folded = header.producer != 0 && header.sequence != 0;
    // A shard registered twice is registered; a producer opened twice leaves one that nobody uses.
    match header.command {
        _ if folded => Kind::Repeatable,
        Some(Command::RegisterShard(_) | Command::OpenProducer(_)) => Kind::Repeatable,
        _ => Kind::Once,
    }
}

/// Keepers promise: `NOT_LEADER`, `NO_LEADER` and `STOPPING` mean that nothing was proposed. A keeper that proposed
/// and does not know what became of it says `DEADLINE_EXCEEDED` or `CANCELLED`, or lets the call break.
fn verdict(status: &Status, error: &Error) -> Verdict {
    match error.code {
        ErrorCode::NotLeader | ErrorCode::NoLeader | ErrorCode::Stopping if is_ours(status) => {
            Verdict::NotThere
        }
        ErrorCode::DeadlineExceeded | ErrorCode::Cancelled => Verdict::Unknown,
        _ if is_ours(status) => Verdict::Final,
        _ if never_sent(status) => Verdict::NotThere,
        // The transport's own: a broken connection, a call reset.
        _ => match status.code() {
            Code::Unavailable | Code::Unknown | Code::Internal | Code::Aborted => Verdict::Unknown,
            _ => Verdict::Final,
        },
    }
}

/// Whether Longbow made this status, rather than the transport.
fn is_ours(status: &Status) -> bool {
    status
        .get_error_details()
        .error_info()
        .is_some_and(|info| info.domain == longbow_wire::convert::status::DOMAIN)
}

/// Whether the connection was refused, so that the request never left.
fn never_sent(status: &Status) -> bool {
    let mut source = status.source();
    while let Some(error) = source {
        if error.is::<tonic::ConnectError>() {
            return true;
        }
        source = error.source();
    }
    false
}

/// The leader that a keeper names, in the status's metadata or in those of its error info.
fn leader_in(status: &Status) -> Option<NodeId> {
    let plain = status
        .metadata()
        .get(LEADER_KEY)
        .and_then(|value| value.to_str().ok())
        .map(str::to_owned);
    let detailed = || {
        status
            .get_error_details()
            .error_info()?
            .metadata
            .get(LEADER_KEY)
            .cloned()
    };
    plain.or_else(detailed)?.parse().ok()
}

fn outcome_unknown(error: &Error, until: Instant) -> Error {
    let code = if Instant::now() >= until {
        ErrorCode::DeadlineExceeded
    } else {
        ErrorCode::NoLeader
    };
    Error::new(
        code,
        format!(
            "the keeper's answer was lost, it may or may not have happened; last heard: {}: {}",
            error.code, error.message
        ),
    )
}

fn no_leader(last: Option<Error>, deadline: Option<Instant>) -> Error {
    let why = last.map_or("no keeper is known".to_owned(), |error| {
        error.message.into_owned()
    });
    let message = match deadline {
        Some(_) => format!("no keeper leads before the deadline: {why}"),
        None => format!("no keeper leads: {why}"),
    };
    Error::new(ErrorCode::NoLeader, message).retry_after(PAUSE_MAX)
}
