//! How does the log come here? From any live keeper, in order, starting again elsewhere when a keeper fails.

mod register;
mod route;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context as _, bail};
use longbow_node::gossip::{Gossip, Member};
use longbow_node::http::Readiness;
use longbow_node::keeper_client::KeeperClient;
use longbow_node::rpc::{MESSAGE_BYTES_MAX, Peers};
use longbow_node::shutdown::Shutdown;
use longbow_types::{Error, ErrorCode, Result, Role};
use longbow_wire::convert::status::from_status;
use longbow_wire::internal::keeper_service_client::KeeperServiceClient;
use longbow_wire::internal::{TailEntry, TailRequest, TailResponse};
use tokio::time::{Instant, timeout};

use crate::actors::Actors;
use crate::apply::Op;
use crate::partition::Key;
use crate::state::State;
use route::{Route, Step};

/// Pause after a keeper failed, doubled with each failure in a row.
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// How often to ask whether somebody waits for what this keeper does not have.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// How long a keeper may lack what somebody waits for.
const PATIENCE: Duration = Duration::from_secs(1);
/// A keeper that says nothing for so long is left; keepers send heartbeats far more often.
const SILENCE_MAX: Duration = Duration::from_secs(10);
/// The log group of this version.
const GROUP: u32 = 0;

/// Follows the log.
pub(crate) struct Tail {
    pub(crate) state: Arc<State>,
    pub(crate) actors: Arc<Actors>,
    pub(crate) gossip: Gossip,
    pub(crate) peers: Peers,
    pub(crate) keeper: KeeperClient,
    pub(crate) readiness: Readiness,
    pub(crate) shutdown: Shutdown,
}

/// Where the follower stands.
struct Follower {
    tail: Tail,
    route: Route,
    /// Where the log stood when this node first heard of it.
    goal: Option<u64>,
    registering: bool,
    /// The highest index for whose sake keepers were left, and how many were.
    left_for: (u64, usize),
}

/// Entries on their way.
#[derive(Default)]
struct Chunk {
    pending: BTreeMap<Key, Vec<Op>>,
    /// Index of the last one.
    last: u64,
    /// Whether the catalogue that others see has changed.
    changed: bool,
}

impl Tail {
    /// Follows the log until the shutdown.
    pub(crate) async fn follow(self) {
        let shutdown = self.shutdown.clone();
        let route = Route::new(self.state.me.clone());
        let mut follower = Follower {
            tail: self,
            route,
            goal: None,
            registering: false,
            left_for: (0, 0),
        };
        tokio::select! {
            () = follower.run() => {}
            () = shutdown.wait() => {}
        }
    }
}

impl Follower {
    async fn run(&mut self) {
        let (mut turn, mut pause) = (0, PAUSE_MIN);
        let mut members = self.tail.gossip.watch();
        loop {
            // A fresh receiver counts what is there as news; only what comes after this look is.
            members.mark_unchanged();
            let keepers = self.tail.gossip.live(Role::WalKeeper);
            let Some(keeper) = keepers.get(turn % keepers.len().max(1)) else {
                self.not_ready("no wal-keeper is known yet");
                if members.changed().await.is_err() {
                    return; // gossip ends with the shutdown
                }
                continue;
            };
            turn += 1;
            let before = self.tail.state.routed();
            let Err(error) = self.follow(keeper).await;
            tracing::warn!(keeper = %keeper.node_id, next = self.next(), "the log's tail broke: {error:#}");
            pause = if self.tail.state.routed() > before {
                PAUSE_MIN
            } else {
                (pause * 2).min(PAUSE_MAX)
            };
            tokio::time::sleep(pause).await;
        }
    }

    fn next(&self) -> u64 {
        self.tail.state.routed() + 1
    }

    /// Follows one keeper until it fails.
    async fn follow(&mut self, keeper: &Member) -> anyhow::Result<Infallible> {
        let mut client = KeeperServiceClient::new(self.tail.peers.channel(keeper.rpc_addr))
            .max_decoding_message_size(MESSAGE_BYTES_MAX);
        let asked = client.tail(TailRequest {
            from_index: self.next(),
        });
        let mut stream = match timeout(SILENCE_MAX, asked).await {
            Ok(answer) => answer.map_err(|status| from_status(&status))?.into_inner(),
            Err(_) => bail!("it did not answer"),
        };
        tracing::info!(keeper = %keeper.node_id, from = self.next(), "following the log");
        let (mut heard, mut commit) = (Instant::now(), 0);
        // Since when somebody has waited for an index that this keeper does not have.
        let mut lacking: Option<Instant> = None;
        loop {
            match timeout(LOOK_EVERY, stream.message()).await {
                Ok(message) => {
                    let message = message.map_err(|status| from_status(&status))?;
                    let message = message.context("it ended the stream")?;
                    heard = Instant::now();
                    commit = message.commit_index;
                    self.take(message).await?;
                }
                Err(_) if heard.elapsed() > SILENCE_MAX => bail!("it fell silent"),
                Err(_) => {}
            }
            if self.tail.state.wanted() <= commit {
                lacking = None;
            } else if lacking.get_or_insert_with(Instant::now).elapsed() > PATIENCE && self.may_leave() {
                bail!("readers wait for an index that it does not have");
            }
        }
    }

    /// Whether another keeper may have what readers wait for. A keeper cut off from the others goes on with its
    /// heartbeats, so only who waits can tell; but for one index each keeper is left at most once.
    fn may_leave(&mut self) -> bool {
        let wanted = self.tail.state.wanted();
        if self.left_for.0 < wanted {
            self.left_for = (wanted, 0);
        }
        self.left_for.1 += 1;
        self.left_for.1 < self.tail.gossip.live(Role::WalKeeper).len()
    }

    /// Takes a message in: every entry that is next, then the state reached.
    async fn take(&mut self, message: TailResponse) -> Result<()> {
        let state = Arc::clone(&self.tail.state);
        self.check_group(&message)?;
        self.goal.get_or_insert(message.commit_index);
        state.committed.fetch_max(message.commit_index, Ordering::Relaxed);

        let mut chunk = Chunk {
            last: state.routed(),
            ..Chunk::default()
        };
        let taken = self.entries(message.entries, &mut chunk).await;
        // Whatever was wrong with a later entry, those before it have passed through the catalogue.
        self.tail.actors.deliver(chunk.pending).await?;
        if chunk.changed {
            state.set_catalogue(self.route.published());
        }
        if chunk.last > state.routed() {
            state.set_routed(chunk.last);
        }
        self.settle();
        taken
    }

    async fn entries(&mut self, entries: Vec<TailEntry>, chunk: &mut Chunk) -> Result<()> {
        for entry in entries {
            if entry.index <= chunk.last {
                continue; // sent twice
            }
            if entry.index != chunk.last + 1 {
                let message = format!("entry {} came after entry {}", entry.index, chunk.last);
                return Err(Error::new(ErrorCode::Corruption, message));
            }
            let step = self.route.entry(entry.index, &entry.header, &entry.body)?;
            chunk.last = entry.index;
            if let Some(step) = step {
                self.step(step, chunk).await?;
            }
        }
        Ok(())
    }

    /// Does what an entry means. Fails only when the actors are gone.
    async fn step(&self, step: Step, chunk: &mut Chunk) -> Result<()> {
        match step {
            Step::Write(ops) => {
                for (key, op) in ops {
                    chunk.pending.entry(key).or_default().push(op);
                }
                return Ok(());
            }
            Step::Place(place) => self.tail.actors.place(place).await?,
            Step::Evict(dataset) => {
                chunk.pending.retain(|key, _| key.dataset != dataset);
                self.tail.actors.evict(dataset).await?;
            }
            Step::Changed => {}
        }
        chunk.changed = true;
        Ok(())
    }

    fn check_group(&self, message: &TailResponse) -> Result<()> {
        let known = &self.tail.state.incarnation;
        let before = known.load(Ordering::Relaxed);
        if message.group != GROUP || (before != 0 && before != message.incarnation) {
            let text = format!(
                "it has log {}/{}, and this node follows {GROUP}/{before}",
                message.group, message.incarnation
            );
            return Err(Error::new(ErrorCode::WrongCluster, text));
        }
        known.store(message.incarnation, Ordering::Relaxed);
        Ok(())
    }

    /// Catches up, registers, becomes ready: in this order, each once.
    fn settle(&mut self) {
        let state = &self.tail.state;
        let (routed, goal) = (state.routed(), self.goal.unwrap_or(u64::MAX));
        if !state.is_caught_up() {
            if routed < goal {
                self.not_ready(&format!("replaying the log: entry {routed} of {goal}"));
                return;
            }
            tracing::info!(index = routed, "caught up with the log");
            state.set_caught_up();
        }
        if self.tail.readiness.is_ready() {
            return;
        }
        if self.route.is_registered() {
            self.tail.readiness.set(true, "");
        } else if !self.registering {
            self.registering = true;
            self.not_ready("registering with the keepers");
            let me = state.me.clone();
            tokio::spawn(register::register(
                self.tail.keeper.clone(),
                me,
                self.tail.shutdown.clone(),
            ));
        }
    }

    fn not_ready(&self, why: &str) {
        if !self.tail.readiness.is_ready() {
            self.tail.readiness.set(false, why);
        }
    }
}
