//! A network of membership cores, a clock, and what can be seen of them.

use std::collections::{BTreeMap, BTreeSet};

use longbow_types::Role;

use super::super::*;

pub(super) const DELAY: Duration = Duration::from_millis(2);

pub(super) struct Node {
    pub(super) id: MemberId,
    pub(super) core: Option<Membership>,
    pub(super) members: Vec<(MemberId, State)>,
    pub(super) latch: LatchRegister,
    pub(super) seen: Vec<Effect>,
}

pub(super) enum Pending {
    Packet {
        from: usize,
        to: SocketAddr,
        payload: Vec<u8>,
    },
    Timer {
        node: usize,
        timer: Timer,
    },
}

/// A network. Nodes are numbered in the order in which they started.
#[derive(Default)]
pub(super) struct Net {
    pub(super) now: Duration,
    pub(super) nodes: Vec<Node>,
    pub(super) queue: BTreeMap<(Duration, u64), Pending>,
    pub(super) sequence: u64,
    /// Nodes that hear and say nothing.
    pub(super) cut: BTreeSet<usize>,
    pub(super) packets: usize,
    /// Lives that somebody ever took for down, by name and generation.
    pub(super) ever_down: BTreeSet<(String, u64)>,
}

pub(super) fn addr(last: u8, port: u16) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, last], port))
}

pub(super) fn member(name: &str, generation: u64, process: u64, at: SocketAddr) -> MemberId {
    MemberId::new(Describe {
        node_id: name.parse().unwrap(),
        role: Role::Shard,
        generation,
        process,
        gossip_addr: at,
        rpc_addr: SocketAddr::new(at.ip(), 3100),
        http_addr: None,
        version: "1.2.3".to_owned(),
    })
}

impl Net {
    pub(super) fn start(&mut self, id: MemberId) -> usize {
        let node = self.nodes.len();
        let core = Membership::new(id.clone(), &Timing::default(), node as u64);
        let latch = LatchRegister::default();
        self.nodes.push(Node {
            id,
            core: Some(core),
            members: Vec::new(),
            latch,
            seen: Vec::new(),
        });
        self.event(node, Event::Start);
        node
    }

    /// Nodes named n0, n1, …, each calling the first.
    pub(super) fn of(count: u8) -> Self {
        let mut net = Net::default();
        for n in 0..count {
            let node = net.start(member(&format!("n{n}"), 1, u64::from(n) + 1, addr(n + 1, 7946)));
            net.event(node, Event::Call(addr(1, 7946)));
        }
        net.until(|net| net.all_see(usize::from(count)));
        net
    }

    pub(super) fn event(&mut self, node: usize, event: Event<'_>) {
        let Some(core) = &mut self.nodes[node].core else {
            return;
        };
        for effect in core.handle(self.now, event) {
            self.perform(node, effect);
        }
    }

    pub(super) fn perform(&mut self, node: usize, effect: Effect) {
        match effect {
            Effect::Send { to, payload } => {
                assert!(payload.len() <= PAYLOAD_BYTES_MAX);
                self.packets += 1;
                self.push(
                    DELAY,
                    Pending::Packet {
                        from: node,
                        to,
                        payload,
                    },
                );
            }
            Effect::Schedule { after, timer } => self.push(after, Pending::Timer { node, timer }),
            Effect::Members(members) => {
                let down = members.iter().filter(|(_, state)| *state == State::Down);
                self.ever_down
                    .extend(down.map(|(id, _)| (id.node_id().unwrap().to_string(), id.generation())));
                self.nodes[node].members = members;
            }
            Effect::Latch(register) => self.nodes[node].latch = register,
            other => self.nodes[node].seen.push(other),
        }
    }

    pub(super) fn push(&mut self, after: Duration, pending: Pending) {
        self.sequence += 1;
        self.queue.insert((self.now + after, self.sequence), pending);
    }

    pub(super) fn step(&mut self) {
        let ((at, _), pending) = self.queue.pop_first().expect("housekeeping never ends");
        self.now = at;
        match pending {
            Pending::Timer { node, timer } => self.event(node, Event::Timer(timer)),
            Pending::Packet { from, to, payload } => {
                // Of two at one address the later listens.
                let at = self
                    .nodes
                    .iter()
                    .rposition(|n| n.id.gossip_addr() == to && n.core.is_some());
                let Some(node) = at else { return };
                if self.cut.contains(&from) == self.cut.contains(&node) {
                    self.event(node, Event::Packet(&payload));
                }
            }
        }
    }

    pub(super) fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while self
            .queue
            .first_key_value()
            .is_some_and(|((at, _), _)| *at <= end)
        {
            self.step();
        }
        self.now = end;
    }

    /// Runs until it is so; a minute must do for everything.
    #[track_caller]
    pub(super) fn until(&mut self, so: impl Fn(&Net) -> bool) {
        let end = self.now + Duration::from_secs(60);
        while !so(self) {
            assert!(self.now < end, "not within a minute: {:#?}", self.views());
            self.step();
        }
    }

    pub(super) fn views(&self) -> Vec<&Vec<(MemberId, State)>> {
        self.nodes.iter().map(|node| &node.members).collect()
    }

    pub(super) fn state(&self, of: &str, at: usize) -> Option<(u64, State)> {
        let mut members = self.nodes[at].members.iter();
        members
            .find(|(id, _)| id.node_id().unwrap().as_str() == of)
            .map(|(id, state)| (id.generation(), *state))
    }

    /// How many a node takes for alive.
    pub(super) fn sees(&self, node: usize) -> usize {
        let members = self.nodes[node].members.iter();
        members.filter(|(_, state)| *state == State::Alive).count()
    }

    pub(super) fn all_see(&self, alive: usize) -> bool {
        let mut running = (0..self.nodes.len()).filter(|node| self.nodes[*node].core.is_some());
        running.all(|node| self.sees(node) == alive)
    }

    pub(super) fn doubled(&self, node: usize) -> usize {
        self.nodes[node]
            .seen
            .iter()
            .filter(|effect| matches!(effect, Effect::Doubled { .. }))
            .count()
    }

    pub(super) fn superseded(&self, node: usize) -> bool {
        self.nodes[node]
            .seen
            .iter()
            .any(|effect| matches!(effect, Effect::Superseded(_)))
    }

    pub(super) fn rejected(&self) -> Vec<&Effect> {
        let seen = self.nodes.iter().flat_map(|node| &node.seen);
        seen.filter(|effect| matches!(effect, Effect::Rejected(_)))
            .collect()
    }
}

pub(super) fn tripped(epoch: u64) -> LatchRegister {
    LatchRegister {
        epoch,
        tripped: true,
        cause: "EIO".to_owned(),
    }
}
