//! The log is cut below what shards have made durable, a keeper that lacks what was cut gets a snapshot, and a log that is
//! too long refuses rows.

use longbow_cluster::catalogue::Catalogue;
use longbow_node::shutdown::Shutdown;
use longbow_types::{ErrorCode, Role};
use longbow_wire::{
    convert::status::from_status,
    internal::{
        DurableReplica, GetCatalogueRequest, GetKeeperStatusResponse, KeeperChange, ReportDurableRequest,
        TailRequest, WriteKind, entry_header::Command,
    },
};

use crate::{
    change::{add, ask, log_of, remove, status},
    cluster::{Keepers, Node, create, dataset, register, until, write},
};

/// The shard tells every keeper that both partitions are durable up to an index.
async fn report(shard: &Node, keepers: &Keepers, at: &[usize], dataset_id: u64, index: u64) {
    report_of(shard, keepers, at, dataset_id, &[0, 1], index).await;
}

async fn report_of(
    shard: &Node,
    keepers: &Keepers,
    at: &[usize],
    dataset_id: u64,
    partitions: &[u32],
    index: u64,
) {
    for &at in at {
        let replica = |&partition: &u32| DurableReplica {
            dataset_id,
            partition,
            index,
        };
        let replicas = partitions.iter().map(replica).collect();
        let log_id = catalogue(shard, keepers, at).await.log_id();
        let report = ReportDurableRequest {
            replicas,
            log_id,
            incarnation: 0,
            credit: None,
        };
        let mut keeper = shard.keeper(keepers.addr(at));
        keeper.report_durable(report).await.unwrap();
    }
}

/// What a shard would go on from.
async fn catalogue(shard: &Node, keepers: &Keepers, at: usize) -> Catalogue {
    let mut keeper = shard.keeper(keepers.addr(at));
    let told = keeper.get_catalogue(GetCatalogueRequest {}).await.unwrap();
    Catalogue::from_proto(&told.into_inner().catalogue.unwrap()).unwrap()
}

/// Appends rows of 20 kB: a segment of the tests holds a dozen.
async fn fill(router: &Node, id: u64, producer: u64, rows: std::ops::Range<u64>) -> u64 {
    let mut last = 0;
    for sequence in rows {
        let body = vec![sequence as u8; 20_000];
        let answer = router
            .append(&write(id, producer, sequence, &body), &body)
            .await
            .unwrap();
        assert_eq!(answer.verdict.unwrap().code, "");
        last = answer.index;
    }
    last
}

async fn first_index(node: &Node, keepers: &Keepers, at: usize) -> u64 {
    status(node, keepers, at).await.unwrap().first_index
}

async fn caught_up(node: &Node, keepers: &Keepers, at: usize, index: u64) -> GetKeeperStatusResponse {
    until("the state to arrive", || async {
        status(node, keepers, at)
            .await
            .filter(|status| status.applied_index >= index)
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_keeper_that_lacks_what_was_cut_gets_a_snapshot() {
    let mut keepers = Keepers::new(3);
    // What is cut from the files is not in memory either.
    keepers.change_config = |config| config.cache_bytes = 100_000;
    for at in 0..3 {
        keepers.start(at).await;
    }
    keepers.ready().await;
    let router = Node::join(&keepers, Role::Router, "r1").await;
    let shard = Node::join(&keepers, Role::Shard, "s1").await;
    let id = dataset(&router, "d").await;
    let producer = router.open_producer().await;
    let leader = keepers.leader(&router).await;
    let (behind, wiped) = ((leader + 1) % 3, (leader + 2) % 3);
    keepers.kill(behind).await;
    let last = fill(&router, id, producer, 1..60).await;
    for at in [leader, wiped] {
        until("a checkpoint of all that", || async {
            let status = status(&router, &keepers, at).await?;
            (status.checkpointed_index >= last).then_some(())
        })
        .await;
    }
    // Half of what is needed, and twice: what came of the first is with the disk when the second is answered. The disk
    // cuts before it takes the next entry.
    for _ in 0..2 {
        report_of(&shard, &keepers, &[leader, wiped], id, &[0], last).await;
    }
    router.append(&write(id, 0, 0, b"x"), b"x").await.unwrap();
    for at in [leader, wiped] {
        assert_eq!(
            first_index(&router, &keepers, at).await,
            1,
            "nobody vouches for the other partition"
        );
    }
    report(&shard, &keepers, &[leader, wiped], id, last).await;
    for at in [leader, wiped] {
        until("the log to be cut", || async {
            (first_index(&router, &keepers, at).await > 20).then_some(())
        })
        .await;
    }
    // What was cut is refused, so that a shard asks another keeper.
    let mut gone = shard
        .keeper(keepers.addr(leader))
        .tail(TailRequest {
            from_index: 1,
            ..Default::default()
        })
        .await
        .unwrap()
        .into_inner();
    let error = from_status(&gone.message().await.expect_err("it is gone"));
    assert_eq!(error.code, ErrorCode::LogTruncated, "{error}");
    // Or goes on from what a keeper knows: as of now, and with what was answered.
    let known = catalogue(&shard, &keepers, leader).await;
    assert!(known.applied_index() >= last);
    assert_eq!(known.answer(producer, 59).unwrap().index, last);

    // The one that was away lacks entries that nobody has any more.
    keepers.start(behind).await;
    let installed = caught_up(&router, &keepers, behind, last).await.first_index;
    assert!(installed > 20, "the log begins behind a snapshot, at {installed}");

    // Also one whose disk is new.
    keepers.kill(wiped).await;
    keepers.wipe(wiped);
    remove(&router, &keepers, wiped).await;
    keepers.start(wiped).await;
    add(&router, &keepers, wiped).await;
    caught_up(&router, &keepers, wiped, last).await;
    ask(&router, &keepers, KeeperChange::Promote, wiped, 0)
        .await
        .unwrap();

    // Both go on from there, over a restart, and know what was answered before.
    let last = fill(&router, id, producer, 60..70).await;
    for at in [behind, wiped] {
        keepers.kill(at).await;
        keepers.start(at).await;
    }
    keepers.kill(leader).await;
    let again = vec![69u8; 20_000];
    let answer = router
        .append(&write(id, producer, 69, &again), &again)
        .await
        .unwrap();
    assert_eq!(answer.index, last, "the first answer");
    let last = fill(&router, id, producer, 70..72).await;
    let from = installed.max(first_index(&router, &keepers, wiped).await);
    let log = log_of(&shard, &keepers, behind, from, last).await;
    assert_eq!(log, log_of(&shard, &keepers, wiped, from, last).await);
    keepers.start(leader).await;
    assert_eq!(log, log_of(&shard, &keepers, leader, from, last).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_is_too_long_refuses_rows_until_it_may_be_cut() {
    let mut keepers = Keepers::new(1);
    keepers.change_config = |config| config.log_bytes_max = 1 << 20;
    keepers.start(0).await;
    keepers.ready().await;
    let router = Node::join(&keepers, Role::Router, "r1").await;
    let shard = Node::join(&keepers, Role::Shard, "s1").await;
    let id = dataset(&router, "d").await;
    let body = vec![1; 20_000];
    let (mut last, mut refused) = (0, None);
    // Four times what fits.
    for _ in 0..200 {
        match router.append(&write(id, 0, 0, &body), &body).await {
            Ok(answer) => last = answer.index,
            Err(error) => {
                refused = Some(error);
                break;
            }
        }
    }
    let error = refused.expect("a log beyond its limit is refused");
    assert_eq!(error.code, ErrorCode::LogFull, "{error}");
    assert!(last > 20, "refused at entry {last}");
    let error = router.append(&create("e"), &[]).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::LogFull);
    // What frees room goes on: deletes, and what shards and clients need to go on.
    let mut delete = write(id, 0, 0, b"ids");
    if let Some(Command::Write(write)) = &mut delete.command {
        write.kind = WriteKind::Delete as i32;
    }
    router.append(&delete, b"ids").await.unwrap();
    router.append(&register("s2"), &[]).await.unwrap();

    // Of another log the same indexes mean something else.
    let told = ReportDurableRequest {
        replicas: Vec::new(),
        log_id: catalogue(&shard, &keepers, 0).await.log_id() ^ 1,
        incarnation: 0,
        credit: None,
    };
    let refused = shard.keeper(keepers.addr(0)).report_durable(told).await;
    let error = from_status(&refused.unwrap_err());
    assert_eq!(
        (error.code, error.field.as_deref()),
        (ErrorCode::WrongCluster, Some("log_id"))
    );

    report(&shard, &keepers, &[0], id, last).await;
    until("rows to fit again", || async {
        router.append(&write(id, 0, 0, &body), &body).await.ok()
    })
    .await;
    assert!(first_index(&router, &keepers, 0).await > 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_checkpoint_is_made_again_from_the_log_or_by_the_others() {
    let mut keepers = Keepers::started(3).await;
    let router = Node::join(&keepers, Role::Router, "r1").await;
    let shard = Node::join(&keepers, Role::Shard, "s1").await;
    let id = dataset(&router, "d").await;
    let producer = router.open_producer().await;
    let last = fill(&router, id, producer, 1..60).await;
    let leader = keepers.leader(&router).await;
    let hurt = (leader + 1) % 3;
    until("a checkpoint", || async {
        let status = status(&router, &keepers, hurt).await?;
        (status.checkpointed_index >= last).then_some(())
    })
    .await;
    keepers.kill(hurt).await;
    std::fs::remove_dir_all(keepers.data_path(hurt).join("catalogue")).unwrap();
    keepers.start(hurt).await;
    caught_up(&router, &keepers, hurt, last).await;
    let known = catalogue(&shard, &keepers, hurt).await;
    assert_eq!(known.answer(producer, 59).unwrap().index, last);

    // Where the log does not reach back, the others have it.
    until("a checkpoint", || async {
        let status = status(&router, &keepers, hurt).await?;
        (status.checkpointed_index >= last).then_some(())
    })
    .await;
    report(&shard, &keepers, &[leader, hurt], id, last).await;
    for at in [leader, hurt] {
        until("the log to be cut", || async {
            (first_index(&router, &keepers, at).await > 20).then_some(())
        })
        .await;
    }
    keepers.kill(hurt).await;
    std::fs::remove_dir_all(keepers.data_path(hurt).join("catalogue")).unwrap();
    let refused = longbow_wal_keeper::start(keepers.config(hurt), Shutdown::new()).await;
    let refused = refused.err().expect("it lacks what was cut").to_string();
    assert!(refused.contains("remove this keeper from the group"), "{refused}");
    keepers.wipe(hurt);
    remove(&router, &keepers, hurt).await;
    keepers.start(hurt).await;
    add(&router, &keepers, hurt).await;
    caught_up(&router, &keepers, hurt, last).await;
    let known = catalogue(&shard, &keepers, hurt).await;
    assert_eq!(known.answer(producer, 59).unwrap().index, last);
}
