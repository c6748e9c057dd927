//! Waits for packets, timers and requests in one place; performs the core's effects in another.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
    io,
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use longbow_cluster::{
    latch::LatchState,
    membership::{Describe, Effect, Event, MemberId, Membership, State, Timing},
};
use longbow_types::{Error, ErrorCode, Role};
use longbow_wire::internal::LatchRegister;
use tokio::{
    net::UdpSocket,
    sync::{mpsc, watch},
    time::{Instant, sleep_until},
};

use super::{Gossip, Member, MemberState, alarm::Alarm, seal::Seal, seeds};
use crate::{advertise, config::NodeConfig, identity::Identity, shutdown::Shutdown};

/// Larger than any packet of ours, so that a longer one is seen as such.
const PACKET_BYTES_MAX: usize = 2048;
/// Most packets taken in before a look at the timers.
const BURST: usize = 256;
/// Packets made by one event that wait for the socket.
const OUTBOX_MAX: usize = 1024;
/// After an error of the socket, so that a broken one does not spin.
const SOCKET_PAUSE: Duration = Duration::from_millis(10);
/// Addresses from a lookup waiting to be called.
const CALLS_MAX: usize = 256;
/// At most one warning of a kind in this time.
const WARN_EVERY: Duration = Duration::from_secs(30);

/// Which node this is: always 1.
const NODE_INFO: &str = "longbow_node_info";
/// Whether the latch is tripped, as far as this node knows, and the epoch of that knowledge.
const LATCH_TRIPPED: &str = "longbow_latch_tripped";
const LATCH_EPOCH: &str = "longbow_latch_epoch";
/// Members that answer, by role.
const ACTIVE_MEMBERS: &str = "longbow_gossip_active_members";
/// Packets that were not ours, or not well-formed, by reason.
const DROPPED: &str = "longbow_gossip_packets_dropped_total";
/// Times that two live nodes with one id were seen.
const CONFLICTS: &str = "longbow_gossip_id_conflicts_total";
/// 1 while another live node has our id and we are out of the cluster.
const SUPERSEDED: &str = "longbow_gossip_superseded";

/// Binds, introduces the node to itself and starts the loop.
pub(super) async fn start(
    config: &NodeConfig,
    identity: Identity,
    rpc_addr: SocketAddr,
    http_addr: Option<SocketAddr>,
    shutdown: Shutdown,
) -> Result<Gossip, Error> {
    let failed = |error: io::Error| {
        let message = format!("cannot listen for gossip on {}: {error}", config.gossip_listen);
        Error::new(ErrorCode::InvalidValue, message).field("gossip.listen_addr")
    };
    let socket = UdpSocket::bind(config.gossip_listen).await.map_err(failed)?;
    let local = socket.local_addr().map_err(failed)?;
    let advertised = advertise::gossip(config, local, rpc_addr).await?;
    // A port on all addresses is reached where our RPC is.
    let reachable = |addr: SocketAddr| {
        if addr.ip().is_unspecified() {
            SocketAddr::new(rpc_addr.ip(), addr.port())
        } else {
            addr
        }
    };
    let own = MemberId::new(Describe {
        node_id: identity.node_id.clone(),
        role: identity.role,
        generation: identity.generation,
        process: rand::random(),
        gossip_addr: advertised,
        rpc_addr,
        http_addr: http_addr.map(reachable),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    });
    let timing = Timing {
        probe_interval: config.gossip.probe_interval,
        suspect_timeout: config.gossip.suspect_timeout,
    };
    let (announce, announced) = watch::channel(LatchState::default());
    let (calls, to_call) = mpsc::channel(CALLS_MAX);
    let me: Arc<[Member]> = [member(&own, State::Alive)].into_iter().flatten().collect();
    let out = Out {
        members: watch::Sender::new(me),
        latch: watch::Sender::default(),
        superseded: watch::Sender::default(),
    };
    let gossip = Gossip {
        members: out.members.subscribe(),
        latch: out.latch.subscribe(),
        superseded: out.superseded.subscribe(),
        announce: Arc::new(announce),
        local,
        node_id: identity.node_id,
    };
    let labels = [
        ("role", own.role().to_string()),
        ("node_id", gossip.node_id.to_string()),
        ("version", own.version().to_owned()),
    ];
    metrics::gauge!(NODE_INFO, &labels).set(1.0);
    measure_latch(&LatchRegister::default());
    let core = Membership::new(own, &timing, rand::random());
    let seal = Seal::new(&config.cluster_id, config.secret.expose());
    let shell = Shell::new(core, socket, seal, out);
    tokio::spawn(seeds::call(
        config.seeds.clone(),
        [local, advertised],
        config.gossip.announce_interval,
        gossip.watch(),
        calls,
        shutdown.clone(),
    ));
    tokio::spawn(shell.run(announced, to_call, shutdown));
    tracing::info!(node_id = %gossip.node_id, %local, %advertised, "gossip started");
    Ok(gossip)
}

/// Where the loop publishes.
struct Out {
    members: watch::Sender<Arc<[Member]>>,
    latch: watch::Sender<LatchRegister>,
    superseded: watch::Sender<Option<String>>,
}

struct Shell {
    core: Membership,
    socket: UdpSocket,
    seal: Seal,
    out: Out,
    start: Instant,
    alarms: BinaryHeap<Reverse<Alarm>>,
    set: u64,
    /// Sealed packets on their way to the socket.
    outbox: Vec<(SocketAddr, Vec<u8>)>,
    warned: BTreeMap<&'static str, Instant>,
}

impl Shell {
    fn new(core: Membership, socket: UdpSocket, seal: Seal, out: Out) -> Self {
        Self {
            core,
            socket,
            seal,
            out,
            start: Instant::now(),
            alarms: BinaryHeap::new(),
            set: 0,
            outbox: Vec::new(),
            warned: BTreeMap::new(),
        }
    }

    async fn run(
        mut self,
        mut announced: watch::Receiver<LatchState>,
        mut to_call: mpsc::Receiver<SocketAddr>,
        shutdown: Shutdown,
    ) {
        self.event(Event::Start);
        let mut buffer = [0; PACKET_BYTES_MAX];
        loop {
            let due = self.alarms.peek().map(|Reverse(alarm)| alarm.at);
            // Packets before timers: after a pause, the answers to our probes lie in the socket.
            tokio::select! {
                biased;
                () = shutdown.wait() => break,
                received = self.socket.recv_from(&mut buffer) => match received {
                    Ok((len, from)) => self.receive(len, from, &mut buffer),
                    Err(error) => {
                        tracing::debug!(%error, "gossip socket");
                        tokio::time::sleep(SOCKET_PAUSE).await;
                    }
                },
                Ok(()) = announced.changed() => {
                    let register = announced.borrow_and_update().register().clone();
                    self.event(Event::Latch(register));
                }
                Some(addr) = to_call.recv() => self.event(Event::Call(addr)),
                () = sleep_until(due.unwrap_or_else(far_away)), if due.is_some() => {}
            }
            self.ring();
            self.send().await;
        }
        self.event(Event::Leave);
        self.send().await;
        tracing::info!("left the cluster");
    }

    /// Takes in a packet and those that wait behind it.
    fn receive(&mut self, len: usize, from: SocketAddr, buffer: &mut [u8; PACKET_BYTES_MAX]) {
        self.open(&buffer[..len], from);
        for _ in 1..BURST {
            match self.socket.try_recv_from(buffer) {
                Ok((len, from)) => self.open(&buffer[..len], from),
                Err(_) => return, // nothing waits; any other error comes again in the loop
            }
        }
    }

    fn open(&mut self, packet: &[u8], from: SocketAddr) {
        match self.seal.open(packet) {
            Some(payload) => {
                // The core borrows nothing of the packet, but the borrow checker cannot know.
                let payload = payload.to_vec();
                self.event(Event::Packet(&payload));
            }
            None => {
                metrics::counter!(DROPPED, "reason" => "seal").increment(1);
                if self.may_warn("seal") {
                    tracing::warn!(
                        %from,
                        "dropped a gossip packet: its sender does not hold this cluster's secret, or is of another cluster"
                    );
                }
            }
        }
    }

    /// Hands back the timers that are due.
    fn ring(&mut self) {
        let now = Instant::now();
        while self.alarms.peek().is_some_and(|Reverse(alarm)| alarm.at <= now) {
            if let Some(Reverse(alarm)) = self.alarms.pop() {
                self.event(Event::Timer(alarm.timer));
            }
        }
    }

    fn event(&mut self, event: Event<'_>) {
        let now = self.start.elapsed();
        for effect in self.core.handle(now, event) {
            self.perform(effect);
        }
    }

    fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Send { to, payload } => self.seal(to, &payload),
            Effect::Schedule { after, timer } => {
                self.set += 1;
                let alarm = Alarm {
                    at: Instant::now() + after,
                    number: self.set,
                    timer,
                };
                self.alarms.push(Reverse(alarm));
            }
            Effect::Members(members) => self.publish(members),
            Effect::Latch(register) => {
                tracing::info!(epoch = register.epoch, tripped = register.tripped, cause = %register.cause, "latch");
                measure_latch(&register);
                self.out.latch.send_replace(register);
            }
            Effect::Superseded(by) => {
                metrics::gauge!(SUPERSEDED).set(1.0);
                if self.may_warn("superseded") {
                    tracing::error!(%by, "another live node has this node's id and is newer: this one is out of the cluster \
                        until that one is gone; give each node its own node.id");
                }
                self.out.superseded.send_replace(Some(by.to_string()));
            }
            Effect::Restored(generation) => {
                metrics::gauge!(SUPERSEDED).set(0.0);
                tracing::warn!(
                    generation,
                    "a newer life of this node is gone: this one goes on above it"
                );
                self.out.superseded.send_replace(None);
            }
            Effect::Rejoined => {
                tracing::warn!("this node had been declared down although alive, and came back")
            }
            Effect::Doubled { older, newer } => {
                metrics::counter!(CONFLICTS).increment(1);
                if self.may_warn("doubled") {
                    tracing::error!(%older, %newer, "two live nodes have one id: the older is kept out; give each its own node.id");
                }
            }
            Effect::Rejected(why) => {
                metrics::counter!(DROPPED, "reason" => "malformed").increment(1);
                tracing::debug!(why, "gossip packet not taken");
            }
        }
    }

    fn seal(&mut self, to: SocketAddr, payload: &[u8]) {
        if self.outbox.len() < OUTBOX_MAX {
            self.outbox.push((to, self.seal.close(payload)));
        }
    }

    /// A packet that cannot be sent is a packet lost, which the protocol lives with.
    async fn send(&mut self) {
        for (to, packet) in std::mem::take(&mut self.outbox) {
            if let Err(error) = self.socket.send_to(&packet, to).await {
                tracing::debug!(%to, %error, "gossip packet not sent");
            }
        }
    }

    fn publish(&self, members: Vec<(MemberId, State)>) {
        let members: Arc<[Member]> = members
            .iter()
            .filter_map(|(id, state)| member(id, *state))
            .collect();
        log_changes(&self.out.members.borrow(), &members);
        for role in [Role::Router, Role::Shard, Role::WalKeeper] {
            let count = members
                .iter()
                .filter(|member| member.role == role && member.is_live())
                .count();
            metrics::gauge!(ACTIVE_MEMBERS, "role" => role.as_str()).set(count as f64);
        }
        self.out.members.send_replace(members);
    }

    fn may_warn(&mut self, about: &'static str) -> bool {
        let now = Instant::now();
        let last = self.warned.get(about);
        let may = last.is_none_or(|at| now.duration_since(*at) >= WARN_EVERY);
        if may {
            self.warned.insert(about, now);
        }
        may
    }
}

fn measure_latch(register: &LatchRegister) {
    metrics::gauge!(LATCH_TRIPPED).set(u8::from(register.tripped));
    metrics::gauge!(LATCH_EPOCH).set(register.epoch as f64);
}

fn far_away() -> Instant {
    Instant::now() + Duration::from_secs(3600)
}

fn member(id: &MemberId, state: State) -> Option<Member> {
    Some(Member {
        node_id: id.node_id()?,
        role: id.role(),
        generation: id.generation(),
        rpc_addr: id.rpc_addr(),
        gossip_addr: id.gossip_addr(),
        http_addr: id.http_addr(),
        state: match state {
            State::Alive => MemberState::Alive,
            State::Suspect => MemberState::Suspect,
            State::Down => MemberState::Down,
        },
        version: id.version().to_owned(),
    })
}

fn log_changes(before: &[Member], after: &[Member]) {
    for now in after {
        let was = before.iter().find(|member| member.node_id == now.node_id);
        let same = was.is_some_and(|was| {
            (was.state, was.generation, was.rpc_addr) == (now.state, now.generation, now.rpc_addr)
        });
        if !same {
            let state = now.state.as_str();
            tracing::info!(node_id = %now.node_id, role = %now.role, state, rpc_addr = %now.rpc_addr, "member");
        }
    }
}
