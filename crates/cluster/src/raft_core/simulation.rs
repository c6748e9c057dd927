//! Three members, a network that drops, delays and reorders, disks that finish late, and crashes, from one seed.
//!
//! Checked: at most one leader in a term; nobody applies another entry at an index than anybody else; what was applied
//! anywhere or acknowledged is never lost; reads never go back behind an acknowledged write; in the end, with all up
//! and a network that works, all logs are equal. The same seed gives the same run.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex},
};

use rand::{Rng, SeedableRng, rngs::StdRng, seq::IndexedRandom};

use longbow_wire::internal::{RaftConfState, RaftEntry};

use super::*;

/// What is durable at one member.
#[derive(Default, Clone)]
pub(super) struct DiskState {
    pub entries: Vec<RaftEntry>,
    pub hard_state: HardState,
}

impl DiskState {
    pub fn write(&mut self, persist: &Persist) {
        for entry in &persist.entries {
            self.entries.truncate(entry.index as usize - 1);
            assert_eq!(entry.index, self.entries.len() as u64 + 1, "a gap in the log");
            self.entries.push(entry.clone());
        }
        if let Some(hard_state) = persist.hard_state {
            self.hard_state = hard_state;
        }
    }
}

#[derive(Clone)]
pub(super) struct Reader(pub Arc<Mutex<DiskState>>);

impl LogReader for Reader {
    fn first_index(&self) -> u64 {
        1
    }

    fn last_index(&self) -> u64 {
        self.0.lock().unwrap().entries.len() as u64
    }

    fn term(&self, index: u64) -> Option<u64> {
        let disk = self.0.lock().unwrap();
        Some(disk.entries.get(index.checked_sub(1)? as usize)?.term)
    }

    fn entries(&self, range: Range<u64>, bytes_max: usize) -> Result<Vec<RaftEntry>> {
        let disk = self.0.lock().unwrap();
        let mut bytes = 0;
        let mut entries = Vec::new();
        for entry in &disk.entries[range.start as usize - 1..range.end as usize - 1] {
            bytes += entry.data.len();
            if bytes > bytes_max && !entries.is_empty() {
                break;
            }
            entries.push(entry.clone());
        }
        Ok(entries)
    }
}

struct Member {
    core: RaftCore<Reader>,
    disk: Arc<Mutex<DiskState>>,
    /// Handed to the disk, not durable yet.
    in_flight: VecDeque<Persist>,
    applied: Vec<RaftEntry>,
    /// Reads under way, with what was acknowledged when each began.
    reads: BTreeMap<u64, u64>,
}

struct World {
    members: BTreeMap<u64, Member>,
    down: BTreeMap<u64, Arc<Mutex<DiskState>>>,
    network: Vec<RaftMessage>,
    random: StdRng,
    leaders: BTreeMap<u64, u64>,
    /// The log as anybody has applied it.
    history: Vec<RaftEntry>,
    /// Highest index that its proposer saw applied.
    acknowledged: u64,
    proposed: u64,
    requests: u64,
    drop_share: f64,
    trace: Vec<String>,
}

pub(super) const VOTERS: [u64; 3] = [1, 2, 3];

impl World {
    fn new(seed: u64) -> Self {
        let mut world = Self {
            members: BTreeMap::new(),
            down: VOTERS.iter().map(|&id| (id, Arc::default())).collect(),
            network: Vec::new(),
            random: StdRng::seed_from_u64(seed),
            leaders: BTreeMap::new(),
            history: Vec::new(),
            acknowledged: 0,
            proposed: 0,
            requests: 0,
            drop_share: 0.1,
            trace: Vec::new(),
        };
        VOTERS.iter().for_each(|&id| world.start(id));
        world
    }

    fn start(&mut self, id: u64) {
        let Some(disk) = self.down.remove(&id) else {
            return;
        };
        let hard_state = disk.lock().unwrap().hard_state;
        let restored = Restored {
            hard_state,
            conf_state: RaftConfState {
                voters: VOTERS.to_vec(),
                ..Default::default()
            },
            applied: 0,
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
            applied: Vec::new(),
            reads: BTreeMap::new(),
        };
        self.members.insert(id, member);
    }

    /// Power is cut: of what the disk had not finished, a prefix may be there.
    fn crash(&mut self, id: u64) {
        let Some(member) = self.members.remove(&id) else {
            return;
        };
        let survivors = self.random.random_range(0..=member.in_flight.len());
        for persist in member.in_flight.iter().take(survivors) {
            member.disk.lock().unwrap().write(persist);
        }
        self.down.insert(id, member.disk);
        self.network
            .retain(|message| message.from != id && message.to != id);
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
            for message in &effects.send {
                assert_ne!(message.to, id);
            }
            self.trace.push(format!("{id} {effects:?}"));
            self.network.extend(effects.send);
            member.in_flight.extend(effects.persist);
            for entry in effects.committed {
                let at = member.applied.len();
                assert_eq!(entry.index, at as u64 + 1, "applied out of order");
                let durable = member.disk.lock().unwrap().entries.get(at).cloned();
                assert_eq!(
                    durable.as_ref(),
                    Some(&entry),
                    "applied before it was durable here"
                );
                match self.history.get(at) {
                    Some(known) => assert_eq!(*known, entry, "two histories"),
                    None => self.history.push(entry.clone()),
                }
                member.applied.push(entry);
                member.core.applied(at as u64 + 1);
            }
            let applied = member.applied.len() as u64;
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

    fn step(&mut self) {
        let choice = self.random.random_range(0..100);
        let up: Vec<u64> = self.members.keys().copied().collect();
        let Some(&id) = up.choose(&mut self.random) else {
            VOTERS.iter().for_each(|&id| self.start(id));
            return;
        };
        match choice {
            0..35 => self.deliver(),
            35..60 => self.finish_write(id),
            60..85 => {
                if let Some(member) = self.members.get_mut(&id) {
                    member.core.tick();
                }
            }
            85..93 => self.propose(),
            93..96 => self.read(),
            96 => self.crash(id),
            97..99 => {
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
        let up: Vec<u64> = self.members.keys().copied().collect();
        up.into_iter().for_each(|id| self.settle(id));
    }

    /// Delivers any message, in no order; or loses it, or delivers it twice.
    fn deliver(&mut self) {
        if self.network.is_empty() {
            return;
        }
        let at = self.random.random_range(0..self.network.len());
        let message = self.network.swap_remove(at);
        if self.random.random_bool(self.drop_share) {
            return;
        }
        if self.random.random_bool(0.05) {
            self.network.push(message.clone());
        }
        if let Some(member) = self.members.get_mut(&message.to) {
            let _ = member
                .core
                .step(&message)
                .map_err(|error| assert_ne!(error.code, ErrorCode::Corruption));
        }
    }

    fn finish_write(&mut self, id: u64) {
        let Some(member) = self.members.get_mut(&id) else {
            return;
        };
        // One sync covers several writes.
        let writes = self.random.random_range(1..4);
        let mut last = None;
        for persist in member.in_flight.drain(..writes.min(member.in_flight.len())) {
            member.disk.lock().unwrap().write(&persist);
            last = Some(persist.number);
        }
        if let Some(number) = last {
            member.core.persisted(number);
        }
    }

    fn propose(&mut self) {
        self.proposed += 1;
        let data = Bytes::from(format!("command {}", self.proposed));
        for member in self.members.values_mut() {
            if member.core.propose(data.clone()).is_ok() {
                return;
            }
        }
    }

    fn read(&mut self) {
        self.requests += 1;
        for member in self.members.values_mut() {
            if member.core.read_index(self.requests).is_ok() {
                member.reads.insert(self.requests, self.acknowledged);
            }
        }
    }

    /// All up, nothing lost: the group must come to one log.
    fn heal(&mut self) {
        self.drop_share = 0.0;
        VOTERS.iter().for_each(|&id| self.start(id));
        for round in 0..4_000 {
            for id in VOTERS {
                if round % 4 == 0
                    && let Some(member) = self.members.get_mut(&id)
                {
                    member.core.tick();
                }
                self.settle(id);
                self.finish_write(id);
                self.settle(id);
            }
            for _ in 0..8 {
                self.deliver();
                VOTERS.iter().for_each(|&id| self.settle(id));
            }
            let lengths: Vec<usize> = self.members.values().map(|member| member.applied.len()).collect();
            let led = self.members.values().any(|member| member.core.is_leader());
            let complete = lengths.iter().all(|&length| length == self.history.len());
            if round > 400 && led && complete && lengths[0] as u64 >= self.acknowledged {
                return;
            }
        }
        panic!("the group does not come to rest");
    }
}

fn run(seed: u64, steps: usize) -> World {
    let mut world = World::new(seed);
    for _ in 0..steps {
        world.step();
    }
    world.heal();
    let logs: Vec<&Vec<RaftEntry>> = world.members.values().map(|member| &member.applied).collect();
    assert!(logs.iter().all(|log| **log == world.history));
    assert!(world.history.len() as u64 >= world.acknowledged);
    world
}

#[test]
fn nothing_committed_is_lost() {
    let mut commands = 0;
    let mut terms = 0;
    for seed in 0..60 {
        let world = run(seed, 4_000);
        commands += world
            .history
            .iter()
            .filter(|entry| !entry.data.is_empty())
            .count();
        terms += world.leaders.len();
    }
    // The runs must have been eventful, or they prove nothing.
    assert!(commands > 3_000, "{commands} commands");
    assert!(terms > 120, "{terms} leaders");
}

#[test]
fn a_seed_reproduces_a_run() {
    let (one, two) = (run(7, 3_000), run(7, 3_000));
    assert!(one.trace.len() > 100);
    assert_eq!(one.trace, two.trace);
    assert_ne!(one.trace, run(8, 3_000).trace);
}
