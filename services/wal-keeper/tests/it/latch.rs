//! A disk that fails: nothing false is acknowledged, the latch trips when it must, reads go on.

use std::{
    io,
    sync::{Arc, Condvar, Mutex},
};

use longbow_node::shutdown::Shutdown;
use longbow_types::{Error, ErrorCode, Role};
use longbow_wal::{
    Disk, DiskFile,
    sim::{Faults, SimDisk},
};
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
            .reset_keeper_latch(ResetKeeperLatchRequest {
                test_only: true,
                ..ResetKeeperLatchRequest::default()
            })
            .await
            .unwrap();
        assert!(tested.into_inner().latch.unwrap().tripped);
        let error = router.append(&open_producer(), &[]).await.unwrap_err();
        assert_eq!(error.code, ErrorCode::LatchTripped);
    }
}

/// A disk whose syncs hang while the gate is shut.
struct Hanging(SimDisk, Arc<Gate>);
struct HangingFile(Arc<dyn DiskFile>, Arc<Gate>);

#[derive(Default)]
struct Gate(Mutex<bool>, Condvar);

impl Gate {
    fn shut(&self, shut: bool) {
        *self.0.lock().unwrap() = shut;
        self.1.notify_all();
    }
}

impl Disk for Hanging {
    fn list(&self) -> io::Result<Vec<String>> {
        self.0.list()
    }

    fn create(&self, name: &str, len: u64) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(HangingFile(self.0.create(name, len)?, self.1.clone())))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(HangingFile(self.0.open(name)?, self.1.clone())))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.0.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.0.remove(name)
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.0.sync_dir()
    }
}

impl DiskFile for HangingFile {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.0.read_at(buf, offset)
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<usize> {
        self.0.write_at(buf, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        let shut = self.1.0.lock().unwrap();
        drop(self.1.1.wait_while(shut, |shut| *shut).unwrap());
        self.0.sync_data()
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.0.truncate(len)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_whose_disk_hangs_gives_up_leading() {
    let gates: Vec<Arc<Gate>> = (0..3).map(|_| Arc::default()).collect();
    let mut keepers = Keepers::new(3);
    for (at, gate) in gates.iter().enumerate() {
        keepers.disks[at] = Some(Arc::new(Hanging(SimDisk::new(), gate.clone())));
        keepers.start(at).await;
    }
    keepers.ready().await;
    let router = Node::join(&keepers, Role::Router, "r1").await;
    router.append(&open_producer(), &[]).await.unwrap();
    let leader = keepers.leader(&router).await;
    gates[leader].shut(true);
    router.append(&open_producer(), &[]).await.unwrap();
    let next = (leader + 1) % 3;
    until("another leader", || async {
        let status = router
            .keeper(keepers.addr(next))
            .get_keeper_status(GetKeeperStatusRequest {})
            .await
            .ok()?;
        let leads = status.into_inner().leader;
        (!leads.is_empty() && leads != format!("k{leader}")).then_some(())
    })
    .await;
    router.append(&open_producer(), &[]).await.unwrap();
    gates[leader].shut(false);
}
