//! Nothing acknowledged is lost, whoever crashes.

use std::time::Duration;

use longbow_types::Role;
use longbow_wire::internal::{GetKeeperStatusRequest, TailEntry, WatchCatalogueRequest};

use crate::{
    cluster::{Keepers, Node, create, dataset, deadline, open_producer, until, write},
    tail,
};

async fn log_of(node: &Node, keepers: &Keepers, at: usize, to: u64) -> Vec<TailEntry> {
    let mut stream = tail::open(node, keepers, at, 1).await;
    tail::read_to(&mut stream, 1, to).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_keeper_alone_comes_back_with_everything() {
    let mut keepers = Keepers::started(1).await;
    let id = {
        let router = Node::join(&keepers, Role::Router, "r1").await;
        dataset(&router, "d").await
    };
    let mut acknowledged = Vec::new();
    let mut expected = Vec::new();
    for round in 0..4u64 {
        let router = Node::join(&keepers, Role::Router, "r1").await;
        let shard = Node::join(&keepers, Role::Shard, "s1").await;
        let producer = router.open_producer().await;
        for sequence in 1..=25 {
            let body = format!("round {round} row {sequence}").into_bytes();
            let answer = router
                .append(&write(id, producer, sequence, &body), &body)
                .await
                .unwrap();
            assert_eq!(answer.verdict.unwrap().code, "");
            acknowledged.push((answer.index, body));
        }
        let last = acknowledged.last().unwrap().0;
        let log = log_of(&shard, &keepers, 0, last).await;
        for (index, body) in &acknowledged {
            assert_eq!(log[*index as usize - 1].body[..], body[..]);
        }
        assert_eq!(log[..expected.len()], expected[..], "the past has changed");
        expected = log;

        // A retry over the restart gets the first answer.
        let retried = acknowledged[acknowledged.len() - 1].clone();
        drop((router, shard));
        if round % 2 == 0 {
            keepers.kill(0).await;
        } else {
            let keeper = keepers.running[0].take().unwrap();
            drop(keeper);
        }
        until("the files to be free", || async {
            let started = longbow_wal_keeper::start(keepers.config(0), Default::default())
                .await
                .ok()?;
            Some(started)
        })
        .await
        .kill()
        .await;
        keepers.start(0).await;
        keepers.ready().await;
        let router = Node::join(&keepers, Role::Router, "r1").await;
        let again = router
            .append(&write(id, producer, 25, &retried.1), &retried.1)
            .await
            .unwrap();
        assert_eq!(again.index, retried.0);
        assert!(router.client.read_index(deadline()).await.unwrap().index >= last);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_keepers_survive_their_leader_and_a_restart_of_all() {
    let mut keepers = Keepers::started(3).await;
    let router = Node::join(&keepers, Role::Router, "r1").await;
    let shard = Node::join(&keepers, Role::Shard, "s1").await;
    let id = dataset(&router, "d").await;
    let producer = router.open_producer().await;
    let mut acknowledged = Vec::new();
    for sequence in 1..=60 {
        if sequence % 20 == 0 {
            // The client finds the next leader by itself, and repeats without writing twice.
            let leader = keepers.leader(&router).await;
            keepers.kill(leader).await;
            let body = format!("row {sequence}").into_bytes();
            let answer = router
                .append(&write(id, producer, sequence, &body), &body)
                .await
                .unwrap();
            acknowledged.push((answer.index, body));
            keepers.start(leader).await;
            continue;
        }
        let body = format!("row {sequence}").into_bytes();
        let answer = router
            .append(&write(id, producer, sequence, &body), &body)
            .await
            .unwrap();
        assert_eq!(answer.verdict.unwrap().code, "");
        acknowledged.push((answer.index, body));
    }
    for at in 0..3 {
        keepers.kill(at).await;
    }
    for at in 0..3 {
        keepers.start(at).await;
    }
    keepers.ready().await;
    drop((router, shard));
    let router = Node::join(&keepers, Role::Router, "r2").await;
    let shard = Node::join(&keepers, Role::Shard, "s1").await;
    let read_index = router.client.read_index(deadline()).await.unwrap().index;
    let (last, _) = *acknowledged.last().as_ref().unwrap();
    assert!(read_index >= *last);
    let mut logs = Vec::new();
    for at in 0..3 {
        logs.push(log_of(&shard, &keepers, at, read_index).await);
    }
    assert!(
        logs.iter().all(|log| *log == logs[0]),
        "three keepers, three logs"
    );
    for (index, body) in &acknowledged {
        assert_eq!(logs[0][*index as usize - 1].body[..], body[..]);
    }
    // Each row once, however often it was asked for.
    for sequence in [1u64, 20, 60] {
        let (index, body) = &acknowledged[sequence as usize - 1];
        let again = router
            .append(&write(id, producer, sequence, body), body)
            .await
            .unwrap();
        assert_eq!(again.index, *index);
    }
    // All know the same catalogue.
    for at in 0..3 {
        let mut views = router
            .keeper(keepers.addr(at))
            .watch_catalogue(WatchCatalogueRequest {})
            .await
            .unwrap()
            .into_inner();
        let view = views.message().await.unwrap().unwrap().catalogue.unwrap();
        assert_eq!(view.datasets[0].dataset_id, id);
        assert_eq!(view.shards, ["s1"]);
    }
}

async fn term_of(node: &Node, keepers: &Keepers, at: usize) -> u64 {
    let mut keeper = node.keeper(keepers.addr(at));
    let status = keeper.get_keeper_status(GetKeeperStatusRequest {}).await;
    status.unwrap().into_inner().term
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_stops_hands_over() {
    let shutdowns: Vec<_> = (0..3).map(|_| longbow_node::shutdown::Shutdown::new()).collect();
    let mut keepers = Keepers::new(3);
    // Long, so that nobody else begins an election meanwhile.
    keepers.change_config = |config| config.election_timeout = Duration::from_secs(2);
    for (at, shutdown) in shutdowns.iter().enumerate() {
        keepers.start_with(at, shutdown.clone()).await;
    }
    keepers.ready().await;
    let router = Node::join(&keepers, Role::Router, "r1").await;
    router.append(&open_producer(), &[]).await.unwrap();
    let leader = keepers.leader(&router).await;
    let term = term_of(&router, &keepers, leader).await;
    let keeper = keepers.running[leader].take().unwrap();
    shutdowns[leader].trigger();
    keeper.wait().await.unwrap();
    let answer = router.append(&open_producer(), &[]).await.unwrap();
    assert_eq!(answer.verdict.unwrap().code, "");
    let next = keepers.leader(&router).await;
    assert_ne!(next, leader);
    // The two that are left had nothing to say to each other before; now each has one message for the other. Were one lost,
    // the next leader would be that of a second election.
    assert_eq!(
        term_of(&router, &keepers, next).await,
        term + 1,
        "leadership was not handed over"
    );
    // Closed cleanly: nothing to write anew on the next start.
    keepers.start(leader).await;
    keepers.ready().await;
    let refused = router.append(&create("early"), &[]).await.unwrap();
    assert_eq!(refused.verdict.unwrap().code, "NOT_ENOUGH_SHARDS");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_stops_stays_until_its_successor_has_its_vote() {
    let shutdowns: Vec<_> = (0..3).map(|_| longbow_node::shutdown::Shutdown::new()).collect();
    let mut keepers = Keepers::new(3);
    // Long, so that nobody begins an election by itself, nor soon gives up leading because others are silent.
    keepers.change_config = |config| config.election_timeout = Duration::from_secs(3);
    for (at, shutdown) in shutdowns.iter().enumerate() {
        keepers.start_with(at, shutdown.clone()).await;
    }
    keepers.ready().await;
    let router = Node::join(&keepers, Role::Router, "r1").await;
    let leader = keepers.leader(&router).await;
    let (down, next) = ((leader + 1) % 3, (leader + 2) % 3);
    keepers.kill(down).await;
    // Now the one that is left has more than the one that is down: leadership is offered to it. A majority of the three it
    // is only together with the one that goes.
    router.append(&open_producer(), &[]).await.unwrap();
    let keeper = keepers.running[leader].take().unwrap();
    shutdowns[leader].trigger();
    let leads = until("the next one to lead", || async {
        let mut keeper = router.keeper(keepers.addr(next));
        let status = keeper.get_keeper_status(GetKeeperStatusRequest {}).await.ok()?;
        (status.into_inner().leader == format!("k{next}")).then_some(())
    });
    let (ended, ()) = tokio::join!(keeper.wait(), leads);
    ended.unwrap();
}
