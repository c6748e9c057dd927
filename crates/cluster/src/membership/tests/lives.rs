//! Lives of one node: death, return, doubles.

use super::net::*;
use crate::membership::*;

#[test]
fn a_node_that_dies_is_down_and_one_that_leaves_is_down_at_once() {
    let mut net = Net::of(4);
    net.nodes[1].core = None;
    net.until(|net| net.state("n1", 0) == Some((1, State::Suspect)));
    net.until(|net| {
        (0..4)
            .filter(|n| *n != 1)
            .all(|n| net.state("n1", n) == Some((1, State::Down)))
    });

    net.event(2, Event::Leave);
    net.nodes[2].core = None;
    let left = net.now;
    net.until(|net| {
        [0, 3]
            .iter()
            .all(|n| net.state("n2", *n) == Some((1, State::Down)))
    });
    assert!(net.now - left < Duration::from_secs(2));
}

#[test]
fn a_node_that_comes_back_elsewhere_replaces_itself() {
    let mut net = Net::of(3);
    net.nodes[1].core = None;
    net.run(Duration::from_millis(100)); // nobody has noticed
    let again = net.start(member("n1", 2, 99, addr(9, 1234)));
    net.event(again, Event::Call(addr(3, 7946)));
    net.until(|net| {
        [0, 2, again]
            .iter()
            .all(|n| net.state("n1", *n) == Some((2, State::Alive)))
    });
    net.run(Duration::from_secs(30));
    assert!(net.all_see(3), "{:#?}", net.views());
    let entry = net.nodes[0]
        .members
        .iter()
        .find(|(id, _)| id.generation() == 2)
        .unwrap();
    assert_eq!(entry.0.gossip_addr(), addr(9, 1234));
    assert_eq!(
        (0..4).map(|n| net.doubled(n)).sum::<usize>(),
        0,
        "a restart is no double"
    );
}

#[test]
fn packets_that_a_former_life_left_on_their_way_are_no_double() {
    let mut net = Net::of(3);
    let from_n1 = |net: &Net| {
        net.queue.values().find_map(|pending| match pending {
            Pending::Packet { from: 1, to, payload } if *to == addr(1, 7946) => Some(payload.clone()),
            _ => None,
        })
    };
    net.until(|net| from_n1(net).is_some());
    let slow = from_n1(&net).unwrap();
    net.nodes[1].core = None;
    let again = net.start(member("n1", 2, 99, addr(2, 7946)));
    net.event(again, Event::Call(addr(1, 7946)));
    net.until(|net| net.state("n1", 0) == Some((2, State::Alive)));
    net.event(0, Event::Packet(&slow));
    net.run(Duration::from_secs(1));
    assert_eq!((net.doubled(0), net.doubled(again)), (0, 0));
    // The same much later can only come from a process that still lives.
    net.run(Duration::from_secs(10));
    net.event(0, Event::Packet(&slow));
    assert_eq!(net.doubled(0), 1);
}

#[test]
fn the_older_of_two_with_one_id_goes_silent_until_the_newer_is_gone() {
    let mut net = Net::of(4);
    let double = net.start(member("n1", 2, 99, addr(9, 7946)));
    net.event(double, Event::Call(addr(1, 7946)));
    net.until(|net| net.superseded(1) && net.doubled(double) > 0);
    net.run(Duration::from_secs(30));
    for n in [0, 2, 3, double] {
        assert_eq!(net.state("n1", n), Some((2, State::Alive)), "{:#?}", net.views());
    }
    assert_eq!(
        net.state("n1", 1),
        Some((1, State::Down)),
        "it knows that it is out"
    );
    assert!(!net.superseded(double));
    assert!(
        !net.ever_down.contains(&("n1".to_owned(), 2)),
        "the older one talked the newer one down"
    );

    let before = net.packets;
    net.run(Duration::from_secs(60));
    assert!(
        net.packets - before < 2_000,
        "{} packets a minute: they shout at each other",
        net.packets - before
    );

    net.nodes[double].core = None;
    net.until(|net| {
        [0, 1, 2, 3]
            .iter()
            .all(|n| net.state("n1", *n) == Some((3, State::Alive)))
    });
    assert!(matches!(net.nodes[1].seen.last(), Some(Effect::Restored(3))));
}

#[test]
fn the_older_of_two_with_one_id_is_back_when_the_newer_leaves() {
    for others in [1, 3] {
        let mut net = Net::of(others);
        let older = net.start(member("twin", 1, 98, addr(8, 7946)));
        net.event(older, Event::Call(addr(1, 7946)));
        net.until(|net| net.all_see(usize::from(others) + 1));
        let newer = net.start(member("twin", 2, 99, addr(9, 7946)));
        net.event(newer, Event::Call(addr(1, 7946)));
        net.until(|net| net.superseded(older));
        net.event(newer, Event::Leave);
        net.nodes[newer].core = None;
        // It calls its seed all the while, as a shell does that knows nobody alive.
        for _ in 0..100 {
            net.event(older, Event::Call(addr(1, 7946)));
            net.run(Duration::from_millis(50));
        }
        assert_eq!(net.state("twin", 0), Some((3, State::Alive)));
        let seen = &net.nodes[older].seen;
        assert!(seen.iter().any(|effect| matches!(effect, Effect::Restored(3))));
    }
}

#[test]
fn two_alone_with_one_id_settle_it_between_them() {
    let mut net = Net::default();
    let older = net.start(member("n", 1, 1, addr(1, 1)));
    let newer = net.start(member("n", 2, 2, addr(2, 2)));
    net.run(Duration::from_secs(3)); // a double that lives on, not a packet that was on its way
    net.event(older, Event::Call(addr(2, 2)));
    net.until(|net| net.superseded(older) && net.doubled(newer) > 0);
    assert!(!net.superseded(newer));
}

#[test]
fn two_of_one_generation_do_not_both_stay() {
    let mut net = Net::of(3);
    let double = net.start(member("n1", 1, 99, addr(9, 7946)));
    net.event(double, Event::Call(addr(1, 7946)));
    net.until(|net| net.superseded(1));
    net.run(Duration::from_secs(20));
    assert!(!net.superseded(double));
    assert_eq!(net.nodes[0].members.len(), 3);
}

#[test]
fn a_clock_that_went_back_keeps_nobody_out() {
    let mut net = Net::of(3);
    net.nodes[1].core = None;
    net.until(|net| net.state("n1", 0) == Some((1, State::Down)));
    let again = net.start(member("n1", 0, 99, addr(2, 7946)));
    net.event(again, Event::Call(addr(1, 7946)));
    net.until(|net| {
        [0, 2, again]
            .iter()
            .all(|n| net.state("n1", *n) == Some((2, State::Alive)))
    });

    // Also when its former self is not yet known to be dead.
    net.nodes[again].core = None;
    let third = net.start(member("n1", 0, 100, addr(2, 7946)));
    net.event(third, Event::Call(addr(1, 7946)));
    net.until(|net| {
        [0, 2, third]
            .iter()
            .all(|n| net.state("n1", *n) == Some((3, State::Alive)))
    });
}

#[test]
fn hearsay_of_a_newer_life_silences_the_older_and_is_not_contradicted() {
    let mut net = Net::of(3);
    let newer = member("n1", 2, 99, addr(9, 7946));
    // As when n0 is asked to probe n1 just after it heard of the newer life.
    let header = foca::Header {
        src: net.nodes[0].id.clone(),
        src_incarnation: 0,
        dst: net.nodes[1].id.clone(),
        message: foca::Message::Gossip,
    };
    let update = foca::Member::alive(newer);
    let mut packet = vec![KIND_SWIM];
    packet.extend(postcard::to_stdvec(&header).unwrap());
    packet.extend(1_u16.to_be_bytes());
    packet.extend(postcard::to_stdvec(&update).unwrap());
    net.event(1, Event::Packet(&packet));
    assert!(net.superseded(1));
    net.run(Duration::from_secs(1));
    assert!(!net.ever_down.contains(&("n1".to_owned(), 2)));
}
