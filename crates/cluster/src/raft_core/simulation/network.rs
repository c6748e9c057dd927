//! What is on its way between members, and what never arrives.

use std::collections::BTreeSet;

use rand::{Rng, rngs::StdRng, seq::IndexedRandom};

use super::{RaftMessage, State};

/// A message, and the state that a snapshot stands for.
#[derive(Clone)]
pub(super) struct Packet {
    pub message: RaftMessage,
    pub state: Option<State>,
}

/// Delivers in any order, loses, repeats, and lets nothing through where it is cut.
#[derive(Default)]
pub(super) struct Network {
    packets: Vec<Packet>,
    /// Directions, from and to, in which nothing arrives.
    cut: BTreeSet<(u64, u64)>,
    /// Share of packets that are lost.
    drop_share: f64,
    /// Times that it was cut.
    pub cuts: u64,
}

impl Network {
    pub fn new(drop_share: f64) -> Self {
        Self {
            drop_share,
            ..Self::default()
        }
    }

    pub fn send(&mut self, message: RaftMessage, state: Option<State>) {
        self.packets.push(Packet { message, state });
    }

    /// Any packet; `None` if there is none, or it is lost.
    pub fn deliver(&mut self, random: &mut StdRng) -> Option<Packet> {
        if self.packets.is_empty() {
            return None;
        }
        let at = random.random_range(0..self.packets.len());
        let packet = self.packets.swap_remove(at);
        let direction = (packet.message.from, packet.message.to);
        if random.random_bool(self.drop_share) || self.cut.contains(&direction) {
            return None;
        }
        if random.random_bool(0.05) {
            self.packets.push(packet.clone());
        }
        Some(packet)
    }

    /// Cuts members off: one from all others, both ways or one way, or one direction alone. Or mends everything.
    pub fn cut_or_mend(&mut self, ids: &[u64], random: &mut StdRng) {
        if !self.cut.is_empty() && random.random_bool(0.6) {
            self.cut.clear();
            return;
        }
        let (Some(&one), Some(&other)) = (ids.choose(random), ids.choose(random)) else {
            return;
        };
        let others = || ids.iter().copied().filter(move |&id| id != one);
        let kind = random.random_range(0..4);
        if kind == 0 || kind == 1 {
            self.cut.extend(others().map(|id| (one, id)));
        }
        if kind == 0 || kind == 2 {
            self.cut.extend(others().map(|id| (id, one)));
        }
        if kind == 3 && one != other {
            self.cut.insert((one, other));
        }
        self.cuts += 1;
    }

    /// From now on everything arrives.
    pub fn mend(&mut self) {
        self.cut.clear();
        self.drop_share = 0.0;
    }

    /// Forgets what is on its way from and to a member.
    pub fn forget(&mut self, id: u64) {
        self.packets
            .retain(|packet| packet.message.from != id && packet.message.to != id);
    }
}
