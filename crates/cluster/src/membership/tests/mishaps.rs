//! Anything at any time, and garbage.

use proptest::prelude::*;

use super::net::*;
use crate::membership::*;

#[derive(Debug, Clone)]
enum Mishap {
    Cut(usize),
    Heal,
    Kill(usize),
    Restart { node: usize, moved: bool },
    Trip,
    Wait(u64),
}

fn mishap() -> impl Strategy<Value = Mishap> {
    prop_oneof![
        (0..5_usize).prop_map(Mishap::Cut),
        Just(Mishap::Heal),
        (0..5_usize).prop_map(Mishap::Kill),
        (0..5_usize, any::<bool>()).prop_map(|(node, moved)| Mishap::Restart { node, moved }),
        Just(Mishap::Trip),
        (1..20_000_u64).prop_map(Mishap::Wait),
    ]
}

impl Net {
    /// The life of a node that started last.
    fn last_life(&self, name: usize) -> usize {
        let name = format!("n{name}");
        let of_name = |node: &Node| node.id.node_id().is_some_and(|id| id.as_str() == name);
        self.nodes.iter().rposition(of_name).unwrap()
    }

    fn suffer(&mut self, mishap: &Mishap) {
        match *mishap {
            Mishap::Cut(name) => {
                let node = self.last_life(name);
                self.cut.insert(node);
            }
            Mishap::Heal => self.cut.clear(),
            Mishap::Kill(name) => {
                let node = self.last_life(name);
                self.nodes[node].core = None;
            }
            Mishap::Restart { node: name, moved } => {
                let before = self.last_life(name);
                self.nodes[before].core = None;
                let (generation, at) = (
                    self.nodes[before].id.generation() + 1,
                    self.nodes[before].id.gossip_addr(),
                );
                let at = if moved {
                    SocketAddr::new(at.ip(), at.port() + 1)
                } else {
                    at
                };
                let id = member(
                    &format!("n{name}"),
                    generation,
                    1000 + self.nodes.len() as u64,
                    at,
                );
                let node = self.start(id);
                self.call_seeds(node);
            }
            Mishap::Trip => self.event(0, Event::Latch(tripped(1))),
            Mishap::Wait(millis) => self.run(Duration::from_millis(millis)),
        }
    }

    /// Everybody's address is a seed.
    fn call_seeds(&mut self, node: usize) {
        for name in 0..5 {
            let seed = self.nodes[self.last_life(name)].id.gossip_addr();
            self.event(node, Event::Call(seed));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn garbage_never_kills_and_changes_nothing(packets in proptest::collection::vec(
        (0..3_u8, proptest::collection::vec(any::<u8>(), 0..200)), 1..40))
    {
        let mut net = Net::of(2);
        for (kind, mut packet) in packets {
            packet.insert(0, kind);
            net.event(0, Event::Packet(&packet));
        }
        net.until(|net| net.all_see(2));
    }

    #[test]
    fn damaged_packets_never_kill(at in any::<prop::sample::Index>(), byte in any::<u8>(), skip in 0..200_usize) {
        let mut net = Net::of(3);
        net.event(0, Event::Latch(tripped(1)));
        for _ in 0..skip {
            net.step();
        }
        for pending in net.queue.values_mut() {
            if let Pending::Packet { payload, .. } = pending {
                let at = at.index(payload.len());
                payload[at] = byte;
            }
        }
        net.run(Duration::from_secs(20));
    }

    #[test]
    fn identities_travel_whole(generation in any::<u64>(), process in any::<u64>(), port in any::<u16>()) {
        let id = member("a.b-c_d", generation, process, addr(7, port)).renewed();
        let bytes = postcard::to_stdvec(&id).unwrap();
        let back: MemberId = postcard::from_bytes(&bytes).unwrap();
        prop_assert_eq!(&back, &id);
        prop_assert_eq!((back.role(), back.rpc_addr(), back.gossip_addr()), (id.role(), id.rpc_addr(), id.gossip_addr()));
    }

    /// Whatever happened: once the network is whole and everybody runs, all see all, nobody is thought double, and
    /// there is no storm.
    #[test]
    fn after_any_mishaps_all_find_together(mishaps in proptest::collection::vec(mishap(), 1..14)) {
        let mut net = Net::of(5);
        for mishap in &mishaps {
            net.suffer(mishap);
        }
        net.cut.clear();
        for name in 0..5 {
            if net.nodes[net.last_life(name)].core.is_none() {
                net.suffer(&Mishap::Restart { node: name, moved: false });
            }
        }
        let (began, before) = (net.now, net.packets);
        for second in 0..60 {
            for node in 0..net.nodes.len() {
                if net.sees(node) <= 1 || second % 30 == 29 {
                    net.call_seeds(node); // as a shell does
                }
            }
            net.run(Duration::from_secs(1));
        }
        prop_assert!(net.all_see(5), "{:#?}", net.views());
        prop_assert!((0..net.nodes.len()).all(|node| net.doubled(node) == 0 && !net.superseded(node)));
        let seconds = (net.now - began).as_secs() as usize + 1;
        prop_assert!((net.packets - before) / seconds < 5 * 30, "{} packets in {seconds} s", net.packets - before);
    }
}
