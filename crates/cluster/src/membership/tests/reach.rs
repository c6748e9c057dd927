//! Who finds whom, what reaches whom, and how loud it gets.

use super::net::*;
use crate::membership::*;

#[test]
fn nodes_that_call_one_find_all() {
    let net = Net::of(8);
    let mut sorted = net.nodes[3].members.clone();
    sorted.sort_by(|(a, _), (b, _)| a.cmp_by_name(b));
    assert_eq!(sorted, net.nodes[3].members);
    assert_eq!(net.nodes[3].members[0].0.version(), "1.2.3");
    assert!(net.rejected().is_empty(), "{:?}", net.rejected());
}

#[test]
fn a_node_declared_down_by_mistake_comes_back() {
    let mut net = Net::of(4);
    net.cut.insert(2);
    net.until(|net| {
        [0, 1, 3]
            .iter()
            .all(|n| net.state("n2", *n) == Some((1, State::Down)))
    });
    net.until(|net| {
        net.nodes[2]
            .members
            .iter()
            .filter(|(_, state)| *state == State::Down)
            .count()
            == 3
    });
    net.cut.clear();
    net.until(|net| net.all_see(4));
    assert_eq!((0..4).map(|n| net.doubled(n)).sum::<usize>(), 0);
}

#[test]
fn halves_that_gave_each_other_up_find_together_without_seeds() {
    let mut net = Net::of(6);
    net.cut.extend([0, 1, 2]);
    net.until(|net| {
        (0..6).all(|n| {
            net.nodes[n]
                .members
                .iter()
                .filter(|(_, s)| *s == State::Down)
                .count()
                == 3
        })
    });
    net.run(Duration::from_secs(120));
    net.cut.clear();
    net.until(|net| net.all_see(6));
}

#[test]
fn two_that_lost_each_other_find_together_without_seeds() {
    let mut net = Net::of(2);
    net.cut.insert(0);
    net.until(|net| {
        net.state("n1", 0) == Some((1, State::Down)) && net.state("n0", 1) == Some((1, State::Down))
    });
    net.run(Duration::from_secs(60)); // what was on its way is lost
    net.cut.clear();
    net.until(|net| net.all_see(2));
}

#[test]
fn two_that_gave_each_other_up_do_not_shout() {
    let mut net = Net::of(2);
    net.cut.insert(0);
    net.until(|net| {
        net.state("n1", 0) == Some((1, State::Down)) && net.state("n0", 1) == Some((1, State::Down))
    });
    net.cut.clear();
    // Each tells the other that it is down, and neither may answer that for ever.
    let before = net.packets;
    net.event(0, Event::Call(addr(2, 7946)));
    net.until(|net| net.all_see(2));
    assert!(net.packets - before < 40, "{} packets", net.packets - before);
}

#[test]
fn the_latch_reaches_all_and_those_who_come_late() {
    let mut net = Net::of(5);
    net.event(3, Event::Latch(tripped(1)));
    net.until(|net| net.nodes.iter().all(|node| node.latch == tripped(1)));
    net.run(Duration::from_secs(120)); // long after the last transmission
    let late = net.start(member("late", 1, 50, addr(50, 7946)));
    let came = net.now;
    net.event(late, Event::Call(addr(1, 7946)));
    net.until(|net| net.nodes[late].latch == tripped(1));
    assert!(net.now - came < Duration::from_secs(1), "{:?}", net.now - came);

    net.event(
        late,
        Event::Latch(LatchRegister {
            epoch: 2,
            ..Default::default()
        }),
    );
    net.event(0, Event::Latch(tripped(1))); // stale: ignored
    net.until(|net| {
        net.nodes
            .iter()
            .all(|node| node.latch.epoch == 2 && !node.latch.tripped)
    });
    net.run(Duration::from_secs(60));
    assert!(net.nodes.iter().all(|node| node.latch.epoch == 2));
}

#[test]
fn a_long_cause_is_cut_and_travels() {
    let mut net = Net::of(3);
    let register = LatchRegister {
        epoch: 1,
        tripped: true,
        cause: "é".repeat(5_000),
    };
    net.event(0, Event::Latch(register));
    net.until(|net| net.nodes.iter().all(|node| node.latch.tripped));
    assert_eq!(net.nodes[2].latch.cause, "é".repeat(200));
}

#[test]
fn an_idle_cluster_is_quiet() {
    let mut net = Net::of(4);
    net.run(Duration::from_secs(60));
    let (before, start) = (net.packets, net.now);
    net.run(Duration::from_secs(60));
    let each = (net.packets - before) / 4;
    assert!(
        each < 180,
        "{each} packets a minute from each node in {:?}",
        net.now - start
    );
}
