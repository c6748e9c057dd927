//! Gossip over real sockets.

use std::net::SocketAddr;

use longbow_node::{config::NodeConfig, gossip::MemberState, http::Readiness};
use longbow_types::Role;
use longbow_wire::internal::LatchRegister;
use tokio::{net::UdpSocket, time::timeout};

use crate::support::{PATIENCE, SECRET, alive, identity, is, node, settings, start, until};

fn tripped(epoch: u64) -> LatchRegister {
    LatchRegister {
        epoch,
        tripped: true,
        cause: "keeper-0: EIO".to_owned(),
    }
}

#[tokio::test]
async fn three_meet_one_dies_and_comes_back_elsewhere() {
    let a = node(&settings(), "a", 1).await;
    let mut joining = settings();
    joining.set("gossip.seeds", a.gossip.local_addr());
    let b = node(&joining, "b", 1).await;
    let c = node(&joining, "c", 1).await;
    for n in [&a, &b, &c] {
        until(&n.gossip, |members| alive(members) == 3).await;
    }
    let first = b.gossip.local_addr();

    // Dies without a word: its runtime goes, and with it its socket.
    let quiet = tokio::task::spawn_blocking({
        let joining = joining.clone();
        move || {
            let runtime = tokio::runtime::Runtime::new().unwrap();
            let d = runtime.block_on(async {
                let d = node(&joining, "d", 1).await;
                until(&d.gossip, |members| alive(members) == 4).await;
                d
            });
            runtime.shutdown_background();
            std::mem::drop(d);
        }
    });
    quiet.await.unwrap();
    until(&a.gossip, |members| is(members, "d", MemberState::Down)).await;
    until(&c.gossip, |members| is(members, "d", MemberState::Down)).await;

    let d = node(&joining, "d", 2).await;
    assert_ne!(d.gossip.local_addr(), first);
    for n in [&a, &b, &c, &d] {
        let addr = d.gossip.local_addr();
        until(&n.gossip, |members| {
            members
                .iter()
                .any(|m| m.node_id.as_str() == "d" && m.generation == 2 && m.gossip_addr == addr)
                && alive(members) == 4
        })
        .await;
    }

    // Leaves with a word: known at once, by all.
    d.shutdown.trigger();
    for n in [&a, &b, &c] {
        until(&n.gossip, |members| is(members, "d", MemberState::Down)).await;
    }
}

#[tokio::test]
async fn bound_to_one_address_and_advertised_as_another() {
    // Bound to all addresses of the machine, known to the others by one of them only.
    let mut hidden = settings();
    hidden
        .set("gossip.listen_addr", "0.0.0.0:0")
        .set("gossip.advertise_addr", "127.0.0.3");
    let rpc: SocketAddr = "127.0.0.4:3200".parse().unwrap();
    let a = start(&hidden, identity("a", Role::WalKeeper, 1), rpc).await;
    let advertised = a.gossip.member(&"a".parse().unwrap()).unwrap().gossip_addr;
    assert_eq!(advertised.ip().to_string(), "127.0.0.3");
    assert_eq!(a.gossip.local_addr().ip().to_string(), "0.0.0.0");

    let mut other = settings();
    other.set("gossip.listen_addr", "127.0.0.2:0").set(
        "gossip.seeds",
        format!("127.0.0.9:{}", a.gossip.local_addr().port()),
    );
    let b = node(&other, "b", 1).await;
    until(&b.gossip, |members| alive(members) == 2).await;
    let seen = b.gossip.member(&"a".parse().unwrap()).unwrap();
    assert_eq!((seen.gossip_addr, seen.rpc_addr), (advertised, rpc));

    // The advertised address is what they really talk over: a third that knows only b reaches a.
    let mut third = settings();
    third.set("gossip.seeds", b.gossip.local_addr());
    let c = node(&third, "c", 1).await;
    until(&c.gossip, |members| alive(members) == 3).await;
    until(&a.gossip, |members| alive(members) == 3).await;
}

#[tokio::test]
async fn strangers_are_not_heard() {
    let a = node(&settings(), "a", 1).await;
    let mut stranger = settings();
    stranger
        .set("gossip.seeds", a.gossip.local_addr())
        .set("cluster.secret", "fedcba9876543210");
    let wrong_secret = node(&stranger, "s", 1).await;
    let mut foreigner = settings();
    foreigner
        .set("gossip.seeds", a.gossip.local_addr())
        .set("cluster.id", "other");
    let wrong_cluster = node(&foreigner, "f", 1).await;

    // One of us joins after them; by then they had their chance, and have it on and on.
    let mut joining = settings();
    joining.set("gossip.seeds", a.gossip.local_addr());
    let b = node(&joining, "b", 1).await;
    until(&a.gossip, |members| alive(members) == 2).await;
    a.gossip.announce_latch(tripped(1));
    wait_for_latch(&b.gossip, 1).await;
    assert_eq!(a.gossip.members().len(), 2, "{:#?}", a.gossip.members());
    for n in [&wrong_secret, &wrong_cluster] {
        assert_eq!(n.gossip.members().len(), 1);
        assert_eq!(n.gossip.latch().borrow().epoch, 0);
    }
}

#[tokio::test]
async fn the_highest_of_many_latch_registers_at_once_is_not_lost() {
    let a = node(&settings(), "a", 1).await;
    // The shell does not run between these: this test has one thread and does not wait.
    for epoch in 1..=100 {
        a.gossip.announce_latch(tripped(epoch));
    }
    a.gossip.announce_latch(tripped(7));
    wait_for_latch(&a.gossip, 100).await;
}

async fn wait_for_latch(gossip: &longbow_node::gossip::Gossip, epoch: u64) {
    let mut latch = gossip.latch();
    let reached = timeout(PATIENCE, latch.wait_for(|register| register.epoch >= epoch)).await;
    assert!(
        reached.is_ok(),
        "the latch did not arrive at {}",
        gossip.node_id()
    );
}

#[tokio::test]
async fn the_latch_reaches_a_late_joiner_and_the_highest_epoch_wins() {
    let a = node(&settings(), "a", 1).await;
    a.gossip.announce_latch(tripped(3));
    wait_for_latch(&a.gossip, 3).await;
    let mut joining = settings();
    joining.set("gossip.seeds", a.gossip.local_addr());
    let late = node(&joining, "late", 1).await;
    wait_for_latch(&late.gossip, 3).await;
    assert_eq!(*late.gossip.latch().borrow(), tripped(3));

    late.gossip.announce_latch(tripped(2));
    late.gossip.announce_latch(LatchRegister {
        epoch: 4,
        ..Default::default()
    });
    wait_for_latch(&a.gossip, 4).await;
    assert!(!a.gossip.latch().borrow().tripped);
}

#[tokio::test]
async fn garbage_does_no_harm() {
    let a = node(&settings(), "a", 1).await;
    let noise = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let target = a.gossip.local_addr();
    for n in 0..500_usize {
        let packet: Vec<u8> = (0..n * 7 % 3000).map(|_| rand::random()).collect();
        noise.send_to(&packet, target).await.unwrap();
    }
    noise.send_to(&[], target).await.unwrap();
    noise.send_to(b"LBG1", target).await.unwrap();
    let mut joining = settings();
    joining.set("gossip.seeds", target);
    let b = node(&joining, "b", 1).await;
    until(&a.gossip, |members| alive(members) == 2).await;
    until(&b.gossip, |members| alive(members) == 2).await;
}

#[tokio::test]
async fn a_second_live_node_with_the_same_id_is_told_and_the_older_one_is_out() {
    let a = node(&settings(), "a", 1).await;
    let mut joining = settings();
    joining.set("gossip.seeds", a.gossip.local_addr());
    let older = node(&joining, "twin", 1).await;
    let readiness = Readiness::new();
    readiness.set(true, "");
    older.gossip.bar_while_superseded(readiness.clone());
    until(&a.gossip, |members| alive(members) == 2).await;
    let newer = node(&joining, "twin", 2).await;
    let mut superseded = older.gossip.superseded();
    timeout(PATIENCE, superseded.wait_for(Option::is_some))
        .await
        .expect("the older one learns it")
        .unwrap();
    until(&older.gossip, |members| is(members, "twin", MemberState::Down)).await;
    until(&a.gossip, |members| {
        members
            .iter()
            .any(|m| m.generation == 2 && m.state == MemberState::Alive)
            && members.len() == 2
    })
    .await;
    assert!(newer.gossip.superseded().borrow().is_none());
    let barred = async {
        while readiness.is_ready() {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, barred).await.expect("it gets no traffic");
    readiness.set(true, "caught up");
    let (ready, why) = readiness.get();
    assert!(!ready && why.contains("another live node is twin"), "{why}");

    // It waits for the other's end rather than ending itself.
    newer.shutdown.trigger();
    timeout(PATIENCE, readiness.ready()).await.expect("it is back");
    until(&a.gossip, |members| {
        members
            .iter()
            .any(|m| m.generation == 3 && m.state == MemberState::Alive)
    })
    .await;
    assert_eq!(readiness.get(), (true, "caught up".to_owned()));
}

#[tokio::test]
async fn seeds_may_be_names_and_may_include_the_node_itself() {
    let a = node(&settings(), "a", 1).await;
    let mut joining = settings();
    let port = a.gossip.local_addr().port();
    joining.set("gossip.seeds", format!("no-such-host.invalid, localhost:{port}"));
    let b = node(&joining, "b", 1).await;
    until(&b.gossip, |members| alive(members) == 2).await;

    let taken = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let free = taken.local_addr().unwrap();
    drop(taken);
    let mut own = settings();
    own.set("gossip.listen_addr", free).set(
        "gossip.seeds",
        format!("{free}, localhost:{port}, 127.0.0.1:{}", free.port()),
    );
    let c = node(&own, "c", 1).await;
    until(&c.gossip, |members| alive(members) == 3).await;
}

#[tokio::test]
async fn a_port_that_is_taken_is_an_error_that_names_the_setting() {
    let a = node(&settings(), "a", 1).await;
    let mut same = settings();
    same.set("gossip.listen_addr", a.gossip.local_addr());
    let config = NodeConfig::from_settings(&same, Role::Shard).unwrap();
    let rpc = "127.0.0.1:1".parse().unwrap();
    let started = longbow_node::gossip::Gossip::start(
        &config,
        identity("b", Role::Shard, 1),
        rpc,
        None,
        longbow_node::shutdown::Shutdown::new(),
    );
    let error = started.await.unwrap_err();
    assert_eq!(error.field.as_deref(), Some("gossip.listen_addr"));
    assert!(!error.message.contains(SECRET));
}
