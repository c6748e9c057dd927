//! A group that changes, a network that drops, delays, reorders and is cut in two or one way, disks that finish late,
//! logs that are cut, and crashes, from one seed.
//!
//! Checked: at most one leader in a term; nobody applies another entry at an index than anybody else; what was applied
//! anywhere or acknowledged is never lost; reads never go back behind an acknowledged write; at one index all have one
//! membership; in the end, with all members up and a network that works, all logs are equal. The same seed gives the
//! same run.

pub(super) mod disk;
mod guards;
mod network;
mod operator;

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex},
};

use rand::{Rng, SeedableRng, rngs::StdRng, seq::IndexedRandom};

use longbow_types::NodeId;
use longbow_wire::internal::{RaftEntry, RaftEntryType};

use super::*;
use crate::keepers::{Change, Keepers};
use disk::{DiskState, Reader, State};
use guards::Guard;
use network::{Network, Packet};

struct Member {
    core: RaftCore<Reader>,
    disk: Arc<Mutex<DiskState>>,
    /// Handed to the disk, not durable yet.
    in_flight: VecDeque<Persist>,
    state: State,
    /// A snapshot that raft was given.
    incoming: Option<State>,
    /// Reads under way, with what was acknowledged when each began.
    reads: BTreeMap<u64, u64>,
}

struct World {
    members: BTreeMap<u64, Member>,
    down: BTreeMap<u64, Arc<Mutex<DiskState>>>,
    network: Network,
    random: StdRng,
    leaders: BTreeMap<u64, u64>,
    /// The log as anybody has applied it.
    history: Vec<RaftEntry>,
    /// Every membership there was, by index.
    memberships: BTreeMap<u64, Keepers>,
    /// Highest index that its proposer saw applied.
    acknowledged: u64,
    proposed: u64,
    requests: u64,
    snapshots: u64,
    trace: Vec<String>,
    /// What is taken away to see whether that is noticed.
    broken: Option<Guard>,
}

pub(super) const VOTERS: [u64; 3] = [1, 2, 3];

fn node(id: u64) -> NodeId {
    format!("k{id}").parse().unwrap()
}

fn formed() -> Keepers {
    Keepers::formed(&VOTERS.map(node))
}

impl World {
    fn new(seed: u64) -> Self {
        let mut world = Self {
            members: BTreeMap::new(),
            down: VOTERS.iter().map(|&id| (id, Arc::default())).collect(),
            network: Network::new(0.1),
            random: StdRng::seed_from_u64(seed),
            leaders: BTreeMap::new(),
            history: Vec::new(),
            memberships: [(0, formed())].into(),
            acknowledged: 0,
            proposed: 0,
            requests: 0,
            snapshots: 0,
            trace: Vec::new(),
            broken: None,
        };
        VOTERS.iter().for_each(|&id| world.start(id));
        world
    }

    /// The newest membership that anybody has applied.
    fn newest(&self) -> &Keepers {
        self.memberships.last_key_value().unwrap().1
    }

    fn ids(&self) -> Vec<u64> {
        self.members.keys().copied().collect()
    }

    fn start(&mut self, id: u64) {
        let Some(disk) = self.down.remove(&id) else {
            return;
        };
        let (hard_state, checkpoint) = {
            let disk = disk.lock().unwrap();
            (disk.hard_state, disk.checkpoint.clone())
        };
        let state = checkpoint.unwrap_or(State {
            applied: Vec::new(),
            keepers: formed(),
        });
        let restored = Restored {
            hard_state,
            conf_state: state.keepers.conf_state().clone(),
            applied: state.applied.len() as u64,
        };
        // A tiny cache, so that followers are fed from the reader as well.
        let config = CoreConfig {
            message_bytes_max: 40,
            inflight_max: 4,
            cache_bytes_max: 60,
            ..CoreConfig::new(id)
        };
        let mut timeouts = StdRng::seed_from_u64(self.random.random());
        let source: TimeoutSource = Box::new(move |range| timeouts.random_range(range));
        let core = RaftCore::new(&config, restored, Reader(disk.clone()), source).unwrap();
        let member = Member {
            core,
            disk,
            in_flight: VecDeque::new(),
            state,
            incoming: None,
            reads: BTreeMap::new(),
        };
        self.members.insert(id, member);
    }

    /// Power is cut: of what the disk had not finished, a prefix may be there.
    fn crash(&mut self, id: u64) {
        if self.members.contains_key(&id) {
            self.lose_what_was_not_synced(id);
        }
        let Some(member) = self.members.remove(&id) else {
            return;
        };
        let survivors = self.random.random_range(0..=member.in_flight.len());
        for persist in member.in_flight.iter().take(survivors) {
            member
                .disk
                .lock()
                .unwrap()
                .write(persist, member.incoming.as_ref());
        }
        if let Some(torn) = member.in_flight.get(survivors) {
            let kept = self.random.random_range(0..=torn.entries.len());
            member.disk.lock().unwrap().tear(torn, kept);
        }
        let unknown = member.disk.lock().unwrap().changes_not_known_committed();
        assert!(unknown <= 1, "{id} lags by {unknown} changes: see ADR 006");
        self.down.insert(id, member.disk);
        self.network.forget(id);
    }

    /// Takes and performs effects until there are none.
    fn settle(&mut self, id: u64) {
        loop {
            let Some(member) = self.members.get_mut(&id) else {
                return;
            };
            let effects = member.core.effects();
            assert!(member.core.take_read_error().is_none());
            if effects.is_empty() {
                return;
            }
            self.trace.push(format!("{id} {effects:?}"));
            for message in effects.send {
                assert_ne!(message.to, id);
                self.network.send(message, None);
            }
            for message in effects.send_snapshots {
                let at = message.snapshot.as_ref().unwrap().index;
                let fits = at == member.state.applied.len() as u64;
                member.core.snapshot_sent(message.to, fits);
                if fits {
                    self.network.send(message, Some(member.state.clone()));
                }
            }
            member.in_flight.extend(effects.persist);
            for entry in effects.committed {
                self.apply(id, entry);
            }
            let Some(member) = self.members.get_mut(&id) else {
                return;
            };
            let applied = member.state.applied.len() as u64;
            for read in effects.reads {
                let acknowledged_before = member.reads.remove(&read.request).unwrap();
                assert!(read.index >= acknowledged_before, "a stale read");
            }
            if member.core.is_leader() {
                let leader = *self.leaders.entry(member.core.term()).or_insert(id);
                assert_eq!(leader, id, "two leaders in term {}", member.core.term());
                // The proposer hears of what its leader applies.
                self.acknowledged = self.acknowledged.max(applied);
            }
        }
    }

    fn apply(&mut self, id: u64, entry: RaftEntry) {
        let member = self.members.get_mut(&id).unwrap();
        let index = member.state.applied.len() as u64 + 1;
        assert_eq!(entry.index, index, "applied out of order");
        let durable = member.disk.lock().unwrap().get(index).cloned();
        assert_eq!(
            durable.as_ref(),
            Some(&entry),
            "applied before it was durable here"
        );
        match self.history.get(index as usize - 1) {
            Some(known) => assert_eq!(*known, entry, "two histories"),
            None => self.history.push(entry.clone()),
        }
        if entry.entry_type() == RaftEntryType::ConfChangeV2 {
            let change = Change::decode(&entry.data).unwrap();
            let conf = member.core.apply_change(&change).unwrap();
            member.state.keepers.apply(index, &change, conf);
            let keepers = member.state.keepers.clone();
            let known = self.memberships.entry(index).or_insert_with(|| keepers.clone());
            assert_eq!(*known, keepers, "two memberships");
        }
        member.state.applied.push(entry);
        member.core.applied(index);
        let added: Vec<u64> = self.newest().members().map(|member| member.raft_id).collect();
        for id in added {
            if !self.members.contains_key(&id) {
                self.down.entry(id).or_default();
            }
        }
    }

    fn step(&mut self) {
        let choice = self.random.random_range(0..1_000);
        let up = self.ids();
        let Some(&id) = up.choose(&mut self.random) else {
            VOTERS.iter().for_each(|&id| self.start(id));
            return;
        };
        match choice {
            0..350 => self.deliver(),
            350..600 => self.finish_write(id),
            600..850 => {
                if let Some(member) = self.members.get_mut(&id) {
                    member.core.tick();
                }
            }
            850..910 => self.propose(),
            910..920 => self.change(),
            920..930 => self.checkpoint_and_trim(id),
            930..960 => self.read(),
            960..970 => self.crash(id),
            970..973 => self.network.cut_or_mend(&up, &mut self.random),
            973..990 => {
                let down: Vec<u64> = self.down.keys().copied().collect();
                if let Some(&id) = down.choose(&mut self.random) {
                    self.start(id);
                }
            }
            _ => {
                if let Some(member) = self.members.get_mut(&id) {
                    member.core.transfer_leadership();
                }
            }
        }
        self.ids().into_iter().for_each(|id| self.settle(id));
    }

    /// Delivers any message, unless the network loses it.
    fn deliver(&mut self) {
        let Some(Packet { message, state }) = self.network.deliver(&mut self.random) else {
            return;
        };
        let Some(member) = self.members.get_mut(&message.to) else {
            return;
        };
        // Who is known to have been removed is not listened to.
        let keepers = &member.state.keepers;
        if keepers.was_given(message.from) && keepers.member(message.from).is_none() {
            return;
        }
        let stepped = match state {
            None => member.core.step(&message),
            Some(_) if member.core.is_installing() => return,
            Some(state) => {
                member.incoming = Some(state);
                member.core.install(&message)
            }
        };
        let _ = stepped.map_err(|error| assert_ne!(error.code, ErrorCode::Corruption));
    }

    fn finish_write(&mut self, id: u64) {
        let Some(member) = self.members.get_mut(&id) else {
            return;
        };
        // One sync covers several writes.
        let writes = self.random.random_range(1..4);
        let mut last = None;
        for persist in member.in_flight.drain(..writes.min(member.in_flight.len())) {
            member
                .disk
                .lock()
                .unwrap()
                .write(&persist, member.incoming.as_ref());
            last = Some(persist.number);
        }
        if let Some(number) = last
            && let Some(at) = member.core.persisted(number)
        {
            member.state = member.incoming.take().unwrap();
            member.core.applied(at.index);
            self.snapshots += 1;
        }
    }

    fn propose(&mut self) {
        self.proposed += 1;
        let data = Bytes::from(format!("command {}", self.proposed));
        let ids = self.ids();
        let leader = ids.into_iter().find(|id| {
            self.members
                .get_mut(id)
                .unwrap()
                .core
                .propose(data.clone())
                .is_ok()
        });
        if let Some(leader) = leader {
            self.acknowledge_early(leader);
        }
    }

    /// Stores the state machine and, perhaps, cuts the log below it.
    fn checkpoint_and_trim(&mut self, id: u64) {
        let Some(member) = self
            .members
            .get_mut(&id)
            .filter(|member| !member.core.is_installing())
        else {
            return;
        };
        let applied = member.state.applied.len() as u64;
        let mut disk = member.disk.lock().unwrap();
        disk.checkpoint = Some(member.state.clone());
        if applied > disk.base + 1 {
            let first_kept = self.random.random_range(disk.base + 1..=applied);
            disk.trim(first_kept);
        }
    }

    fn read(&mut self) {
        self.read_unasked();
        self.requests += 1;
        for member in self.members.values_mut() {
            if member.core.read_index(self.requests).is_ok() {
                member.reads.insert(self.requests, self.acknowledged);
            }
        }
    }

    /// All members up, nothing lost: the group must come to one log.
    fn heal(&mut self) {
        self.network.mend();
        for round in 0..8_000 {
            for id in self.down.keys().copied().collect::<Vec<_>>() {
                self.start(id);
            }
            for id in self.ids() {
                if round % 4 == 0
                    && let Some(member) = self.members.get_mut(&id)
                {
                    member.core.tick();
                }
                self.settle(id);
                self.finish_write(id);
                self.settle(id);
            }
            for _ in 0..3 * self.members.len() {
                self.deliver();
                self.ids().into_iter().for_each(|id| self.settle(id));
            }
            let everybody = self.newest().members();
            let group: Option<Vec<&Member>> = everybody.map(|m| self.members.get(&m.raft_id)).collect();
            let Some(group) = group else {
                continue; // one was just added
            };
            let led = group.iter().any(|member| member.core.is_leader());
            let complete = group
                .iter()
                .all(|member| member.state.applied.len() == self.history.len());
            if round > 400 && led && complete && self.history.len() as u64 >= self.acknowledged {
                return;
            }
        }
        for (id, member) in &self.members {
            let core = &member.core;
            eprintln!(
                "{id}: {:?} in term {} of {:?}, applied {}, committed {}, last {}, {:?}",
                core.role(),
                core.term(),
                core.leader(),
                member.state.applied.len(),
                core.commit_index(),
                core.last_index(),
                member.state.keepers.conf_state(),
            );
        }
        panic!("the group does not come to rest at {}", self.history.len());
    }
}

fn run(seed: u64, steps: usize) -> World {
    run_without(None, seed, steps)
}

fn run_without(guard: Option<Guard>, seed: u64, steps: usize) -> World {
    let mut world = World::new(seed);
    world.broken = guard;
    for _ in 0..steps {
        world.step();
    }
    world.heal();
    for member in world.newest().members() {
        let state = &world.members[&member.raft_id].state;
        assert_eq!(state.applied, world.history);
        assert_eq!(state.keepers, *world.newest());
    }
    assert!(world.history.len() as u64 >= world.acknowledged);
    world
}

#[test]
fn nothing_committed_is_lost() {
    let (mut commands, mut terms, mut changes, mut snapshots, mut cuts) = (0, 0, 0, 0, 0);
    let seeds = seeds();
    for seed in 0..seeds {
        eprintln!("seed {seed}");
        let world = run(seed, 6_000);
        commands += world
            .history
            .iter()
            .filter(|entry| !entry.data.is_empty())
            .count();
        terms += world.leaders.len();
        changes += world.memberships.len() - 1;
        snapshots += world.snapshots;
        cuts += world.network.cuts;
    }
    // The runs must have been eventful, or they prove nothing.
    let many = |what: &str, count: u64, a_seed: u64| {
        assert!(count > a_seed * seeds, "{count} {what} in {seeds} runs");
    };
    many("commands", commands as u64, 50);
    many("leaders", terms as u64, 2);
    many("memberships", changes as u64, 2);
    many("snapshots", snapshots, 1);
    many("cuts of the network", cuts, 5);
    println!("{{\"simulated_seeds\": {seeds}}}");
}

/// Runs of the simulation: as many as `LONGBOW_SIMULATION_SEEDS` says.
fn seeds() -> u64 {
    let wanted = std::env::var("LONGBOW_SIMULATION_SEEDS").ok();
    wanted.map_or(60, |wanted| wanted.parse().expect("a number of seeds"))
}

#[test]
fn a_seed_reproduces_a_run() {
    let (one, two) = (run(7, 3_000), run(7, 3_000));
    assert!(one.trace.len() > 100);
    assert_eq!(one.trace, two.trace);
    assert_ne!(one.trace, run(8, 3_000).trace);
}
