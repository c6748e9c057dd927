//! A disk that fails: nothing false is acknowledged, the latch trips when it must, reads go on.

use std::sync::Arc;

use longbow_node::shutdown::Shutdown;
use longbow_types::{Error, ErrorCode, Role};
use longbow_wal::sim::{Faults, SimDisk};
use longbow_wire::{
    convert::status::from_status,
    internal::{GetKeeperStatusRequest, ResetKeeperLatchRequest, WatchCatalogueRequest},
};

use crate::{
    cluster::{Keepers, Node, PATIENCE, dataset, open_producer, until, write},
    tail,
};

fn failing_sync() -> Faults {
    Faults {
        sync_error_after: Some(0),
        ..Faults::default()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_only_keepers_failed_sync_trips_the_latch() {
    let disk = SimDisk::new();
    let mut keepers = Keepers::new(1);
    keepers.disks[0] = Some(Arc::new(disk.clone()));
    keepers.start(0).await;
    keepers.ready().await;
    let router = Node::join(&keepers, Role::Router, "r1").await;
    let shard = Node::join(&keepers, Role::Shard, "s1").await;
    let id = dataset(&router, "d").await;
    let last = router
        .append(&write(id, 0, 0, b"kept"), b"kept")
        .await
        .unwrap()
        .index;
    let mut views = router
        .keeper(keepers.addr(0))
        .watch_catalogue(WatchCatalogueRequest {})
        .await
        .unwrap()
        .into_inner();
    assert!(!views.message().await.unwrap().unwrap().latch.unwrap().tripped);

    disk.set_faults(failing_sync());
    let error = router
        .append(&write(id, 0, 0, b"lost"), b"lost")
        .await
        .unwrap_err();
    assert!(error.message.contains("may"), "the outcome is unknown: {error}");
    assert_eq!(disk.counters().faults, 1);
    let error = router
        .append(&write(id, 0, 0, b"more"), b"more")
        .await
        .unwrap_err();
    assert_eq!(error.code, ErrorCode::LatchTripped);
    assert!(
        error.message.contains("k0") && error.message.contains("fdatasync"),
        "{error}"
    );

    // Everybody hears of it.
    let tripped = async {
        loop {
            let view = views.message().await.unwrap().unwrap();
            if view.latch.is_some_and(|latch| latch.tripped) {
                return;
            }
        }
    };
    tokio::time::timeout(PATIENCE, tripped)
        .await
        .expect("the watch tells");
    let mut heard = router.gossip.latch();
    let heard = tokio::time::timeout(PATIENCE, heard.wait_for(|latch| latch.tripped)).await;
    assert_eq!(heard.expect("gossip tells").unwrap().epoch, 1);
    // What is committed is served on; the lost entry is not.
    let mut stream = tail::open(&shard, &keepers, 0, 1).await;
    let log = tail::read_to(&mut stream, 1, last).await;
    assert_eq!(log.last().unwrap().body[..], b"kept"[..]);
    let status = router
        .keeper(keepers.addr(0))
        .get_keeper_status(GetKeeperStatusRequest {})
        .await
        .unwrap();
    assert!(status.get_ref().fatal.contains("fdatasync"));
    assert_eq!(status.get_ref().applied_index, last);
    let error = router
        .keeper(keepers.addr(0))
        .reset_keeper_latch(ResetKeeperLatchRequest::default())
        .await
        .unwrap_err();
    assert_eq!(from_status(&error).code, ErrorCode::LatchTripped);

    // After the grace the role ends with an error.
    let keeper = keepers.running[0].take().unwrap();
    let ended = tokio::time::timeout(PATIENCE, keeper.wait())
        .await
        .expect("the role ends");
    assert!(ended.unwrap_err().to_string().contains("fdatasync"));

    // Back on a disk that works: still tripped, until somebody resets it.
    keepers.disks[0] = Some(Arc::new(disk.crash(&mut || false)));
    keepers.start(0).await;
    keepers.ready().await;
    let error = router.append(&open_producer(), &[]).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::LatchTripped);
    let reset = router
        .keeper(keepers.addr(0))
        .reset_keeper_latch(ResetKeeperLatchRequest::default())
        .await
        .unwrap();
    let register = reset.into_inner().latch.unwrap();
    assert_eq!((register.epoch, register.tripped), (2, false));
    let answer = router.append(&write(id, 0, 0, b"again"), b"again").await.unwrap();
    assert_eq!(answer.verdict.unwrap().code, "");
    let mut stream = tail::open(&shard, &keepers, 0, 1).await;
    let bodies: Vec<_> = tail::read_to(&mut stream, 1, answer.index).await;
    let bodies: Vec<&[u8]> = bodies
        .iter()
        .map(|entry| &entry.body[..])
        .filter(|body| !body.is_empty())
        .collect();
    assert_eq!(bodies, [&b"kept"[..], b"again"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_failed_disk_of_three_stops_nobody_two_trip_the_latch() {
    let disks: Vec<SimDisk> = (0..3).map(|_| SimDisk::new()).collect();
    let mut keepers = Keepers::new(3);
    for (at, disk) in disks.iter().enumerate() {
        keepers.disks[at] = Some(Arc::new(disk.clone()));
        keepers.start(at).await;
    }
    keepers.ready().await;
    let router = Node::join(&keepers, Role::Router, "r1").await;
    let id = dataset(&router, "d").await;
    let producer = router.open_producer().await;
    let leader = keepers.leader(&router).await;
    disks[leader].set_faults(failing_sync());
    for sequence in 1..=20 {
        let answer = router
            .append(&write(id, producer, sequence, b"row"), b"row")
            .await
            .unwrap();
        assert_eq!(answer.verdict.unwrap().code, "", "a client sees nothing of it");
    }
    assert_eq!(disks[leader].counters().faults, 1);
    assert!(!router.gossip.latch().borrow().tripped);

    let next = keepers.leader(&router).await;
    assert_ne!(next, leader);
    disks[next].set_faults(failing_sync());
    let error = until("the latch", || async {
        let attempt = router.client.append(
            prost::Message::encode_to_vec(&write(id, producer, 21, b"row")).into(),
            b"row"[..].into(),
            Some(std::time::Instant::now() + std::time::Duration::from_secs(1)),
        );
        attempt
            .await
            .err()
            .filter(|error| error.code == ErrorCode::LatchTripped)
    })
    .await;
    assert!(error.message.contains(&format!("k{leader}")), "{error}");
    assert!(error.message.contains(&format!("k{next}")), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sync_that_fails_at_the_end_or_at_the_start_trips_it_too() {
    for at_the_end in [true, false] {
        let disk = SimDisk::new();
        let mut keepers = Keepers::new(1);
        keepers.disks[0] = Some(Arc::new(disk.clone()));
        let shutdown = Shutdown::new();
        keepers.start_with(0, shutdown.clone()).await;
        keepers.ready().await;
        if at_the_end {
            disk.set_faults(failing_sync());
            shutdown.trigger();
            let error = keepers.running[0].take().unwrap().wait().await.unwrap_err();
            let error = error.downcast::<Error>().unwrap();
            assert_eq!(error.code, ErrorCode::StorageFailed, "{error}");
        } else {
            keepers.kill(0).await;
            disk.set_faults(failing_sync());
            let failed = longbow_wal_keeper::start(keepers.config(0), Shutdown::new()).await;
            let error = failed.err().expect("a sync fails").downcast::<Error>().unwrap();
            assert_eq!(error.code, ErrorCode::StorageFailed, "{error}");
        }
        assert_eq!(disk.counters().faults, 1);
        keepers.disks[0] = Some(Arc::new(disk.crash(&mut || false)));
        keepers.start(0).await;
        keepers.ready().await;
        let router = Node::join(&keepers, Role::Router, "r1").await;
        let error = router.append(&open_producer(), &[]).await.unwrap_err();
        assert_eq!(error.code, ErrorCode::LatchTripped);
        // A test of the disk alone leaves it as it is.
        let tested = router
            .keeper(keepers.addr(0))
            .reset_keeper_latch(ResetKeeperLatchRequest { test_only: true })
            .await
            .unwrap();
        assert!(tested.into_inner().latch.unwrap().tripped);
        let error = router.append(&open_producer(), &[]).await.unwrap_err();
        assert_eq!(error.code, ErrorCode::LatchTripped);
    }
}
